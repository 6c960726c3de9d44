"""How the courier fares as a whole: what went forward, and since when nothing but failures came."""

from __future__ import annotations

import threading

MOST_TRIES = 12


class Health:
    """Counts answers that brought something forward, and times the failures between them.

    *Progress* is a request accepted, or a refusal that names its events and so settles them: Amplitude is
    at work. Everything else is a failure, a 429 for the whole project too: a project that is throttled for
    longer than `give_up_after` gets nothing done, and the next run finds all of it open.
    """

    def __init__(self, give_up_after: float) -> None:
        self._give_up_after = give_up_after
        self._lock = threading.Lock()
        self._failing_since: float | None = None
        self._last_words = ""
        self._progress = 0

    @property
    def progress(self) -> int:
        """Answers so far that settled events."""
        return self._progress

    @property
    def last_words(self) -> str:
        """What the last failure said."""
        return self._last_words

    def note_progress(self) -> None:
        """A request was accepted, or a refusal settled events."""
        with self._lock:
            self._progress += 1
            self._failing_since = None

    def note_failure(self, words: str, now: float) -> None:
        """A failure came at the monotonic time *now*."""
        with self._lock:
            self._last_words = words
            if self._failing_since is None:
                self._failing_since = now

    def failing_for(self, now: float) -> float:
        """Seconds in which there was nothing but failures."""
        since = self._failing_since
        return 0.0 if since is None else now - since

    def given_up(self, now: float) -> bool:
        """Whether there was nothing but failures for longer than `give_up_after` seconds."""
        return self._failing_since is not None and self.failing_for(now) >= self._give_up_after


class Tries:
    """The tries of one request that only fails.

    While nothing goes through anywhere, trying on is right, and `give_up_after` ends it. A request that
    fails though others went through since its last try has trouble of its own: after twelve such tries, as
    many as the official SDKs make (amplitude.md, section 3), it is *hopeless* for this run.
    """

    def __init__(self, health: Health, most: int = MOST_TRIES) -> None:
        self._health = health
        self._most = most
        self._seen = health.progress
        self._overtaken = 0
        self.failed = 0

    def note_failure(self) -> None:
        self.failed += 1
        if self._health.progress > self._seen:
            self._seen = self._health.progress
            self._overtaken += 1

    @property
    def hopeless(self) -> bool:
        return self._overtaken >= self._most
