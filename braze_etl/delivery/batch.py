"""Batches fill across the files of a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from braze_etl.delivery.settings import DeliverySettings
from braze_etl.model import Event

T = TypeVar("T")

_JSON_PER_SOURCE_BYTE = 3
"""JSON repeats the field names that Avro leaves out: about this much for small events."""


@dataclass(slots=True)
class Batch(Generic[T]):
    """Events to be sent together; `tags[i]` is the owner's handle for `events[i]`, opaque to this room."""

    events: list[Event] = field(default_factory=list)
    tags: list[T] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.events)


class BatchBuilder(Generic[T]):
    """Collects events until a request is worth sending."""

    def __init__(self, settings: DeliverySettings) -> None:
        self._max_events = settings.event_limit
        self._max_hint = settings.body_limit // _JSON_PER_SOURCE_BYTE
        self._batch: Batch[T] = Batch()
        self._hint = 0

    def __len__(self) -> int:
        return len(self._batch)

    def add(
        self, events: Sequence[Event], tags: Sequence[T], size_hint: int = 0
    ) -> tuple[int, Batch[T] | None]:
        """Add events up to the one that makes the batch full, if one does; return how many, and the batch.

        `size_hint` is the size of one of their records in its source, in bytes. It only has to be near: the
        exact size is known when the body is made, and a body over the limit is split there.
        """
        room = self._max_events - len(self._batch)
        if size_hint:
            room = min(room, max(1, -((self._hint - self._max_hint) // size_hint)))
        part = events[:room]
        self._batch.events += part
        self._batch.tags += tags[:room]
        self._hint += size_hint * len(part)
        return len(part), self.flush() if len(part) == room else None

    def flush(self) -> Batch[T] | None:
        """Return what there is, or None if there is nothing."""
        batch, self._batch, self._hint = self._batch, Batch(), 0
        return batch if batch.events else None
