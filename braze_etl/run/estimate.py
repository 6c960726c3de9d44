"""How many records some bytes of Currents files hold: as runs have measured, or by a rule of thumb."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Self

from braze_etl.checkpoint import BacklogLine

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
            for event_type, read in report.get("bytes_read", {}).items():
                size[event_type] += read
                records[event_type] += report["by_event_type"][event_type]["read"]
        return cls({name: size[name] / records[name] for name in size if size[name] and records[name] > 0})

    def events(self, event_type: str, line: BacklogLine) -> int:
        """About how many records these files hold; Braze never writes an empty one."""
        per_record = self._measured.get(event_type)
        if per_record is not None:
            return max(line.files, round(line.bytes / per_record))
        return max(line.files, (line.bytes - line.files * _SCHEMA_BYTES) // _BYTES_PER_RECORD)
