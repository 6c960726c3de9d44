"""Fewer, larger segments: a run that sets one record aside makes one object, and months of them are many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby
from typing import Final

from braze_etl.quarantine import _segments
from braze_etl.quarantine._segments import SEGMENT_ENTRIES, Segment
from braze_etl.storage import Store

MANY: Final = 16
SMALL: Final = 1000


def merge_small(store: Store, prefix: str, listed: Iterable[Segment]) -> None:
    """Merge the small segments of each day that has many of them."""
    for _, of_day in groupby(listed, key=lambda segment: segment.day):
        small = [segment for segment in of_day if segment.entries < SMALL]
        if len(small) > MANY:
            _merge(store, prefix, _that_fit(small))


def _that_fit(small: Sequence[Segment]) -> list[Segment]:
    """Take as many as fill one segment; the others are left to the next run."""
    sizes = accumulate(segment.entries for segment in small)
    return [segment for segment, size in zip(small, sizes, strict=True) if size <= SEGMENT_ENTRIES]


def _merge(store: Store, prefix: str, parts: Sequence[Segment]) -> None:
    """Write the whole before the parts are deleted; both at once are read as one."""
    entries = {entry.id: entry for part in parts for entry in _segments.read(store, part)}
    whole = _segments.write(store, prefix, parts[0].day, list(entries.values()))
    # A merge that broke off before may have left the whole among the parts.
    store.delete([part.key for part in parts if part.key != whole])
