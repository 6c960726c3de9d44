"""What is to be done about a reply, as plain values. Indexes are those of the request's `events`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from braze_etl.model import Reason


class Aside(NamedTuple):
    """An event goes to the quarantine."""

    reason: Reason
    words: str


class Hold(NamedTuple):
    """An event, or a lane, stays open for so many seconds."""

    reason: Reason
    seconds: float


class Lane(NamedTuple):
    """The events of one user or one device; `key` is the event's field, `user_id` or `device_id`."""

    key: str
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
    """How many events of each lane a refused request held; and how many a window takes, if it is told."""

    shares: Mapping[Lane, int] = field(default_factory=dict)
    most: int | None = None

    def bound(self, lane: Lane, *, refused_again: bool) -> int | None:
        """How many events of *lane* to send in a window from now on; None where waiting is enough.

        That many can pass; or, where the same lane was refused right after its wait, half of what was tried.
        """
        if self.most is not None and self.is_crowded(lane):
            return self.most
        return max(1, self.shares.get(lane, 0) // 2) if refused_again else None

    def is_crowded(self, lane: Lane) -> bool:
        """Whether the request held more of *lane* than a window takes, so that no wait would have helped."""
        return self.most is not None and self.shares.get(lane, 0) > self.most

    def has_room(self, lane: Lane, passing: int) -> bool:
        """Whether one more event of *lane*, besides *passing* others, may be sent again at once."""
        return self.most is not None and self.is_crowded(lane) and passing < self.most


@dataclass(frozen=True, slots=True)
class Sort:
    """Set some events aside, leave others open, and send the rest again at once.

    `lanes` are users and devices whose later events would meet the same answer until their time is over.
    """

    set_aside: Mapping[int, Aside] = field(default_factory=dict)
    leave_open: Mapping[int, Hold] = field(default_factory=dict)
    lanes: Mapping[Lane, Hold] = field(default_factory=dict)
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
class PlainBody:
    """The same request without compression, and all later ones."""

    words: str


@dataclass(frozen=True, slots=True)
class Stop:
    """End the run. With `patience` the same request is tried so many times more before that is believed."""

    kind: StopKind
    words: str
    remedy: str
    patience: int = 0


Decision: TypeAlias = Accepted | Sort | Split | Refused | RetryAfter | PlainBody | Stop
