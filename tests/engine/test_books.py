from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braze_etl.engine.books import Tag, TaskBooks, tags_of
from braze_etl.engine.due import WHOLE_FILE, DueFile, Origin, Place, Wanted
from braze_etl.engine.tasks import Task
from braze_etl.model import FileRef, FileState, OpenPositions, Reason, Tally, Verdict
from tests.engine.due_files import changed, deferred, replayed

REFUSED = Verdict(Reason.REJECTED, "Amplitude said no")


def books_of(*due: DueFile) -> TaskBooks:
    return TaskBooks(Task(7, due))


def join(books: TaskBooks, *records: int, file: int = 0, block: int = 100) -> list[Tag]:
    for _ in records:
        books.joined_batch(file)
    return [Tag(7, file, block, record) for record in records]


def close(books: TaskBooks, *files: int) -> None:
    for file in files:
        books.read_to_end(file)
    books.reading = False


def test_tags_tell_where_each_record_came_from() -> None:
    tags = tags_of(7, 1, 100, [3, 5])
    assert tags == [Tag(task=7, file=1, block=100, record=3), Tag(task=7, file=1, block=100, record=5)]
    assert all(isinstance(tag, Tag) for tag in tags)


def test_a_file_is_done_when_each_record_has_an_outcome(make_ref: Callable[..., FileRef]) -> None:
    books = books_of(DueFile(make_ref("a")))
    tags = join(books, 0, 1, 2)
    books.fixed(0, 100, 3, Verdict(Reason.NO_IDENTITY))
    books.fixed(0, 100, 4, Verdict(Reason.INVALID_USER_ID, "too short"))
    close(books, 0)
    books.accepted(tags)
    settlement = books.settlement()
    (file,) = settlement.files
    assert file.state is FileState.DONE
    assert file.tally == Tally(accepted=3, filtered=1, quarantined=1)
    assert [aside.position.record for aside in settlement.set_aside] == [4]
    assert settlement.counts.reasons == {
        ("users.messages.email.Open", Reason.NO_IDENTITY): 1,
        ("users.messages.email.Open", Reason.INVALID_USER_ID): 1,
    }


def test_a_file_counts_when_its_event_joins_a_batch_not_when_the_batch_is_sent(
    make_ref: Callable[..., FileRef],
) -> None:
    books = books_of(DueFile(make_ref("a")), DueFile(make_ref("b")))
    first, second = join(books, 0, file=0), join(books, 0, file=1)
    close(books, 0, 1)
    books.accepted(second)
    settled_early = books.settled
    books.accepted(first)
    assert (settled_early, books.settled) == (False, True)
    assert [file.state for file in books.settlement().files] == [FileState.DONE, FileState.DONE]


def test_a_file_knows_the_first_and_the_last_second_in_which_records_of_it_were_accepted(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    books = books_of(DueFile(make_ref("a")), DueFile(make_ref("b")), DueFile(make_ref("c")))
    first, second = join(books, 0, file=0), join(books, 1, file=0) + join(books, 0, file=1)
    later = now + timedelta(seconds=4.5)
    books.accepted(second, [later, later + timedelta(seconds=3)])
    books.accepted(first, [now])
    close(books, 0, 1, 2)
    a, b, c = books.settlement().files
    assert (a.sent_from, a.sent_to) == (now, now + timedelta(seconds=7))
    assert (b.sent_from, b.sent_to) == (now + timedelta(seconds=4), now + timedelta(seconds=7))
    assert (c.sent_from, c.sent_to) == (None, None)


def test_what_is_unsettled_leaves_the_file_due_and_counts_nowhere(make_ref: Callable[..., FileRef]) -> None:
    books = books_of(DueFile(make_ref("a")))
    tags = join(books, 0, 1)
    books.accepted(tags[:1])
    books.unsettled(tags[1:])
    close(books)
    (file,) = books.settlement().files
    assert file.state is None
    assert file.tally.read == 1


def test_a_file_whose_end_is_read_after_a_batch_came_back_unsettled_stays_due(
    make_ref: Callable[..., FileRef],
) -> None:
    books = books_of(DueFile(make_ref("a")))
    books.unsettled(join(books, 0))
    books.accepted(join(books, 1))
    close(books, 0)
    (file,) = books.settlement().files
    assert file.state is None


def test_what_is_unsettled_while_the_file_is_still_read_keeps_it_due(
    make_ref: Callable[..., FileRef],
) -> None:
    books = books_of(DueFile(make_ref("a")))
    books.unsettled(join(books, 0, 1))
    books.accepted(join(books, 2))
    close(books, 0)
    (file,) = books.settlement().files
    assert file.state is None


def test_throttled_records_stay_open_with_their_time(make_ref: Callable[..., FileRef], now: datetime) -> None:
    books = books_of(DueFile(make_ref("a")))
    tags = join(books, 5, 2)
    for tag in tags:
        books.deferred(tag, Reason.THROTTLED, now)
    close(books, 0)
    (file,) = books.settlement().files
    assert file.state is FileState.OPEN
    assert file.open == (OpenPositions(Reason.THROTTLED, now, {100: (2, 5)}),)
    assert file.tally == Tally(deferred=2)


def test_the_books_of_an_open_file_go_on_where_they_stood(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    ready = OpenPositions(Reason.THROTTLED, now, {100: (2,)})
    later = OpenPositions(Reason.DAILY_QUOTA, now, {100: (5, 6)})
    due = deferred(make_ref("a"), ready, later=(later,), carried=Tally(accepted=10, filtered=1))
    books = books_of(due)
    books.block_read(0, 100, 7)
    books.accepted(join(books, 2))
    close(books, 0)
    settlement = books.settlement()
    (file,) = settlement.files
    assert file.state is FileState.OPEN
    assert file.open == (later,)
    assert file.tally == Tally(accepted=11, filtered=1, deferred=2)
    assert settlement.counts.by_event_type["users.messages.email.Open"] == Tally(accepted=1)


def test_a_file_that_cannot_be_read_is_set_aside_as_one(make_ref: Callable[..., FileRef]) -> None:
    books = books_of(DueFile(make_ref("a")))
    books.failed(0, Verdict(Reason.UNREADABLE_FILE, "it is empty"))
    close(books, 0)
    settlement = books.settlement()
    assert settlement.files[0].state is FileState.FAILED
    (aside,) = settlement.set_aside
    assert (aside.position.block, aside.position.record, aside.detail) == (0, None, "it is empty")


def test_open_records_of_a_file_that_is_gone_are_set_aside_one_by_one(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    open_records = OpenPositions(Reason.THROTTLED, now, {100: (2, 5), 900: (0,)})
    books = books_of(deferred(make_ref("a"), open_records))
    books.failed(0, Verdict(Reason.SOURCE_GONE, "deleted"))
    close(books, 0)
    positions = [(aside.position.block, aside.position.record) for aside in books.settlement().set_aside]
    assert positions == [(100, 2), (100, 5), (900, 0)]


def judged(due: DueFile, *, now: datetime | None = None) -> tuple[str, tuple[int, int] | None]:
    """By what a file is judged when its record 2 of block 100 was sent, and held from record 3 on."""
    books = TaskBooks(Task(7, (due,)), "new")
    books.block_read(0, 100, 7)
    books.accepted(join(books, 2))
    if now is not None:
        books.hold(0, [Tag(7, 0, 100, 3)], "the month is over", now)
    close(books, 0)
    (file,) = books.settlement().files
    return file.mapping, file.held_from


def test_a_file_that_is_read_whole_is_judged_by_the_mapping_in_force(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    due = DueFile(make_ref("a"), mapping="old", held_from=(1, 1))
    assert judged(due) == ("new", None)
    assert judged(due, now=now) == ("new", (100, 3))


def test_what_is_left_of_a_file_changes_nothing_of_how_it_was_judged(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    before: dict[str, Any] = {"mapping": "old,older@1/2", "held_from": (900, 1)}
    part = OpenPositions(Reason.THROTTLED, now, {100: (2, 3)})
    assert judged(deferred(make_ref("a"), part, **before)) == ("old,older@1/2", (900, 1))
    assert judged(deferred(make_ref("a"), part, **before), now=now) == ("old,older@1/2", (900, 1))
    again = replayed(make_ref("a"), {(100, 2): (Reason.REJECTED,)}, **before)
    assert judged(again) == ("old,older@1/2", (900, 1))


def test_what_a_change_of_the_mapping_lets_through_is_judged_anew(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    due = changed(make_ref("a"), {100: (2, 3)}, mapping="new", mapping_if_held="old,new")
    assert judged(due) == ("new", None)
    assert judged(due, now=now) == ("old,new", (100, 3))


@given(st.lists(st.sampled_from(["accepted", "refused", "deferred", "unsettled", "filtered"]), max_size=40))
def test_whatever_happens_the_books_balance(fates: list[str]) -> None:
    moment = datetime.fromisoformat("2026-10-03T12:00:00+00:00")
    ref = FileRef("a", "e", 1, moment, "t", moment)
    books = books_of(DueFile(ref))
    for record, fate in enumerate(fates):
        if fate == "filtered":
            books.fixed(0, 1, record, Verdict(Reason.NO_IDENTITY))
            continue
        (tag,) = join(books, record, block=1)
        match fate:
            case "accepted":
                books.accepted([tag])
            case "refused":
                books.refused(tag, REFUSED)
            case "deferred":
                books.deferred(tag, Reason.THROTTLED, moment)
            case _:
                books.unsettled([tag])
    close(books, *([] if "unsettled" in fates else [0]))
    settlement = books.settlement()
    (file,) = settlement.files
    assert file.tally.read == len(fates) - fates.count("unsettled")
    assert (file.state is None) == ("unsettled" in fates)
    assert (file.state is FileState.DONE) == (not {"unsettled", "deferred"} & set(fates))
    assert settlement.counts.reasons.total() == file.tally.read - file.tally.accepted
    assert len(settlement.set_aside) == file.tally.quarantined
    assert sum(part.count for part in file.open) == file.tally.deferred


def again(ref: FileRef, *places: Place, reason: Reason = Reason.INVALID_USER_ID) -> DueFile:
    return replayed(ref, dict.fromkeys(places, (reason,)))


def test_an_open_record_whose_block_is_not_there_any_more_stays_open(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    part = OpenPositions(Reason.DAILY_QUOTA, now, {100: (2, 50), 900: (0,)})
    books = books_of(deferred(make_ref("a"), part))
    books.block_read(0, 100, 10)
    books.accepted(join(books, 2))
    close(books, 0)
    settlement = books.settlement()
    (file,) = settlement.files
    assert file.state is FileState.OPEN
    assert file.open == (OpenPositions(Reason.DAILY_QUOTA, now, {100: (50,), 900: (0,)}),)
    assert file.tally == Tally(accepted=1, deferred=2)


def test_open_records_of_a_block_that_is_damaged_now_are_set_aside_one_by_one(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    part = OpenPositions(Reason.THROTTLED, now, {100: (2, 5), 900: (0,)})
    books = books_of(deferred(make_ref("a"), part))
    books.damaged(0, 100, Verdict(Reason.DAMAGED_BLOCK, "flipped"))
    books.block_read(0, 900, 1)
    books.accepted(join(books, 0, block=900))
    close(books, 0)
    settlement = books.settlement()
    positions = [(aside.position.block, aside.position.record) for aside in settlement.set_aside]
    assert positions == [(100, 2), (100, 5)]
    assert settlement.files[0].tally == Tally(accepted=1, quarantined=2)


def test_a_file_that_goes_away_between_two_blocks_counts_no_record_twice(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    part = OpenPositions(Reason.THROTTLED, now, {100: (2,), 900: (0,)})
    books = books_of(deferred(make_ref("a"), part))
    books.block_read(0, 100, 10)
    tags = join(books, 2)
    books.failed(0, Verdict(Reason.SOURCE_GONE, "deleted"))
    books.accepted(tags)
    close(books, 0)
    assert books.settlement().files[0].tally == Tally(accepted=1, quarantined=1)


def test_what_a_replay_cannot_read_stays_as_it_was(make_ref: Callable[..., FileRef]) -> None:
    books = books_of(again(make_ref("a"), (100, 2), (900, 0), (950, 1)))
    books.damaged(0, 100, Verdict(Reason.DAMAGED_BLOCK, "flipped"))
    books.block_read(0, 900, 1)
    (tag,) = join(books, 0, block=900)
    books.refused(tag, REFUSED)
    books.failed(0, Verdict(Reason.SOURCE_GONE, "deleted"))
    close(books, 0)
    settlement = books.settlement()
    assert [(each.block, each.record) for each in settlement.kept] == [(100, 2), (950, 1)]
    assert [each.reason for each in settlement.set_aside] == [Reason.REJECTED]
    assert {reason: n for (_, reason), n in settlement.counts.reasons.items()} == {
        Reason.INVALID_USER_ID: 2,
        Reason.REJECTED: 1,
    }
    assert settlement.files[0].state is FileState.DONE


def test_a_stretch_that_is_still_damaged_keeps_its_file_failed(make_ref: Callable[..., FileRef]) -> None:
    books = books_of(again(make_ref("a"), (100, None), reason=Reason.DAMAGED_BLOCK))
    books.damaged(0, 100, Verdict(Reason.DAMAGED_BLOCK, "as before"))
    close(books, 0)
    settlement = books.settlement()
    assert settlement.set_aside == []
    assert [each.block for each in settlement.kept] == [100]
    assert settlement.files[0].state is FileState.FAILED


def test_a_whole_file_that_can_be_read_again_begins_new_books(make_ref: Callable[..., FileRef]) -> None:
    books = books_of(again(make_ref("a"), WHOLE_FILE, (100, 1), reason=Reason.UNREADABLE_FILE))
    books.block_read(0, 100, 3)
    books.accepted(join(books, 0, 1, 2))
    close(books, 0)
    settlement = books.settlement()
    assert settlement.kept == []
    assert (settlement.files[0].state, settlement.files[0].tally) == (FileState.DONE, Tally(accepted=3))


def test_a_whole_file_that_is_still_gone_stays_in_the_quarantine(make_ref: Callable[..., FileRef]) -> None:
    books = books_of(again(make_ref("a"), WHOLE_FILE, (100, 1), reason=Reason.SOURCE_GONE))
    books.failed(0, Verdict(Reason.SOURCE_GONE, "still"))
    close(books, 0)
    settlement = books.settlement()
    assert len(settlement.kept) == 2
    assert settlement.set_aside == []
    assert settlement.files[0].state is FileState.FAILED


NOON = datetime.fromisoformat("2026-10-03T12:00:00+00:00")
OPEN = OpenPositions(Reason.THROTTLED, NOON, {100: (2,)})
TOMORROW = NOON + timedelta(days=1)
Origins = Literal["new", "deferred", "quarantined", "changed", "missing"]
Ends = Literal["unreadable", "not reached", "held"]
WHAT_BECOMES: dict[tuple[Origins, Ends], tuple[FileState | None, Tally, int, int]] = {
    ("new", "unreadable"): (FileState.FAILED, Tally(quarantined=1), 1, 0),
    ("new", "not reached"): (None, Tally(), 0, 0),
    ("new", "held"): (FileState.DONE, Tally(filtered=1), 0, 0),
    ("deferred", "unreadable"): (FileState.FAILED, Tally(quarantined=1), 1, 0),
    ("deferred", "not reached"): (FileState.OPEN, Tally(deferred=1), 0, 0),
    ("deferred", "held"): (FileState.OPEN, Tally(deferred=1), 0, 0),
    ("quarantined", "unreadable"): (FileState.DONE, Tally(quarantined=1), 0, 1),
    ("quarantined", "not reached"): (FileState.DONE, Tally(quarantined=1), 0, 1),
    ("quarantined", "held"): (FileState.DONE, Tally(quarantined=1), 0, 1),
    ("changed", "unreadable"): (None, Tally(), 0, 0),
    ("changed", "not reached"): (None, Tally(), 0, 0),
    ("changed", "held"): (FileState.DONE, Tally(filtered=1), 0, 0),
    ("missing", "unreadable"): (None, Tally(), 0, 0),
    ("missing", "not reached"): (None, Tally(), 0, 0),
    ("missing", "held"): (None, Tally(), 0, 0),
}
"""State, books, entries filed and entries kept of a file with one record of which Amplitude was not asked."""


def one_record(ref: FileRef, origin: Origins) -> DueFile:
    match origin:
        case "new":
            return DueFile(ref)
        case "deferred":
            return deferred(ref, OPEN)
        case "quarantined":
            return again(ref, (100, 2))
        case "changed":
            return changed(ref, {100: (2,)})
        case "missing":
            return DueFile(ref, Origin.MISSING, (Wanted({100: (2,)}),))


@pytest.mark.parametrize(("origin", "end"), WHAT_BECOMES)
def test_the_origin_of_a_file_says_what_becomes_of_a_record_that_was_not_sent(
    make_ref: Callable[..., FileRef], origin: Origins, end: Ends
) -> None:
    books = books_of(one_record(make_ref("a"), origin))
    if end == "unreadable":
        books.failed(0, Verdict(Reason.UNREADABLE_FILE, "cut off"))
    elif end == "held":
        books.block_read(0, 100, 3)
        books.hold(0, [Tag(7, 0, 100, 2)], "the month is over", TOMORROW)
    if (origin, end) == ("new", "not reached"):
        books.never_sent(0)
    close(books, 0)
    settlement = books.settlement()
    (file,) = settlement.files
    found = (file.state, file.tally, len(settlement.set_aside), len(settlement.kept))
    assert found == WHAT_BECOMES[origin, end]
    waits_until = TOMORROW if end == "held" else NOON
    assert file.open == ((replace(OPEN, not_before=waits_until),) if file.state is FileState.OPEN else ())


@pytest.mark.parametrize("origin", get_args(Origins))
def test_of_any_origin_a_record_that_is_sent_or_refused_is_counted_as_that(
    make_ref: Callable[..., FileRef], origin: Origins
) -> None:
    for verdict, tally in ((None, Tally(accepted=1)), (REFUSED, Tally(quarantined=1))):
        books = books_of(one_record(make_ref("a"), origin))
        books.block_read(0, 100, 3)
        (tag,) = join(books, 2)
        if verdict is None:
            books.accepted([tag])
        else:
            books.refused(tag, verdict)
        close(books, 0)
        settlement = books.settlement()
        (file,) = settlement.files
        assert (file.state, file.tally, settlement.kept) == (FileState.DONE, tally, [])
        assert len(settlement.set_aside) == tally.quarantined
