from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from braze_etl.clock import ManualClock
from braze_etl.engine.tasks import Settlement
from braze_etl.engine.worklists.missing import Missing, MissingRecords, Repair, repairs
from braze_etl.model import FileRef, FileSettlement, FileState, OpenPositions, Reason, Tally
from braze_etl.state.ledger import LedgerIdentity
from braze_etl.state.sqlite import SqliteLedger

FIVE = {100: (1, 4), 900: (0, 1, 2)}


@pytest.fixture
def clock(now: datetime) -> ManualClock:
    return ManualClock(now)


@pytest.fixture
def ledger(clock: ManualClock) -> SqliteLedger:
    return SqliteLedger.in_memory(LedgerIdentity("p", "default", "US"), clock=clock)


@pytest.fixture
def ref(make_ref: Callable[..., FileRef]) -> FileRef:
    return make_ref("a", hours_ago=30)


def never() -> bool:
    return False


def settle(ledger: SqliteLedger, ref: FileRef, run_id: str = "r1", **more: object) -> None:
    books = {"state": FileState.DONE, "tally": Tally(accepted=8, filtered=2), "mapping": "m1", **more}
    ledger.settle(run_id, [FileSettlement(ref, **books)], None)  # type: ignore[arg-type]


def test_the_books_go_on_without_the_missing_records(
    ledger: SqliteLedger, ref: FileRef, now: datetime
) -> None:
    settle(ledger, ref, held_from=(100, 7))
    (due,) = Missing([MissingRecords(ref, "r1", FIVE)], "r2").find(ledger, now, never)
    assert due.by_block() == {100: frozenset({1, 4}), 900: frozenset({0, 1, 2})}
    assert (due.carried, due.mapping, due.held_from) == (Tally(accepted=3, filtered=2), "m1", (100, 7))


def test_records_that_wait_in_the_file_stay_open(ledger: SqliteLedger, ref: FileRef, now: datetime) -> None:
    waiting = OpenPositions(Reason.THROTTLED, now, {100: (7,)})
    settle(ledger, ref, state=FileState.OPEN, tally=Tally(accepted=8, deferred=1), open=(waiting,))
    (due,) = Missing([MissingRecords(ref, "r1", FIVE)], "r2").find(ledger, now, never)
    assert (due.later, due.carried) == ((waiting,), Tally(accepted=3))


def test_a_file_that_is_another_matter_by_now_is_left_alone(
    ledger: SqliteLedger, ref: FileRef, now: datetime, make_ref: Callable[..., FileRef]
) -> None:
    settle(ledger, ref, "r2")
    settle(ledger, make_ref("b", etag="e2"))
    files = [MissingRecords(each, "r1", FIVE) for each in (ref, make_ref("b"), make_ref("unknown"))]
    work = Missing(files, "r3")
    assert list(work.find(ledger, now, never)) == []
    work.finish(in_order=True)
    assert repairs(ledger) == [], "nothing was begun"


def test_the_times_of_a_repair_are_its_own(ledger: SqliteLedger, ref: FileRef, now: datetime) -> None:
    first, again = now - timedelta(hours=29), now + timedelta(minutes=3)
    settle(ledger, ref, sent_from=first, sent_to=first)
    work = Missing([MissingRecords(ref, "r1", FIVE)], "r2")
    assert len(list(work.find(ledger, now, never))) == 1
    done = FileSettlement(ref, FileState.DONE, Tally(accepted=8), sent_from=now, sent_to=again)
    ledger.settle("r2", work.claim([Settlement(0, files=[done])]), None)
    work.finish(in_order=True)
    known = ledger.known([ref])[ref.key]
    assert (known.sent_from, known.sent_to, known.run_id) == (first, first, "r2")
    assert repairs(ledger) == [Repair("r2", ref.hour, ref.hour, now, again)]
    assert repairs(ledger)[0].concerns(ref.hour)
    assert not repairs(ledger)[0].concerns(ref.hour + timedelta(hours=1)), "other hours were not repaired"


def test_of_a_repair_that_was_killed_the_end_is_not_known(
    ledger: SqliteLedger, ref: FileRef, now: datetime
) -> None:
    settle(ledger, ref)
    next(Missing([MissingRecords(ref, "r1", FIVE)], "r2").find(ledger, now, never))
    (killed,) = repairs(ledger)
    assert (killed.began, killed.ended) == (now, now + timedelta(days=1))
    assert killed.concerns(ref.hour + timedelta(hours=9))


def test_the_last_fifty_repairs_are_remembered(ledger: SqliteLedger, ref: FileRef, now: datetime) -> None:
    settle(ledger, ref)
    for minute in range(60):
        work = Missing([MissingRecords(ref, "r1", FIVE)], f"r{minute}")
        next(work.find(ledger, now + timedelta(minutes=minute), never))
        work.finish(in_order=True)
    remembered = repairs(ledger)
    assert (len(remembered), remembered[0].began) == (50, now + timedelta(minutes=10))
