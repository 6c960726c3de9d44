"""Batches fill across the files of a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Self, TypeVar

from braze_etl.delivery.destination import DictItems, Item, Items, Limits, Probe
from braze_etl.model import Reason, Verdict

T = TypeVar("T")

_JSON_PER_SOURCE_BYTE = 3
"""JSON repeats the field names that Avro leaves out: about this much for small events."""


@dataclass(frozen=True, slots=True)
class Batch(Generic[T]):
    """Items to be sent together; `tags[i]` is the owner's handle for item i, opaque to this room."""

    items: Items
    tags: list[T]

    def __len__(self) -> int:
        return len(self.tags)


class BatchBuilder(Generic[T]):
    """Collects items until a request is worth sending."""

    def __init__(self, limits: Limits) -> None:
        self._max_items = limits.items
        self._max_hint = limits.bytes // _JSON_PER_SOURCE_BYTE
        self._items: list[Item] = []
        self._tags: list[T] = []
        self._hint = 0

    def __len__(self) -> int:
        return len(self._items)

    def add(
        self, items: Sequence[Item], tags: Sequence[T], size_hint: int = 0
    ) -> tuple[int, Batch[T] | None]:
        """Add items up to the one that makes the batch full, if one does; return how many, and the batch.

        `size_hint` is the size of one of their records in its source, in bytes. It only has to be near: the
        exact size is known when the body is made, and a body over the limit is split there.
        """
        room = self._max_items - len(self._items)
        if size_hint:
            room = min(room, max(1, -((self._hint - self._max_hint) // size_hint)))
        part = items[:room]
        self._items += part
        self._tags += tags[:room]
        self._hint += size_hint * len(part)
        return len(part), self.flush() if len(part) == room else None

    def flush(self) -> Batch[T] | None:
        """Return what there is, or None if there is nothing."""
        items, tags = self._items, self._tags
        self._items, self._tags, self._hint = [], [], 0
        return Batch(DictItems(items), tags) if items else None


@dataclass(slots=True)
class RequestCounts:
    """Requests of a batch, or of all batches of a task or a run.

    `retried` are those beyond the first of each batch; `throttled` were answered with a wait for throttling.
    `failed` brought nothing forward: no whole reply, a server error, a refusal that names no item; `failures`
    has the words of the first of each kind, by what `by_status` counts it as. `bytes_raw` is JSON,
    `bytes_wire` what was posted. `short_ingests` were accepted with fewer items, as the service says, than
    the request had: worth a warning, never a reason to send again. `repeated_ids` are accepted items whose
    id an earlier one in the same request has: the service keeps one of them. `by_status` counts HTTP
    statuses, and requests without a reply by their kind (`timeout`, `reset`, ...).
    """

    sent: int = 0
    retried: int = 0
    throttled: int = 0
    bytes_raw: int = 0
    bytes_wire: int = 0
    short_ingests: int = 0
    repeated_ids: int = 0
    failed: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_probe(cls, probe: Probe) -> Self:
        """A probe as a request, where it failed; a good one is none of those that bring items."""
        if not probe.failure:
            return cls()
        kinds, failures = Counter({probe.failure: 1}), {probe.failure: probe.words}
        return cls(sent=1, failed=1, by_status=kinds, failures=failures)

    def add(self, other: RequestCounts) -> None:
        """Add the numbers of *other*."""
        self.sent += other.sent
        self.retried += other.retried
        self.throttled += other.throttled
        self.bytes_raw += other.bytes_raw
        self.bytes_wire += other.bytes_wire
        self.short_ingests += other.short_ingests
        self.repeated_ids += other.repeated_ids
        self.failed += other.failed
        self.by_status.update(other.by_status)
        self.failures = {**other.failures, **self.failures}

    def as_dict(self) -> dict[str, Any]:
        """The numbers as JSON values, in the order of the run report."""
        numbers = {name: getattr(self, name) for name in self.__slots__}
        return {**numbers, "by_status": dict(self.by_status), "failures": dict(self.failures)}


@dataclass(slots=True)
class BatchResult(Generic[T]):
    """How one batch came out: each tag stands in exactly one list.

    `deferred` has the earliest time (aware, UTC) of the next try. `unsettled` has no outcome: delivery was
    stopped, or gave up on these while others went through; their files stay due.
    """

    accepted: list[T] = field(default_factory=list)
    accepted_at: list[datetime] = field(default_factory=list)
    """The times (aware, UTC) of the answers that accepted some, in their order."""
    set_aside: list[tuple[T, Verdict]] = field(default_factory=list)
    deferred: list[tuple[T, Reason, datetime]] = field(default_factory=list)
    unsettled: list[T] = field(default_factory=list)
    repairs: Counter[str] = field(default_factory=Counter)
    """What was mended in its items, by name."""
    requests: RequestCounts = field(default_factory=RequestCounts)


@dataclass(frozen=True, slots=True)
class Trouble:
    """A request that brought nothing forward: its kind as in `RequestCounts.by_status`, where, in words."""

    kind: str
    endpoint: str
    words: str
