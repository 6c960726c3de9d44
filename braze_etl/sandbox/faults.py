"""Scripted faults: which request suffers which fault. Matching only; `Exchange` acts.

Requests are numbered from 1 as they come, over all POSTs to the server but `/reset`. Rules are tried in
order; the first whose conditions all hold, and that has not been used up, gives its fault.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeAlias

Moment: TypeAlias = Literal["before_body", "after_body", "during_reply"]


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer with this and ingest nothing; a text body goes out as it is, anything else as JSON."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the TCP connection. `during_reply` is after ingesting; the other two ingest nothing."""

    moment: Moment


@dataclass(frozen=True, slots=True)
class Redirect:
    """Answer 307 with a Location."""

    url: str


@dataclass(frozen=True, slots=True)
class TruncateReply:
    """Ingest, send half of the reply's body, close in good order."""


@dataclass(frozen=True, slots=True)
class RefuseGzip:
    """Answer 415; holds only for a gzip body."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Read the body, say nothing for this many seconds, close without an answer; ingest nothing."""

    seconds: float


@dataclass(frozen=True, slots=True)
class IngestThen:
    """Ingest, and lose the answer: the client sees the fault."""

    fault: Answer | Reset


@dataclass(frozen=True, slots=True)
class Proceed:
    """No fault but the delay."""


Action: TypeAlias = Answer | Reset | Redirect | TruncateReply | RefuseGzip | Hang | IngestThen | Proceed


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a request, after a delay in seconds that begins when the body has been read."""

    action: Action
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What rules look at; `read_events` is called only by a rule that asks for a value of an event."""

    path: str
    gzip: bool = False
    read_events: Callable[[], Sequence[Any]] = tuple


@dataclass(frozen=True, slots=True)
class Conditions:
    """When a rule applies: all that is set must hold. `share` is a chance, the same for the same seed."""

    request: int | None = None
    every: int | None = None
    first: int | None = None
    after: int | None = None
    path: str | None = None
    share: float | None = None
    seed: int = 0
    event_type: str | None = None
    user_id: str | None = None
    insert_id: str | None = None

    def hold(self, number: int, facts: RequestFacts) -> bool:
        """Whether the request with this number is meant."""
        return self._number_fits(number) and self._path_fits(facts.path) and self._content_fits(facts)

    def _number_fits(self, number: int) -> bool:
        return (
            (self.request is None or number == self.request)
            and (self.every is None or number % self.every == 0)
            and (self.first is None or number <= self.first)
            and (self.after is None or number > self.after)
            and (self.share is None or _draw(self.seed, number) < self.share)
        )

    def _path_fits(self, path: str) -> bool:
        return self.path is None or fnmatchcase(path, self.path)

    @property
    def look_inside(self) -> bool:
        """Whether the body must be read to know."""
        return not (self.event_type is None and self.user_id is None and self.insert_id is None)

    def _content_fits(self, facts: RequestFacts) -> bool:
        return not self.look_inside or any(self._event_fits(event) for event in facts.read_events())

    def _event_fits(self, event: Any) -> bool:
        if not isinstance(event, Mapping):
            return False
        named = self.event_type is None or fnmatchcase(str(event.get("event_type")), self.event_type)
        return (
            named
            and self.user_id in {None, event.get("user_id")}
            and self.insert_id in {None, event.get("insert_id")}
        )


def _draw(seed: int, number: int) -> float:
    """Draw from [0, 1) by nothing but seed and number: a script repeats itself whatever the threads do."""
    digest = hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


@dataclass(frozen=True, slots=True)
class Rule:
    """Conditions, a fault, and how often at most."""

    when: Conditions
    fault: Fault
    times: int | None = None

    def applies(self, number: int, facts: RequestFacts) -> bool:
        """Whether the conditions hold for this request."""
        if isinstance(self.fault.action, RefuseGzip) and not facts.gzip:
            return False
        return self.when.hold(number, facts)


class Faults:
    """The rules of a script and how far it has run; may be asked by many threads."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = tuple(rules)
        self._lock = threading.Lock()
        self.restart()

    def restart(self) -> None:
        """Number the next request 1 again, and forget what was used up."""
        with self._lock:
            self._number = 0
            self._used = [0] * len(self._rules)

    def next(self, facts: RequestFacts) -> Fault | None:
        """Return the fault for the next request, or None."""
        with self._lock:
            self._number += 1
            number = self._number
        # Conditions are checked outside the lock: reading a slow client's body must not hold up the others.
        for index, rule in enumerate(self._rules):
            if rule.applies(number, facts) and self._use(index, rule.times):
                return rule.fault
        return None

    def _use(self, index: int, times: int | None) -> bool:
        with self._lock:
            if times is not None and self._used[index] >= times:
                return False
            self._used[index] += 1
            return True
