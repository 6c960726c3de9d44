"""Removing a person from what the quarantine holds: kept records, and words that name them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from braze_etl.model import Record
from braze_etl.quarantine import _segments
from braze_etl.quarantine._segments import Segment
from braze_etl.storage import Store


class Traces(Protocol):
    """By what a person is recognised."""

    def are_in(self, record: Record) -> bool:
        """Whether this record is theirs, or names them."""
        ...

    def blot_out(self, text: str) -> str:
        """The text without their name."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """How many things of one kind were looked at, and how many of them held the person."""

    looked_at: int
    found: int


def erase_words(
    store: Store, prefix: str, segments: Iterable[Segment], traces: Traces, *, dry_run: bool
) -> Found:
    """Blot a person out of the details of entries; the entries stay, and so do their number and ids."""
    looked_at = found = 0
    for segment in segments:
        entries = _segments.read(store, segment)
        clean = [replace(entry, detail=traces.blot_out(entry.detail)) for entry in entries]
        changed = sum(before != after for before, after in zip(entries, clean, strict=True))
        looked_at, found = looked_at + len(entries), found + changed
        if changed and not dry_run:
            # The name comes of the ids: the old object is replaced, unless another release has named it.
            key = _segments.write(store, prefix, segment.day, clean)
            store.delete([segment.key] if key != segment.key else [])
    return Found(looked_at, found)
