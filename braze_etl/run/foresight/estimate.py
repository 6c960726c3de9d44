"""How many records some bytes of Currents files hold: as runs have measured, or by a rule of thumb."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from braze_etl.checkpoint import Backlog, BacklogLine
from braze_etl.run.foresight.forecast import Rate

_BYTES_PER_RECORD = 350
"""Stored bytes a record: the middle of what Currents' types need (currents.md 1.2), headers left aside."""
_SCHEMA_BYTES = 3_000


class Density:
    """Stored bytes a record by event type, headers included, from the reports of runs.

    A type that no run has read goes by the rule of thumb.
    """

    def __init__(self, bytes_per_record: Mapping[str, float] | None = None) -> None:
        self._measured = bytes_per_record or {}

    @classmethod
    def of(cls, reports: Iterable[Mapping[str, Any]]) -> Self:
        """Sum up run reports, as the ledger keeps them."""
        size, records = Counter[str](), Counter[str]()
        for report in reports:
            repeats = report.get("repeats", {}).get("by_event_type", {})
            for event_type, read in report.get("bytes_read", {}).items():
                size[event_type] += read
                records[event_type] += report["by_event_type"][event_type]["read"]
                records[event_type] -= repeats.get(event_type, {}).get("read", 0)
        return cls({name: size[name] / records[name] for name in size if size[name] and records[name] > 0})

    def events(self, event_type: str, line: BacklogLine) -> int:
        """About how many records these files hold; Braze never writes an empty one."""
        per_record = self._measured.get(event_type)
        if per_record is not None:
            return max(line.files, round(line.bytes / per_record))
        return max(line.files, (line.bytes - line.files * _SCHEMA_BYTES) // _BYTES_PER_RECORD)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a pass is about to do. Files and bytes are exact, and `seconds` None where no run had a rate."""

    files: int
    bytes: int
    events: int
    requests: int
    seconds: float | None

    @classmethod
    def of(
        cls,
        backlog: Backlog,
        reports: Sequence[Mapping[str, Any]],
        max_events: int,
        events: int | None = None,
    ) -> Self:
        """Foretell it from what is due and from how runs went, the newest first; *events* if it is known."""
        density = Density.of(reports)
        if events is None:
            events = sum(density.events(name, line) for name, line in backlog.by_event_type.items())
        per_second = Rate.of(reports).bytes_per_second
        seconds = round(backlog.bytes / per_second, 1) if per_second else None
        return cls(backlog.files, backlog.bytes, events, math.ceil(events / max_events), seconds)
