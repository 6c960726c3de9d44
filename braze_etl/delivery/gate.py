"""What the posting threads of a sender share, and the one way out: every request passes here."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from math import inf
from random import Random
from typing import NamedTuple

from braze_etl.clock import Clock
from braze_etl.delivery.batches import RequestCounts
from braze_etl.delivery.destination import (
    Accepted,
    Body,
    Cause,
    Decision,
    Destination,
    Encoded,
    Items,
    Partial,
    RetryAfter,
    Split,
    Uncompressed,
)
from braze_etl.delivery.http import NoReply, Reply, Transport, kind_of
from braze_etl.delivery.pacing import Rate, Room, Window, back_off
from braze_etl.delivery.throttles import Throttles
from braze_etl.errors import DeliveryError

MOST_TRIES = 12
_POLL = 0.2


class Health:
    """Counts answers that brought something forward, and times the failures between them.

    *Progress* is a request accepted, or a refusal that names its items and so settles them: the service is
    at work. Everything else is a failure, being throttled as a whole too: who is throttled for longer than
    `give_up_after` gets nothing done, and the next run finds all of it open.
    """

    def __init__(self, give_up_after: float) -> None:
        self._give_up_after = give_up_after
        self._lock = threading.Lock()
        self._failing_since: float | None = None
        self._last_words = ""
        self._progress = 0

    @property
    def progress(self) -> int:
        """Answers so far that settled items."""
        return self._progress

    @property
    def last_words(self) -> str:
        """What the last failure said."""
        return self._last_words

    def note_progress(self) -> None:
        """A request was accepted, or a refusal settled items."""
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
    many as the SDKs of such services make (amplitude.md, section 3), it is *hopeless* for this run.
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


class Slot(NamedTuple):
    """Leave for one request: when it began (monotonic), and whether the window was full with it."""

    began: float
    full: bool


class Limiter:
    """The window as threads meet it: they wait here for a slot, and a pause binds them all."""

    def __init__(self, window: Window, clock: Clock) -> None:
        self._window = window
        self._clock = clock
        self._changed = threading.Condition()
        self._in_flight = 0
        self._paused_until = -inf
        self._kept: list[Callable[[], None]] = []

    @property
    def limit(self) -> int:
        """The most requests in flight at the moment."""
        return self._window.limit

    @property
    def in_flight(self) -> int:
        """Requests in flight."""
        return self._in_flight

    def bound(self, cap: int, kept: Callable[[], None]) -> None:
        """Let *cap* requests be in flight at most; *kept* is called, in any thread, when no more are."""
        with self._changed:
            self._window.bound(cap)
            self._changed.notify_all()
            self._kept.append(kept)
        self._tell_kept()

    def _tell_kept(self) -> None:
        with self._changed:
            if self._in_flight > self._window.cap:
                return
            kept, self._kept = self._kept, []
        for each in kept:
            each()

    def acquire(self, halted: Callable[[], bool]) -> Slot | None:
        """Wait for a slot; None once *halted* says so."""
        with self._changed:
            while not halted():
                if self._in_flight < self._window.limit:
                    self._in_flight += 1
                    return Slot(self._clock.monotonic(), self._in_flight >= self._window.limit)
                self._changed.wait(_POLL)  # nobody notifies when the run is stopped
        return None

    def release(self) -> None:
        """Give a slot back."""
        with self._changed:
            self._in_flight -= 1
            self._changed.notify()
        if self._kept:
            self._tell_kept()

    def success(self, slot: Slot) -> None:
        """The request of *slot* was accepted."""
        with self._changed:
            self._window.success(full=slot.full)
            self._changed.notify()

    def overload(self, slot: Slot) -> None:
        """The request of *slot* met too much load."""
        with self._changed:
            self._window.overload(began=slot.began, now=self._clock.monotonic())

    def pause(self, seconds: float) -> None:
        """Let no request begin for so long; a longer pause stands."""
        with self._changed:
            self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)

    def pause_left(self) -> float:
        """Seconds until requests may begin again, 0 if they may."""
        return max(0.0, self._paused_until - self._clock.monotonic())


DEFAULT_CAP = 16
_SLICE = 1.0


class HaltedError(Exception):
    """No new request may begin: the run is stopped, or delivery has ended."""


class Gate:
    """Sends requests within the limits, and knows when to send no more."""

    def __init__(
        self,
        transport: Transport,
        destination: Destination,
        clock: Clock,
        rng: Random,
        stop: threading.Event,
        *,
        on_failure: Callable[[str, str], None] = lambda _kind, _words: None,
    ) -> None:
        limits = destination.limits
        self.names = destination.names
        self.clock = clock
        self.rng = rng
        self.throttles = Throttles(destination.throttle_keys, limits.window)
        self.health = Health(limits.give_up_after)
        self.limiter = Limiter(Window(limits.concurrency or DEFAULT_CAP), clock)
        self.room = Room(limits.bytes)
        self.fatal: BaseException | None = None
        self._transport = transport
        self._destination = destination
        self._limits = limits
        self._on_failure = on_failure
        self._told: set[str] = set()
        self._telling = threading.Lock()
        self._stop = stop
        self._rate = Rate(limits.rate, least=limits.least_rate, span=limits.window)
        self._gzip = limits.gzip
        self._gzip_proven = False

    def share(self, processes: int, kept: Callable[[], None]) -> None:
        """Be one of so many processes that share the limits; *kept* is called when nothing is beyond it."""
        limits = self._limits.share(processes)
        self._rate.share(limits.rate, limits.least_rate, self.clock.monotonic())
        self.limiter.bound(limits.concurrency or DEFAULT_CAP, kept)

    def halted(self) -> bool:
        """Whether no new request may begin."""
        return self.fatal is not None or self._stop.is_set()

    def fail(self, error: BaseException) -> None:
        """End the delivery with *error*; the first one stands."""
        self.fatal = self.fatal or error

    def encode(self, items: Items) -> Encoded:
        """Write the body of a request for *items*; one item alone has all the room that is configured."""
        limit = self.room.limit if len(items) > 1 else self._limits.bytes
        return self._destination.encode(items, gzip=self._gzip, limit=limit)

    def exchange(self, body: Body, counts: RequestCounts) -> Decision:
        """Post *body* when it may be; note what the answer says about the way there, and decide.

        *counts* are those of its batch, to which this request is added. Raises `HaltedError`.
        """
        slot = self._slot(len(body.items))
        try:
            answer = self._transport.send(body.wire, gzip=body.gzip)
            decision = self._destination.decide(answer, body)
            if isinstance(decision, Uncompressed) and decision.once_proven and self._gzip_proven:
                decision = decision.once_proven
            counts.add(counted := _counts(body, answer, decision, again=counts.sent > 0))
            self._tell(counted.failures)
            self._learn(slot, body, decision)
        finally:
            self.limiter.release()  # who waits for the slot is bound by what was learned
        return decision

    def _tell(self, failures: Mapping[str, str]) -> None:
        """Report a failure that is the first of its kind."""
        for kind, words in failures.items():
            with self._telling:
                known = kind in self._told
                self._told.add(kind)
            if not known:
                self._on_failure(kind, words)

    def _slot(self, items: int) -> Slot:
        """Wait for the turn of a request and for leave to begin it."""
        while True:
            self._await_turn(items)
            slot = self.limiter.acquire(self.halted)
            if slot is None:
                raise HaltedError
            if not self.limiter.pause_left():
                return slot
            self.limiter.release()

    def rest(self, seconds: float) -> None:
        """Wait; raises `HaltedError` as soon as the run is stopped, delivery has failed, or for too long.

        In slices: an error in another thread wakes nobody.
        """
        until = self.clock.monotonic() + seconds
        while True:
            self._check()
            left = until - self.clock.monotonic()
            if left <= 0:
                return
            self.clock.wait(min(left, _SLICE), self._stop)

    def back_off(self, attempt: int) -> None:
        """Wait as long as the back-off says after *attempt* failures."""
        self.rest(back_off(attempt, self.rng))

    def note_failure(self, words: str) -> None:
        """An answer brought nothing forward."""
        self.health.note_failure(words, self.clock.monotonic())

    def fruitless_for(self, seconds: float) -> bool:
        """Whether nothing was ever brought forward, in so many seconds of failures."""
        return not self.health.progress and self.health.failing_for(self.clock.monotonic()) >= seconds

    def _await_turn(self, items: int) -> None:
        self._check()
        while wait := self.limiter.pause_left() or self._rate.take(items, self.clock.monotonic()):
            self.rest(min(wait, _SLICE))  # its share may grow meanwhile

    def _check(self) -> None:
        if not self.halted() and self.health.given_up(self.clock.monotonic()):
            self.fail(
                DeliveryError(
                    f"Nothing but failures for {self._limits.give_up_after:.0f} s; "
                    f"the last one: {self.health.last_words}.",
                    remedy=f"Check the network and {self.names.service}'s status; "
                    "everything undelivered stays open.",
                )
            )
        if self.halted():
            raise HaltedError

    def _learn(self, slot: Slot, body: Body, decision: Decision) -> None:
        now = self.clock.monotonic()
        match decision:
            case Accepted():
                self.limiter.success(slot)
                self._rate.accepted(len(body.items), now)
                self.room.accepted()
                self._gzip_proven = self._gzip_proven or body.gzip
            case Uncompressed():
                self._gzip = False
            case RetryAfter(cause=cause, seconds=seconds, overload=overload):
                if overload:
                    self.limiter.overload(slot)
                if cause is Cause.THROTTLED and seconds:
                    self.limiter.pause(seconds)
                    self._rate.throttled(began=slot.began, now=now, pause=seconds)


def _counts(body: Body, answer: Reply | NoReply, decision: Decision, *, again: bool) -> RequestCounts:
    status = kind_of(answer)
    failed = _is_failure(decision)
    counts = RequestCounts(
        sent=1,
        retried=int(again),
        throttled=int(_is_throttling(decision)),
        bytes_raw=body.raw_size,
        bytes_wire=len(body.wire),
        failed=int(failed),
        by_status=Counter({status: 1}),
        failures={status: answer.words} if failed else {},
    )
    if isinstance(decision, Accepted):
        counts.short_ingests = int(decision.ingested is not None and decision.ingested < len(body.items))
        counts.repeated_ids = decision.repeated
    return counts


def _is_throttling(decision: Decision) -> bool:
    if isinstance(decision, Partial):
        return decision.for_throttling
    return isinstance(decision, RetryAfter) and decision.cause is Cause.THROTTLED


def _is_failure(decision: Decision) -> bool:
    """Whether the answer brought nothing forward; throttling does, in time, and smaller requests may."""
    if isinstance(decision, RetryAfter):
        return decision.cause is Cause.FAILURE
    return not isinstance(decision, Accepted | Partial | Split)
