"""The books of a task while it is worked on: every record that was decoded ends in exactly one place.

Pure bookkeeping: no file is read and nothing is sent here, so that the sums can be tested by themselves.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from braze_etl.model import (
    FileSettlement,
    FileState,
    OpenPositions,
    Outcome,
    Position,
    Reason,
    SetAside,
    Tally,
    Verdict,
)
from braze_etl.run.due import DueFile
from braze_etl.run.tasks import Settlement, Task


class Tag(NamedTuple):
    """Travels with an event through delivery, and says where it came from."""

    task: int
    file: int
    block: int
    record: int


@dataclass(slots=True)
class _FileBook:
    due: DueFile
    tally: Tally = field(default_factory=Tally)
    in_flight: int = 0
    read_to_end: bool = False
    failed: bool = False
    open: dict[tuple[Reason, datetime], dict[int, list[int]]] = field(default_factory=dict)

    def settlement(self) -> FileSettlement:
        books = Tally()
        books.add(self.due.carried)
        books.add(self.tally)
        later = sum(part.count for part in self.due.later)
        books.count(Outcome.DEFERRED, later)
        return FileSettlement(self.due.ref, self._state(bool(later)), books, self._open_positions())

    def _state(self, later: bool) -> FileState | None:
        if not self.read_to_end or self.in_flight:
            return None
        if self.open or later:
            return FileState.OPEN
        return FileState.FAILED if self.failed else FileState.DONE

    def _open_positions(self) -> tuple[OpenPositions, ...]:
        fresh = tuple(
            OpenPositions(
                reason, not_before, {block: tuple(sorted(records)) for block, records in blocks.items()}
            )
            for (reason, not_before), blocks in self.open.items()
        )
        return fresh + self.due.later


class TaskBooks:
    """Counts what happens to the records of one task, and closes with its `Settlement`."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.reading = True
        self._files = [_FileBook(due) for due in task.files]
        self._result = Settlement(task.number)

    @property
    def settled(self) -> bool:
        """Whether nothing more can happen to this task."""
        return not self.reading and not any(book.in_flight for book in self._files)

    def joined_batch(self, file: int) -> None:
        """An event of that file is now part of a batch: counted here, not when the batch is sent."""
        self._files[file].in_flight += 1

    def fixed(self, file: int, block: int, record: int | None, verdict: Verdict) -> None:
        """A record got its verdict without being sent; *record* None stands for what can't be taken apart."""
        self._count(file, verdict.reason.outcome, verdict.reason)
        if verdict.reason.outcome is Outcome.QUARANTINED:
            self._set_aside(file, block, record, verdict)

    def damaged(self, file: int, block: int, verdict: Verdict) -> None:
        """A stretch of the file can't be read: it is set aside as one, and the file has failed."""
        self._files[file].failed = True
        self.fixed(file, block, None, verdict)

    def failed(self, file: int, verdict: Verdict) -> None:
        """The file can't be read on: it is set aside as one, or by the records that were left open."""
        wanted = self._files[file].due.open_records()
        if wanted is None:
            self.damaged(file, 0, verdict)
            return
        self._files[file].failed = True
        for block, records in wanted.items():
            for record in sorted(records):
                self.fixed(file, block, record, verdict)

    def read_to_end(self, file: int) -> None:
        """Nothing more of that file will join a batch."""
        self._files[file].read_to_end = True

    def accepted(self, tags: list[Tag]) -> None:
        """Amplitude took these."""
        for file, events in Counter(tag.file for tag in tags).items():
            self._files[file].in_flight -= events
            self._count(file, Outcome.ACCEPTED, None, events)

    def refused(self, tag: Tag, verdict: Verdict) -> None:
        """Amplitude, or a check before sending, refused this one."""
        self._files[tag.file].in_flight -= 1
        self.fixed(tag.file, tag.block, tag.record, verdict)

    def deferred(self, tag: Tag, reason: Reason, not_before: datetime) -> None:
        """A record stays open for a later run."""
        book = self._files[tag.file]
        book.in_flight -= 1
        self._count(tag.file, Outcome.DEFERRED, reason)
        book.open.setdefault((reason, not_before), {}).setdefault(tag.block, []).append(tag.record)

    def unsettled(self, tags: list[Tag]) -> None:
        """These have no outcome, because the run stops: their files stay due."""
        for tag in tags:
            book = self._files[tag.file]
            book.in_flight -= 1
            book.read_to_end = False

    def settlement(self) -> Settlement:
        """Close the books; call once, when `settled`."""
        self._result.files = [book.settlement() for book in self._files]
        return self._result

    def _count(self, file: int, outcome: Outcome, reason: Reason | None, records: int = 1) -> None:
        book = self._files[file]
        event_type = book.due.ref.event_type
        book.tally.count(outcome, records)
        self._result.by_event_type.setdefault(event_type, Tally()).count(outcome, records)
        if reason is not None:
            self._result.reasons[event_type, reason] += records

    def _set_aside(self, file: int, block: int, record: int | None, verdict: Verdict) -> None:
        ref = self._files[file].due.ref
        position = Position(ref.key, ref.etag, block, record)
        self._result.set_aside.append(SetAside(position, ref.event_type, verdict.reason, verdict.detail))
