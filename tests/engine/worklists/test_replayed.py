from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from braze_etl.braze.currents.keys import hour_of_key
from braze_etl.clock import ManualClock
from braze_etl.engine.books import Tag, TaskBooks
from braze_etl.engine.due import DueFile
from braze_etl.engine.tasks import Settlement, Task
from braze_etl.engine.worklists.replayed import Replayed, without
from braze_etl.model import (
    FileRef,
    FileSettlement,
    FileState,
    OpenPositions,
    Position,
    Reason,
    SetAside,
    Tally,
    Verdict,
)
from braze_etl.quarantine.entry import EVERYTHING, Selection
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.state.ledger import LedgerIdentity
from braze_etl.state.sqlite import SqliteLedger
from braze_etl.storage.folder import FolderStore


def test_the_books_begin_without_what_is_taken_up() -> None:
    assert without(Tally(accepted=5, quarantined=4), taken=3, left=1) == Tally(accepted=5, quarantined=1)


@pytest.mark.parametrize("moved", [0, 1, 3])
def test_a_replay_that_broke_off_is_repeated_and_the_sum_of_the_books_stays(moved: int) -> None:
    """The ledger was told of *moved* records, and their entries were not removed before the crash."""
    told = Tally(accepted=5 + moved, filtered=2, quarantined=4 - moved)
    assert without(told, taken=3, left=1) == Tally(accepted=5, filtered=2, quarantined=1)


def test_more_entries_than_the_books_know_never_make_them_negative() -> None:
    assert without(Tally(accepted=1), taken=3, left=0) == Tally()


KEY = (
    "dataexport.prod-01.S3.integration.abc/event_type=users.messages.email.Open/date=2026-10-01-05/"
    "12/us-01/dataexport.prod-01.S3.integration.abc+0+1.avro"
)
KIND = "users.messages.email.Open"
NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=3)


def aside(block: int, record: int | None, reason: Reason = Reason.INVALID_USER_ID) -> SetAside:
    return SetAside(Position(KEY, "e1", block, record), KIND, reason, "words")


def ref(etag: str = "e1") -> FileRef:
    return FileRef(KEY, etag, 10, NOW, KIND, datetime(2026, 10, 1, 5, tzinfo=UTC))


class Setting:
    """A quarantine with three records of one file, and a ledger."""

    def __init__(self, folder: Path) -> None:
        self.ledger = SqliteLedger.in_memory(LedgerIdentity("p", "default", "US"), clock=ManualClock(NOW))
        self.store = FolderStore(folder / "aside", must_exist=False)
        self.quarantine = Quarantine(self.store)
        self.quarantine.file("r0", NOW, [aside(100, 1), aside(100, 2), aside(900, 0)])
        self.replay = self.again()

    def again(self, where: Selection = EVERYTHING) -> Replayed:
        self.replay = Replayed(self.quarantine, where, hour_of_key)
        return self.replay

    def knows(self, etag: str = "e1", state: FileState = FileState.DONE, **tally: int) -> None:
        self.ledger.settle("r0", [FileSettlement(ref(etag), state, Tally(**tally))], None)

    def due(self) -> DueFile:
        (due,) = self.replay.find(self.ledger, NOW, lambda: False)
        return due

    def settle(self, books: TaskBooks) -> Settlement:
        """What a run does with a settlement: file, close, ledger, entries."""
        books.read_to_end(0)
        books.reading = False
        settlement = books.settlement()
        claimed = self.replay.claim([settlement])
        self.quarantine.file("r1", NOW, settlement.set_aside)
        whole = [file.ref for file in self.replay.replaces(claimed) if file.state is FileState.DONE]
        self.quarantine.close([(each.key, each.etag) for each in whole])
        self.ledger.settle("r1", claimed, None)
        self.replay.settled()
        return settlement

    def left(self) -> list[tuple[int, int | None, str]]:
        entries = self.quarantine.entries()
        return sorted((each.position.block, each.position.record, each.reason.value) for each in entries)

    def books_of(self, due: DueFile) -> TaskBooks:
        books = TaskBooks(Task(0, (due,)))
        books.block_read(0, 100, 5)
        books.block_read(0, 900, 5)
        return books


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def accept(books: TaskBooks, *places: tuple[int, int]) -> None:
    for block, record in places:
        books.joined_batch(0)
        books.accepted([Tag(0, 0, block, record)])


def test_a_file_is_due_with_what_its_entries_tell(setting: Setting) -> None:
    setting.knows(accepted=7, quarantined=5)
    due = setting.due()
    assert (due.ref.key, due.ref.etag, due.ref.hour) == (KEY, "e1", ref().hour)
    assert due.by_block() == {100: frozenset({1, 2}), 900: frozenset({0})}
    assert due.carried == Tally(accepted=7, quarantined=2)


def test_a_replay_leaves_by_what_its_file_was_judged(setting: Setting) -> None:
    tally = Tally(accepted=7, quarantined=3)
    told = FileSettlement(ref(), FileState.DONE, tally, (), "old", (900, 1))
    setting.ledger.settle("r0", [told], None)
    books = setting.books_of(setting.due())
    accept(books, (100, 1), (100, 2), (900, 0))
    setting.settle(books)
    known = setting.ledger.known([ref()])[KEY]
    assert (known.tally.accepted, known.mapping, known.held_from) == (10, "old", (900, 1))


def test_each_entry_ends_as_its_record_does(setting: Setting) -> None:
    setting.knows(accepted=7, quarantined=3)
    books = setting.books_of(setting.due())
    accept(books, (100, 1))
    books.fixed(0, 100, 2, Verdict(Reason.REJECTED, "new"))
    books.fixed(0, 900, 0, Verdict(Reason.INVALID_USER_ID, "as before"))
    setting.settle(books)
    assert len(setting.left()) == 4, "nothing is removed before the batch of removals"
    setting.replay.finish(in_order=True)
    assert setting.left() == [(100, 2, "rejected"), (900, 0, "invalid_user_id")]
    assert setting.ledger.known([ref()])[KEY].tally == Tally(accepted=8, quarantined=2)


def test_a_replay_that_crashed_before_its_removal_is_repeated_with_the_same_books(setting: Setting) -> None:
    setting.knows(accepted=7, quarantined=3)
    for _ in range(3):
        setting.again()
        books = setting.books_of(setting.due())
        accept(books, (100, 1), (100, 2), (900, 0))
        setting.settle(books)
        assert setting.ledger.known([ref()])[KEY].tally == Tally(accepted=10)
    setting.replay.finish(in_order=True)
    assert setting.left() == []


def test_entries_stay_when_the_ledger_was_not_told(setting: Setting) -> None:
    setting.knows(accepted=7, quarantined=3)
    books = setting.books_of(setting.due())
    accept(books, (100, 1), (100, 2), (900, 0))
    books.read_to_end(0)
    setting.replay.claim([books.settlement()])
    setting.replay.finish(in_order=True)
    assert len(setting.left()) == 3


def test_a_file_that_was_not_read_to_its_end_keeps_its_entries(setting: Setting) -> None:
    setting.knows(accepted=7, quarantined=3)
    books = setting.books_of(setting.due())
    accept(books, (100, 1))
    books.joined_batch(0)
    books.unsettled([Tag(0, 0, 100, 2)])
    setting.settle(books)
    setting.replay.finish(in_order=True)
    assert len(setting.left()) == 3
    assert setting.ledger.known([ref()])[KEY].tally == Tally(accepted=7, quarantined=3)


@pytest.mark.parametrize("etag", ["", "e2", "pruned"])
def test_no_row_is_written_for_a_file_that_the_ledger_has_not_as_it_is(setting: Setting, etag: str) -> None:
    if etag:
        setting.knows(etag, accepted=1)
    if etag == "pruned":
        setting.ledger.prune(NOW + timedelta(days=400), "")
    before = setting.ledger.known([ref()])
    books = setting.books_of(setting.due())
    accept(books, (100, 1), (100, 2))
    books.joined_batch(0)
    books.deferred(Tag(0, 0, 900, 0), Reason.THROTTLED, LATER)
    settlement = setting.settle(books)
    setting.replay.finish(in_order=True)
    assert setting.ledger.known([ref()]) == before
    assert settlement.files[0].state is None, "it counts as remaining"
    assert setting.left() == [(900, 0, "invalid_user_id")]


def test_a_payload_of_bytes_that_were_replaced_is_there_until_its_own_turn(setting: Setting) -> None:
    gone = SetAside(Position(KEY, "e0", 100, 1), KIND, Reason.SOURCE_GONE, "words", {"id": "1"})
    setting.quarantine.file("r0", NOW, [gone])
    setting.quarantine = Quarantine(setting.store)
    setting.quarantine.prepare(4)
    setting.again()
    setting.knows(accepted=7, quarantined=3)
    due = {each.ref.etag: each for each in setting.replay.find(setting.ledger, NOW, lambda: False)}
    books = setting.books_of(due["e1"])
    accept(books, (100, 1), (100, 2), (900, 0))
    assert setting.settle(books).files[0].state is FileState.DONE
    (entry,) = setting.quarantine.entries(Selection(reasons=frozenset({Reason.SOURCE_GONE})))
    assert due["e0"].by_block() == {100: frozenset({1})}
    assert setting.quarantine.payload(entry, NOW) == {"id": "1"}


def test_records_that_are_open_already_are_left_alone(setting: Setting) -> None:
    part = OpenPositions(Reason.THROTTLED, NOW, {300: (4,)})
    books = Tally(accepted=1, quarantined=3, deferred=1)
    setting.ledger.settle("r0", [FileSettlement(ref(), FileState.OPEN, books, (part,))], None)
    due = setting.due()
    assert due.later == (part,)
    worked_on = setting.books_of(due)
    accept(worked_on, (100, 1), (100, 2), (900, 0))
    setting.settle(worked_on)
    (left_open,) = setting.ledger.open_files()
    assert (left_open.open, left_open.tally) == ((part,), Tally(accepted=4, deferred=1))


def test_entries_of_more_than_seven_days_are_warned_of(setting: Setting) -> None:
    setting.quarantine.file("r0", NOW - timedelta(days=8), [aside(901, 0)])
    assert len(list(setting.replay.find(setting.ledger, NOW, lambda: False))) == 1
    assert setting.replay.found().warnings == {"older_than_deduplication": 1}
