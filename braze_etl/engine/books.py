"""The books of a task while it is worked on: every record that was decoded ends in exactly one place.

Pure bookkeeping: no file is read and nothing is sent here, so that the sums can be tested by themselves.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import repeat
from operator import itemgetter
from typing import NamedTuple, assert_never

from braze_etl.delivery.batches import BatchResult
from braze_etl.engine.due import ORIGINS, DueFile, OriginRules, Place, Rest, StaysAsItWas, Wanted
from braze_etl.engine.tasks import Extras, Settlement, Task
from braze_etl.errors import FileUnavailableError
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


class Awaited:
    """What was asked for of a file and has not been met yet: nothing, when it is read for the first time.

    A `Place` without a record is a stretch of the file, or (with block 0) all of it.
    """

    def __init__(self, due: DueFile) -> None:
        self._blocks: defaultdict[int, set[int | None]] = defaultdict(set)
        for block, record in due.places():
            self._blocks[block].add(record)

    def met(self, block: int, count: int) -> None:
        """A block of *count* records was read."""
        awaited = self._blocks.pop(block, set())
        missing: set[int | None] = {each for each in awaited if each is not None and each >= count}
        if missing:
            self._blocks[block] = missing

    def met_record(self, block: int, record: int) -> None:
        """One record was read."""
        self._blocks[block].discard(record)

    def places(self) -> list[Place]:
        """Give what is still awaited."""
        return [(block, record) for block, records in self._blocks.items() for record in records]

    def take_block(self, block: int) -> list[Place]:
        """Give what is still awaited of a block, and wait for it no longer."""
        return [(block, record) for record in sorted(self._blocks.pop(block, ()), key=_whole_first)]

    def take(self) -> list[Place]:
        """Give all that is still awaited, and wait for nothing any longer."""
        return [place for block in sorted(self._blocks) for place in self.take_block(block)]


def _whole_first(record: int | None) -> int:
    return -1 if record is None else record


class Tag(NamedTuple):
    """Travels with an event through delivery, and says where it came from."""

    task: int
    file: int
    block: int
    record: int


_file_of: Callable[[Tag], int] = itemgetter(Tag._fields.index("file"))


def tags_of(task: int, file: int, block: int, records: Iterable[int]) -> list[Tag]:
    """The tags of *records* of one block, in half the time that a call of `Tag` for each would take."""
    places = zip(repeat(task), repeat(file), repeat(block), records, strict=False)
    return list(map(tuple.__new__, repeat(Tag), places))


@dataclass(slots=True)
class _FileBook:
    due: DueFile
    tally: Tally = field(default_factory=Tally)
    reasons: Counter[Reason] = field(default_factory=Counter)
    in_flight: int = 0
    read_to_end: bool = False
    unsettled: bool = False
    failed: bool = False
    held: bool = False
    held_from: tuple[int, int] | None = None
    open: dict[tuple[Reason, datetime], dict[int, list[int]]] = field(default_factory=dict)
    sent: list[datetime] = field(default_factory=list)
    awaited: Awaited = field(init=False)

    def __post_init__(self) -> None:
        self.awaited = Awaited(self.due)
        self.failed = self.due.still_failed

    @property
    def rules(self) -> OriginRules:
        return ORIGINS[self.due.origin]

    def leave_open(self, reason: Reason, not_before: datetime, block: int, record: int) -> None:
        self.open.setdefault((reason, not_before), {}).setdefault(block, []).append(record)

    def settlement(self, mapping: str) -> FileSettlement:
        books = Tally()
        books.add(self.due.carried)
        books.add(self.tally)
        later = sum(part.count for part in self.due.later)
        books.count(Outcome.DEFERRED, later)
        return FileSettlement(
            self.due.ref,
            self._state(bool(later)),
            books,
            self._open_positions(),
            *self._judged_by(mapping),
            accepted=self.tally.accepted,
            sent_from=min(self.sent, default=None),
            sent_to=max(self.sent, default=None),
        )

    def _judged_by(self, mapping: str) -> tuple[str, tuple[int, int] | None]:
        """By what the records that are not sent were last judged, all of them: see `FileSettlement`."""
        due = self.due
        if due.whole:
            return mapping, self.held_from
        if self.held_from is not None:
            return due.mapping_if_held, self.held_from
        return due.mapping, due.held_from

    def _state(self, later: bool) -> FileState | None:
        if not self.read_to_end or self.unsettled or self.in_flight:
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
    """Counts what happens to the records of one task, and closes with its `Settlement`.

    *mapping* is the version of the mapping in force, by which files are judged that are read whole.
    """

    def __init__(self, task: Task, mapping: str = "") -> None:
        self.task = task
        self._mapping = mapping
        self.reading = True
        self._files = [_FileBook(due) for due in task.files]
        self._result = Settlement(task.number)

    @property
    def settled(self) -> bool:
        """Whether nothing more can happen to this task."""
        return not self.reading and not any(book.in_flight for book in self._files)

    def joined_batch(self, file: int, events: int = 1) -> None:
        """Events of that file are now part of a batch: counted here, not when the batch is sent."""
        self._files[file].in_flight += events

    def fixed(self, file: int, block: int, record: int | None, verdict: Verdict) -> None:
        """A record got its verdict without being sent; *record* None stands for what can't be taken apart."""
        self._count(file, verdict.reason.outcome, verdict.reason)
        if verdict.reason.outcome is Outcome.QUARANTINED:
            self._set_aside(file, block, record, verdict)

    def block_read(self, file: int, block: int, records: int) -> None:
        """A block of so many records was read: those of them that were asked for have come back."""
        self._files[file].awaited.met(block, records)

    def record_restored(self, file: int, block: int, record: int) -> None:
        """A record that was asked for came from the quarantine, where its source is gone."""
        self._files[file].awaited.met_record(block, record)

    def awaited(self, file: int) -> list[Place]:
        """What was asked for of a file and has not come back so far."""
        return self._files[file].awaited.places()

    def damaged(self, file: int, block: int, verdict: Verdict) -> None:
        """A stretch of the file can't be read: it is set aside as one, or by the records asked for."""
        book = self._files[file]
        places = book.awaited.take_block(block)
        if book.due.whole:
            book.failed = True
            self.fixed(file, block, None, verdict)
            places = [place for place in places if place != (block, None)]
        self._unreadable(file, places, verdict)

    def failed(self, file: int, verdict: Verdict) -> None:
        """The file can't be read on: it is set aside as one, or by what did not come back."""
        book = self._files[file]
        if book.due.whole and book.rules.unreadable is Rest.SET_ASIDE:
            self.damaged(file, 0, verdict)
        self._unreadable(file, book.awaited.take(), verdict)

    def reading_ended(self, repairs: Counter[str], extras: Extras) -> None:
        """Nothing more of any file will join a batch; this is what was mended and found on the way."""
        self.reading = False
        self._result.repairs += repairs
        self._result.extras = extras

    def read_to_end(self, file: int) -> None:
        """Nothing more of that file will join a batch; what did not come back stays as it was."""
        book = self._files[file]
        book.read_to_end = True
        # Of a file that was read whole, a stretch that is no block any more was read as well.
        places = [place for place in book.awaited.take() if not (book.due.whole and place[1] is None)]
        self._leave(file, places, book.rules.not_reached)

    def delivered(self, result: BatchResult[Tag]) -> None:
        """A batch of this task is over: what became of each of its events."""
        self.accepted(result.accepted, result.accepted_at)
        for tag, verdict in result.set_aside:
            self.refused(tag, verdict)
        for tag, reason, not_before in result.deferred:
            self.deferred(tag, reason, not_before)
        self.unsettled(result.unsettled)
        self._result.repairs += result.repairs

    def accepted(self, tags: list[Tag], times: Iterable[datetime] = ()) -> None:
        """Amplitude took these, by answers of those times: whose answer was whose is not asked."""
        seconds = [each.replace(microsecond=0) for each in times]
        for file, events in Counter(map(_file_of, tags)).items():
            self._files[file].in_flight -= events
            self._files[file].sent += seconds
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
        book.leave_open(reason, not_before, tag.block, tag.record)

    def unsettled(self, tags: list[Tag]) -> None:
        """These have no outcome, because the run stops: their files stay due."""
        for tag in tags:
            book = self._files[tag.file]
            book.in_flight -= 1
            # For good: reading may reach the end of the file after this.
            book.unsettled = True

    def held(self, file: int) -> bool:
        """Whether the budget has ended that file."""
        return self._files[file].held

    def hold(self, file: int, tags: list[Tag], words: str, until: datetime) -> None:
        """The budget does not reach these, nor the rest of the file: *words* say which bound, until when."""
        book = self._files[file]
        book.held = True
        if book.rules.held is not Rest.FILTERED:
            self._leave(file, [(tag.block, tag.record) for tag in tags], book.rules.held, until)
            return
        book.held_from = book.held_from or (tags[0].block, tags[0].record)
        self._result.held[book.due.ref.event_type] += len(tags)
        for tag in tags:
            self.fixed(file, tag.block, tag.record, Verdict(Reason.HELD, words))

    def unavailable(self, error: FileUnavailableError) -> None:
        """The store does not give a file, which is read no further: it stays due, whatever came of it."""
        self._result.unavailable.note(error)

    def never_sent(self, file: int) -> None:
        """Records of that file have no outcome, because the run stops: it stays due."""
        self._files[file].unsettled = True

    def settlement(self) -> Settlement:
        """Close the books; call once, when `settled`."""
        for book in self._files:
            file = book.settlement(self._mapping)
            self._result.files.append(file)
            self._result.counts.count(file.ref.event_type, book.tally, book.reasons)
            if file.state is None:
                self._result.repeats.count(file.ref.event_type, book.tally, book.reasons)
        return self._result

    def _unreadable(self, file: int, places: list[Place], verdict: Verdict) -> None:
        book = self._files[file]
        if book.rules.unreadable is not Rest.SET_ASIDE:
            self._leave(file, places, book.rules.unreadable)
            return
        book.failed |= bool(places)
        for block, record in places:
            self.fixed(file, block, record, verdict)

    def _leave(
        self, file: int, places: list[Place], rest: StaysAsItWas, until: datetime | None = None
    ) -> None:
        """Leave wanted records as they were; what is deferred stays so until then at least."""
        book = self._files[file]
        for place in places:
            part = book.due.part_of(place)
            if part is None or rest is Rest.FILE_STAYS:
                book.unsettled = True
            elif rest is Rest.STAYS_ASIDE:
                self._stays_aside(file, place, part)
            elif rest is Rest.STAYS_OPEN:
                self._stays_open(file, place, part, until)
            else:
                assert_never(rest)

    def _stays_aside(self, file: int, place: Place, part: Wanted) -> None:
        # Its entries tell why already, and those words stay true.
        book, (block, record) = self._files[file], place
        book.failed |= record is None
        self._count(file, Outcome.QUARANTINED, part.reasons[0])
        self._result.kept.append(Position(book.due.ref.key, book.due.ref.etag, block, record))

    def _stays_open(self, file: int, place: Place, part: Wanted, until: datetime | None) -> None:
        block, record = place
        assert record is not None
        assert part.not_before is not None
        reason, not_before = part.reasons[0], max(part.not_before, until or part.not_before)
        self._count(file, Outcome.DEFERRED, reason)
        self._files[file].leave_open(reason, not_before, block, record)

    def _count(self, file: int, outcome: Outcome, reason: Reason | None, records: int = 1) -> None:
        book = self._files[file]
        book.tally.count(outcome, records)
        if reason is not None:
            book.reasons[reason] += records

    def _set_aside(self, file: int, block: int, record: int | None, verdict: Verdict) -> None:
        ref = self._files[file].due.ref
        position = Position(ref.key, ref.etag, block, record)
        self._result.set_aside.append(SetAside(position, ref.event_type, verdict.reason, verdict.detail))
