from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from braze_etl.clock import ManualClock
from braze_etl.engine.due import DueFile
from braze_etl.engine.run import Reopening, deferred_in
from braze_etl.engine.tasks import Settlement, Task
from braze_etl.model import FileRef, FileSettlement, FileState, OpenPositions, Reason, Tally
from braze_etl.state.ledger import Backlog, LedgerIdentity
from braze_etl.state.memory import MemoryLedger


def test_a_throttled_file_comes_back_when_its_time_has_come_and_once(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    clock = ManualClock(now)
    ledger = MemoryLedger(LedgerIdentity("p", "default", "US"), clock=clock)
    reopening = Reopening(ledger, clock)
    wait = OpenPositions(Reason.THROTTLED, now + timedelta(seconds=30), {10: (1, 2)})
    settlement = FileSettlement(make_ref("a"), FileState.OPEN, Tally(accepted=8, deferred=2), (wait,))
    ledger.settle("r1", [settlement], Backlog())
    reopening.note(Settlement(1, files=[settlement]))
    clock.advance(29)
    assert list(reopening.ready()) == []
    clock.advance(6)
    (due,) = reopening.ready()
    assert (due.ref.key, due.carried, deferred_in(due)) == ("a", Tally(accepted=8), {Reason.THROTTLED: 2})
    clock.advance(60)
    assert list(reopening.ready()) == []


def test_a_file_in_which_older_records_wait_is_left_to_the_next_run(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    clock = ManualClock(now)
    ledger = MemoryLedger(LedgerIdentity("p", "default", "US"), clock=clock)
    wait = OpenPositions(Reason.DAILY_QUOTA, now + timedelta(seconds=10), {10: (1,)})
    fresh = OpenPositions(Reason.THROTTLED, now + timedelta(seconds=10), {10: (2,)})
    settlement = FileSettlement(make_ref("a"), FileState.OPEN, Tally(deferred=2), (fresh, wait))
    ledger.settle("r1", [settlement], Backlog())
    reopening = Reopening(ledger, clock)
    reopening.began(Task(1, (DueFile(make_ref("a"), (fresh,), (wait,)),)))
    reopening.note(Settlement(1, files=[settlement]))
    clock.advance(60)
    assert list(reopening.ready()) == []


def test_files_that_other_runs_left_open_are_not_its_business(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    clock = ManualClock(now)
    ledger = MemoryLedger(LedgerIdentity("p", "default", "US"), clock=clock)
    wait = OpenPositions(Reason.THROTTLED, now, {10: (1,)})
    ledger.settle(
        "r0", [FileSettlement(make_ref("a"), FileState.OPEN, Tally(deferred=1), (wait,))], Backlog()
    )
    reopening = Reopening(ledger, clock)
    clock.advance(60)
    assert list(reopening.ready()) == []
