"""The port of a service that takes items in requests, and what is to be done about its answers, as values.

`delivery` knows no service. A service's own room says how its items become a body, and what its replies mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, Self, TypeAlias

import orjson
from isal import igzip

from braze_etl.clock import Clock
from braze_etl.delivery.http import HttpTransport, NoReply, Reply, Transport
from braze_etl.model import Reason, Verdict

Item: TypeAlias = dict[str, Any]
"""What a service takes, as a JSON object."""

_GZIP_LEVEL = 1
_STRICT = orjson.OPT_STRICT_INTEGER
"""Integers beyond 2^53, which a reader of JSON may round, are no JSON."""


class Items(Protocol):
    """The items of a batch. They are iterated over only for an answer that names some, and throttled keys."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Item]: ...

    def take(self, indexes: Iterable[int]) -> Items:
        """The items with these indexes, in this order."""
        ...

    def json(self, envelope: Mapping[str, Any], name: str) -> bytes:
        """The object *envelope* with all items as the list *name*; empty if any of it can't be written."""
        ...


class DictItems:
    """Items that are made already: a list of JSON objects, which is not copied."""

    __slots__ = ("_dicts",)

    def __init__(self, dicts: list[Item]) -> None:
        self._dicts = dicts

    def __len__(self) -> int:
        return len(self._dicts)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._dicts)

    def take(self, indexes: Iterable[int]) -> DictItems:
        return DictItems([self._dicts[index] for index in indexes])

    def json(self, envelope: Mapping[str, Any], name: str) -> bytes:
        try:
            return orjson.dumps({**envelope, name: self._dicts}, option=_STRICT)
        except orjson.JSONEncodeError:
            return b""


def faults_of(items: Items) -> dict[int, str]:
    """Which items can't be written as JSON, by their index, with the reason in words."""
    return {index: words for index, item in enumerate(items) if (words := _fault(item))}


def _fault(item: Item) -> str:
    # Wrapped as in a request: the nesting that the encoder bears is counted from the outermost level.
    try:
        orjson.dumps({"items": [item]}, option=_STRICT)
    except orjson.JSONEncodeError as error:
        return f"not JSON: {error}"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a service, and the user, allow all processes. Bytes are uncompressed, durations are seconds.

    `items` and `bytes` are those of a request. `concurrency` bounds the requests in flight; None leaves the
    bound to the sender. `rate` is in items a second, None for no bound of our own; below `least_rate` what is
    learned of the service's own bound never falls. `window` is the time over which the service averages.
    `give_up_after` so long of nothing but failures delivery ends. `gzip`: bodies are compressed, until an
    answer is against it.
    """

    items: int
    bytes: int
    gzip: bool
    concurrency: int | None = None
    rate: float | None = None
    least_rate: float
    window: float = 30.0
    give_up_after: float = 600.0

    def share(self, processes: int) -> Limits:
        """The limits of one of so many processes, of which there are no more than requests in flight."""
        return replace(
            self,
            concurrency=self.concurrency and max(1, self.concurrency // processes),
            rate=self.rate and self.rate / processes,
            least_rate=self.least_rate / processes,
        )


class Names(NamedTuple):
    """How to call a service, its items and its settings in words for people."""

    service: str
    item: str
    key: str
    endpoint: str
    address: str
    """All settings that make the URL, joined by "and"."""


@dataclass(frozen=True, slots=True)
class Body:
    """A request with *items*: bytes to post, and their size before compression.

    `repairs` counts what was mended for it, by name.
    """

    wire: bytes
    raw_size: int
    gzip: bool
    items: Items
    repairs: Counter[str] = field(default_factory=Counter, compare=False)

    @classmethod
    def of(
        cls, raw: bytes, items: Items, *, gzip: bool, limit: int, repairs: Counter[str] | None = None
    ) -> Self | Oversize:
        """The request of the JSON *raw*, if that has *limit* bytes at most."""
        if len(raw) > limit:
            return Oversize(len(raw), limit)
        wire = igzip.compress(raw, _GZIP_LEVEL) if gzip else raw
        return cls(wire, len(raw), gzip, items, Counter() if repairs is None else repairs)


@dataclass(frozen=True, slots=True)
class Oversize:
    """The JSON is longer than a request may be, by these bytes."""

    size: int
    limit: int


@dataclass(frozen=True, slots=True)
class Unencodable:
    """Items that are no JSON, by their index, with the reason in words."""

    items: dict[int, str]


Encoded: TypeAlias = Body | Oversize | Unencodable


class Defer(NamedTuple):
    """An item, or all items with a key, stay open for so many seconds."""

    reason: Reason
    seconds: float


class ThrottleKey(NamedTuple):
    """What a service counts items by; `field` is the item's, as `user_id` or `device_id`."""

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
    """The service has taken the request; `ingested` is how many items it says it took.

    `repeated` of them have the id of an earlier one in the same request: the service keeps one of each.
    """

    ingested: int | None = None
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class Throttled:
    """How many items of each key a refused request held; and how many a window takes, if it is told."""

    shares: Mapping[ThrottleKey, int] = field(default_factory=dict)
    most: int | None = None

    def bound(self, key: ThrottleKey, *, refused_again: bool) -> int | None:
        """How many items of *key* to send in a window from now on; None where waiting is enough.

        That many can pass; or, where the same key was refused right after its wait, half of what was tried.
        """
        if self.most is not None and self.is_crowded(key):
            return self.most
        return max(1, self.shares.get(key, 0) // 2) if refused_again else None

    def is_crowded(self, key: ThrottleKey) -> bool:
        """Whether the request held more of *key* than a window takes, so that no wait would have helped."""
        return self.most is not None and self.shares.get(key, 0) > self.most

    def has_room(self, key: ThrottleKey, passing: int) -> bool:
        """Whether one more item of *key*, besides *passing* others, may be sent again at once."""
        return self.most is not None and self.is_crowded(key) and passing < self.most


@dataclass(frozen=True, slots=True)
class Partial:
    """Set some items aside, leave others open, and send the rest again at once. Indexes are the request's.

    Later items with one of `keys` would meet the same answer until its time is over. `for_throttling`: the
    answer as a whole was about throttling.
    """

    set_aside: Mapping[int, Verdict] = field(default_factory=dict)
    deferred: Mapping[int, Defer] = field(default_factory=dict)
    keys: Mapping[ThrottleKey, Defer] = field(default_factory=dict)
    throttled: Throttled = Throttled()
    for_throttling: bool = False


@dataclass(frozen=True, slots=True)
class Split:
    """The request of `size` bytes is too large: halve it.

    `proven`: it is over a limit of our own. `own_words`: it has the form of the service's own refusals.
    """

    words: str
    own_words: bool = False
    size: int = 0
    proven: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Not taken, and nothing says which item is at fault.

    `own_words`: it has the form of the service's own refusals. A proxy's may be transient, so it is asked
    again first.
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
    """The same request without compression, and all later ones.

    Where a compressed one was accepted before, `once_proven` is what it is instead: gzip is not the reason.
    """

    words: str
    once_proven: Refused | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """End the run. With `patience` the same request is tried so many times more before that is believed."""

    kind: StopKind
    words: str
    remedy: str
    patience: int = 0


Decision: TypeAlias = Accepted | Partial | Split | Refused | RetryAfter | Uncompressed | Stop


class Standing(StrEnum):
    """What a probe learned."""

    FINE = "fine"
    REFUSED = "refused"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Probe:
    """Are key and host right? With `REFUSED` comes a remedy, and a run would end at once."""

    standing: Standing
    words: str = ""
    remedy: str = ""
    key_refused: bool = False
    date: datetime | None = None
    """The time by the server, where there was an answer."""
    failure: str = ""
    """The kind of failure; empty when all is fine, and for throttling, which is none."""


class Destination(Protocol):
    """A service that takes items in requests."""

    @property
    def names(self) -> Names: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def repeatable_for(self) -> timedelta | None:
        """How long after an item it may be sent again without counting twice; None for always."""
        ...

    @property
    def address(self) -> str:
        """Where requests go, fit to be shown."""
        ...

    def connect(self, clock: Clock, *, gives_way: bool = False) -> HttpTransport:
        """The wire; to be closed. `gives_way` is that of `HttpTransport`."""
        ...

    def encode(self, items: Items, *, gzip: bool, limit: int) -> Encoded:
        """Write a request of *limit* bytes of JSON at most.

        Raises `DeliveryError` when every item is fine but the request is not.
        """
        ...

    def decide(self, answer: Reply | NoReply, body: Body) -> Decision:
        """What is to be done about *answer*, which *body* got: a pure function."""
        ...

    def throttle_keys(self, item: Item) -> Sequence[ThrottleKey]:
        """What the service counts *item* by; asked only while a key is throttled."""
        ...

    def probe(self, transport: Transport) -> Probe:
        """Ask, without an item, whether key and host are right."""
        ...
