"""Due files of each origin, and a listing of given files, for tests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from braze_etl.braze.currents.listing import Surroundings
from braze_etl.engine.due import DueFile, Origin, Place, Wanted
from braze_etl.model import FileRef, OpenPositions, Reason


def deferred(ref: FileRef, *parts: OpenPositions, **more: Any) -> DueFile:
    """A file with these open positions, which are ready."""
    wanted = tuple(Wanted(part.blocks, (part.reason,), part.not_before) for part in parts)
    return DueFile(ref, Origin.DEFERRED, wanted, **more)


def replayed(
    ref: FileRef,
    reasons: Mapping[Place, tuple[Reason, ...]],
    *,
    days: frozenset[date] = frozenset(),
    **more: Any,
) -> DueFile:
    """A file of which these places were set aside."""
    parts: defaultdict[tuple[Reason, ...], dict[int, tuple[int | None, ...]]] = defaultdict(dict)
    for (block, record), why in reasons.items():
        parts[why][block] = (*parts[why].get(block, ()), record)
    wanted = tuple(Wanted(blocks, why, days=days) for why, blocks in parts.items())
    return DueFile(ref, Origin.QUARANTINED, wanted, **more)


def changed(ref: FileRef, blocks: Mapping[int, tuple[int, ...]], **more: Any) -> DueFile:
    """A file of which the mapping in force lets these records through."""
    return DueFile(ref, Origin.CHANGED, (Wanted(blocks),), **more)


@dataclass
class FixedListing:
    """A listing that gives these files."""

    refs: Iterable[FileRef]
    since: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    files: int = 0
    unsettled: int = 0
    foreign: int = 0
    misnamed: int = 0
    folders: int = 1
    empty: int = 0
    unordered: int = 0
    passed_over: set[str] = field(default_factory=set)
    requests: int = 1

    def __iter__(self) -> Iterator[FileRef]:
        for ref in self.refs:
            self.files += 1
            yield ref

    def surroundings(self) -> Surroundings:
        return Surroundings(integrations=set(), event_types=set(), holds_objects=True)
