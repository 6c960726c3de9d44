"""What becomes of the records that are not granted, by where their file stands."""

from __future__ import annotations

from datetime import timedelta

from braze_etl.engine.books import TaskBooks, tags_of
from braze_etl.engine.budget import Terms
from braze_etl.engine.due import WHOLE_FILE, DueFile
from braze_etl.engine.meter import Allowance
from braze_etl.engine.tasks import Ask, Grant, Settlement, Task
from braze_etl.model import FileSettlement, FileState, OpenPositions, Reason
from tests.engine.budget.world import EVENING, STOPPED, World, due
from tests.engine.due_files import deferred, replayed

TOMORROW = EVENING + timedelta(minutes=10)


class Clerk:
    """Grants so much in all, and keeps what it was asked."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.asked: list[Ask] = []

    def __call__(self, ask: Ask) -> Grant | None:
        self.asked.append(ask)
        granted = min(self.left, ask.events) if ask.stops else ask.events
        self.left -= granted
        return Grant(granted) if granted == ask.events else Grant(granted, "used up", TOMORROW)


def sent(
    file: DueFile, clerk: Clerk, *blocks: tuple[int, tuple[int, ...]], size: int = 10
) -> tuple[FileSettlement, Settlement]:
    """Send these records of a file, by block; all of it that is admitted is accepted."""
    books = TaskBooks(Task(1, (file,)))
    allowance = Allowance(lambda event_type: event_type == STOPPED, clerk)
    for block, records in blocks:
        books.block_read(0, block, size)
        tags = tags_of(1, 0, block, records)
        events, tags = allowance.admit(books, 0, [{} for _ in tags], tags)
        assert len(events) == len(tags)
        books.joined_batch(0, len(events))
        books.accepted(tags)
    books.read_to_end(0)
    books.reading = False
    settlement = books.settlement()
    return settlement.files[0], settlement


def test_from_the_first_held_record_on_the_rest_of_the_file_is_held() -> None:
    clerk = Clerk(14)
    file, settlement = sent(due("a"), clerk, (100, (0, 2, 4)), (200, tuple(range(20))), (300, (0, 1)))
    assert (file.state, file.held_from) == (FileState.DONE, (200, 11))
    assert (file.tally.accepted, file.tally.filtered) == (14, 11)
    assert settlement.held == {STOPPED: 11}
    clerk.left = 100
    assert len(clerk.asked) == 2, "nothing is asked for once a file is held"


def test_a_file_that_fits_is_not_held() -> None:
    file, settlement = sent(due("a"), Clerk(5), (100, (0, 1)), (200, (0, 1, 2)))
    assert (file.held_from, file.tally.accepted, settlement.held) == (None, 5, {})


def test_records_that_were_left_open_stay_open_until_the_bound_ends() -> None:
    left = OpenPositions(Reason.THROTTLED, EVENING, {100: (1, 3, 5)})
    file, settlement = sent(deferred(due("a").ref, left), Clerk(1), (100, (1, 3, 5)))
    assert (file.state, file.held_from) == (FileState.OPEN, None)
    assert file.open == (OpenPositions(Reason.THROTTLED, TOMORROW, {100: (3, 5)}),)
    assert settlement.counts.reasons == {(STOPPED, Reason.THROTTLED): 2}


def test_records_that_are_replayed_stay_in_the_quarantine() -> None:
    again = replayed(due("a").ref, {(100, 1): (Reason.REJECTED,), (100, 3): (Reason.REJECTED,)})
    file, settlement = sent(again, Clerk(1), (100, (1, 3)))
    assert (file.state, file.tally.accepted, file.tally.quarantined) == (FileState.DONE, 1, 1)
    assert [(each.block, each.record) for each in settlement.kept] == [(100, 3)]


def test_a_file_that_is_replayed_whole_keeps_its_entry_when_the_budget_ends_it() -> None:
    again = replayed(due("a").ref, {WHOLE_FILE: (Reason.UNREADABLE_FILE,)})
    file, _ = sent(again, Clerk(1), (100, (1, 3)))
    assert file.state is None


def test_a_run_that_has_to_stop_holds_nothing_and_leaves_the_file_due() -> None:
    books = TaskBooks(Task(1, (due("a"),)))
    allowance = Allowance(lambda _: True, lambda _: None)
    assert allowance.admit(books, 0, [{}], tags_of(1, 0, 100, (0,))) == ([], [])
    books.read_to_end(0)
    (file,) = books.settlement().files
    assert (file.state, file.tally.read) == (None, 0)


def test_what_is_left_of_a_grant_is_used_for_the_next_block(world: World) -> None:
    """A grant may be larger than what was asked for."""
    world.terms = Terms(world.terms.bounds.model_copy(update={"per_day": 1000}))
    meter = world.started()
    asked: list[Ask] = []

    def ask(each: Ask) -> Grant:
        asked.append(each)
        return meter.answer(each)

    books, allowance = TaskBooks(Task(1, (due("a"),))), Allowance(lambda _: True, ask)
    for block in range(10):
        allowance.admit(books, 0, [{} for _ in range(10)], tags_of(1, 0, block, range(10)))
    assert [each.events for each in asked] == [10]
