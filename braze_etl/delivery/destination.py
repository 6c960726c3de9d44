"""What is to be done about a reply, as plain values. Indexes are those of the request's `events`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from braze_etl.model import Reason, Verdict


class Defer(NamedTuple):
    """An event, or all events with a key, stay open for so many seconds."""

    reason: Reason
    seconds: float


class ThrottleKey(NamedTuple):
    """What a service counts events by; `field` is the event's, as `user_id` or `device_id`."""

    field: str
    value: str


class Cause(StrEnum):
    """What keeps a request from its purpose for now."""

    THROTTLED = "throttled"
    FAILURE = "failure"


class StopKind(StrEnum):
    """What a run can't mend."""

    KEY = "key"
    REQUEST = "request"
    ENDPOINT = "endpoint"


@dataclass(frozen=True, slots=True)
class Accepted:
    """Amplitude has taken the request; `ingested` is how many events it says it took."""

    ingested: int | None = None


@dataclass(frozen=True, slots=True)
class Throttled:
    """How many events of each key a refused request held; and how many a window takes, if it is told."""

    shares: Mapping[ThrottleKey, int] = field(default_factory=dict)
    most: int | None = None

    def bound(self, key: ThrottleKey, *, refused_again: bool) -> int | None:
        """How many events of *key* to send in a window from now on; None where waiting is enough.

        That many can pass; or, where the same key was refused right after its wait, half of what was tried.
        """
        if self.most is not None and self.is_crowded(key):
            return self.most
        return max(1, self.shares.get(key, 0) // 2) if refused_again else None

    def is_crowded(self, key: ThrottleKey) -> bool:
        """Whether the request held more of *key* than a window takes, so that no wait would have helped."""
        return self.most is not None and self.shares.get(key, 0) > self.most

    def has_room(self, key: ThrottleKey, passing: int) -> bool:
        """Whether one more event of *key*, besides *passing* others, may be sent again at once."""
        return self.most is not None and self.is_crowded(key) and passing < self.most


@dataclass(frozen=True, slots=True)
class Partial:
    """Set some events aside, leave others open, and send the rest again at once.

    Later events with one of `keys` would meet the same answer until its time is over.
    """

    set_aside: Mapping[int, Verdict] = field(default_factory=dict)
    deferred: Mapping[int, Defer] = field(default_factory=dict)
    keys: Mapping[ThrottleKey, Defer] = field(default_factory=dict)
    throttled: Throttled = Throttled()


@dataclass(frozen=True, slots=True)
class Split:
    """The request of `size` bytes is too large: halve it.

    `proven`: it is over a limit of our own. `own_words`: it has the form of Amplitude's refusals.
    """

    words: str
    own_words: bool = False
    size: int = 0
    proven: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Not taken, and nothing says which event is at fault.

    `own_words`: it has the form of Amplitude's refusals. A proxy's may be transient, so it is asked again
    first.
    """

    words: str
    own_words: bool
    status: int = 0


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """The same request again, after `seconds` or, if None, after a back-off.

    `overload`: fewer requests at a time from now on. A wait for throttling binds every request, not just
    this.
    """

    words: str
    cause: Cause
    seconds: float | None = None
    overload: bool = True


@dataclass(frozen=True, slots=True)
class Uncompressed:
    """The same request without compression, and all later ones."""

    words: str


@dataclass(frozen=True, slots=True)
class Stop:
    """End the run. With `patience` the same request is tried so many times more before that is believed."""

    kind: StopKind
    words: str
    remedy: str
    patience: int = 0


Decision: TypeAlias = Accepted | Partial | Split | Refused | RetryAfter | Uncompressed | Stop
