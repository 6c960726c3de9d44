"""What a pass would do: counted from a listing and the ledger, or exactly by reading; nothing is written."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from braze_etl.clock import iso
from braze_etl.compile import EventReader
from braze_etl.currents import Damage
from braze_etl.errors import SourceGoneError, UnreadableFileError
from braze_etl.model import FileRef, Reason, ReasonCounts, Verdict
from braze_etl.run.due import DueFile
from braze_etl.run.reading import blocks_of
from braze_etl.storage import Store

_BYTES_PER_RECORD = 350
"""Stored bytes a record: the middle of what Currents' types need (currents.md 1.2), headers left aside."""
_SCHEMA_BYTES = 3_000


@dataclass(slots=True)
class Plan:
    """Files, bytes and events by type; `reasons` only when it was counted exactly."""

    max_events: int
    exact: bool
    files: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    to_send: Counter[str] = field(default_factory=Counter)
    reasons: ReasonCounts = field(default_factory=Counter)
    oldest: FileRef | None = None
    newest: FileRef | None = None

    @property
    def requests(self) -> int:
        """Requests for what is to be sent."""
        return math.ceil(self.to_send.total() / self.max_events)

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return {
            "estimated": not self.exact,
            "files": self.files.total(),
            "bytes": self.bytes.total(),
            "events": self.events.total(),
            "to_send": self.to_send.total(),
            "requests": self.requests,
            "oldest_hour": iso(self.oldest.hour) if self.oldest else None,
            "newest_hour": iso(self.newest.hour) if self.newest else None,
            "by_event_type": {event_type: self._line(event_type) for event_type in sorted(self.files)},
        }

    def _line(self, event_type: str) -> dict[str, Any]:
        return {
            "files": self.files[event_type],
            "bytes": self.bytes[event_type],
            "events": self.events[event_type],
            "to_send": self.to_send[event_type],
            "reasons": {r.value: n for (of_type, r), n in self.reasons.items() if of_type == event_type},
        }


class Planner:
    """Adds up due files; with a *reader*, each is read to say exactly what would become of its records."""

    def __init__(self, store: Store, max_events: int, reader: EventReader | None = None) -> None:
        self._store = store
        self._reader = reader
        self.plan = Plan(max_events, exact=reader is not None)

    def take(self, due: Iterable[DueFile]) -> Plan:
        """Plan for these files."""
        for file in due:
            ref = file.ref
            self.plan.files[ref.event_type] += 1
            self.plan.bytes[ref.event_type] += ref.size
            self.plan.oldest = self.plan.oldest or ref
            self.plan.newest = ref
            if self._reader is None:
                self._estimate(file)
            else:
                self._count(file, self._reader)
        return self.plan

    def _estimate(self, file: DueFile) -> None:
        records = max(1, (file.ref.size - _SCHEMA_BYTES) // _BYTES_PER_RECORD)
        if not file.whole:
            records = sum(part.count for part in file.open)
        self.plan.events[file.ref.event_type] += records
        self.plan.to_send[file.ref.event_type] += records

    def _count(self, file: DueFile, reader: EventReader) -> None:
        ref = file.ref
        try:
            for block, records in blocks_of(file, self._store, reader):
                if isinstance(block, Damage):
                    self._refuse(ref, Reason.DAMAGED_BLOCK)
                    continue
                for number, outcome in enumerate(block.outcomes):
                    if records is None or number in records:
                        self._take(ref, outcome)
        except UnreadableFileError:
            self._refuse(ref, Reason.UNREADABLE_FILE)
        except SourceGoneError:
            self._refuse(ref, Reason.SOURCE_GONE)

    def _take(self, ref: FileRef, outcome: object) -> None:
        if isinstance(outcome, Verdict):
            self._refuse(ref, outcome.reason)
            return
        self.plan.events[ref.event_type] += 1
        self.plan.to_send[ref.event_type] += 1

    def _refuse(self, ref: FileRef, reason: Reason) -> None:
        self.plan.events[ref.event_type] += 1
        self.plan.reasons[ref.event_type, reason] += 1
