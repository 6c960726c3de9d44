"""What a settlement makes of the head: the sums, and a new entry of the journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from braze_etl.checkpoint._rules import newly_accepted
from braze_etl.checkpoint.facts import Backlog
from braze_etl.checkpoint.s3.head import Head, JournalEntry
from braze_etl.checkpoint.s3.opens import OpenMap
from braze_etl.checkpoint.s3.rows import FileRow, Positions
from braze_etl.model import FileSettlement, FileState, Reason

_K = TypeVar("_K")


def settled_head(
    head: Head,
    claimed: Mapping[str, FileSettlement],
    before: Mapping[str, FileRow],
    open_before: OpenMap,
    now: datetime,
) -> Head:
    """Count *claimed*, which were known as *before*, and were open as in *open_before*."""
    accepted = newly_accepted(claimed, {key: row.known for key, row in before.items()})
    files = Counter(head.files)
    files.subtract(Counter(FileState(row.state) for row in before.values()))
    files.update(each.state for each in claimed.values() if each.state is not None)
    deferred = Counter(head.deferred)
    for key, settlement in claimed.items():
        if key in open_before:
            deferred.subtract(records(open_before[key][1]))
        deferred.update(records(settlement.open))
    return replace(
        head,
        files=_positive(files),
        deferred=_positive(deferred),
        last_delivery=now if accepted else head.last_delivery,
    )


def with_entry(head: Head, entry: JournalEntry, backlog: Backlog | None) -> Head:
    """Name a settlement in the head."""
    return replace(head, journal=(*head.journal, entry), backlog=head.backlog if backlog is None else backlog)


def records(positions: Positions) -> Counter[Reason]:
    """Count open records by reason."""
    counts: Counter[Reason] = Counter()
    for each in positions:
        counts[each.reason] += each.count
    return counts


def _positive(counts: Mapping[_K, int]) -> dict[_K, int]:
    return {key: count for key, count in counts.items() if count > 0}
