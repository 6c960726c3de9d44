"""When rows of files are pruned, and how much of a run that may take."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from braze_etl.clock import ManualClock, iso
from braze_etl.errors import UsageError
from braze_etl.state.ledger import Backlog
from braze_etl.state.retention import BUDGET, EVERY, prune, refuse_pruned
from braze_etl.state.sqlite import SqliteLedger
from tests.state.ground import IDENTITY, NOON, done, ref

KEEP = timedelta(days=400)


class Steps(SqliteLedger):
    """A ledger of five steps, each of which takes a while."""

    clock: ManualClock
    seconds = 0.1

    def prune(self, before: datetime, after: str) -> str | None:
        self.asked = [*getattr(self, "asked", []), (before, after)]
        self.clock.advance(self.seconds)
        step = int(after or 0) + 1
        return None if step == 5 else str(step)

    def places(self) -> list[str]:
        """Where the steps began since the last look."""
        asked, self.asked = getattr(self, "asked", []), []
        return [after for _, after in asked]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON - timedelta(days=600))


@pytest.fixture
def ledger(clock: ManualClock) -> Steps:
    """One that was made long before noon."""
    ledger = Steps.in_memory(IDENTITY, clock=clock)
    ledger.clock = clock
    clock.advance(600 * 86_400)
    return ledger


def pruned(ledger: Steps, *, stop: bool = False) -> list[str]:
    prune(ledger, KEEP, ledger.clock, lambda: stop, newest_hour=NOON)
    return ledger.places()


def test_once_a_day_all_of_it_is_pruned(ledger: Steps, clock: ManualClock) -> None:
    assert pruned(ledger) == ["", "1", "2", "3", "4"]
    clock.advance(EVERY.total_seconds() - 1)
    assert pruned(ledger) == []
    clock.advance(1)
    assert pruned(ledger) == ["", "1", "2", "3", "4"]
    ledger.put_note("prune", {"finished_at": iso(NOON + timedelta(days=999))})  # by a clock that was ahead
    assert pruned(ledger) == ["", "1", "2", "3", "4"]


def test_a_run_prunes_for_two_seconds_and_the_next_one_goes_on(ledger: Steps) -> None:
    ledger.seconds = BUDGET / 2
    assert [pruned(ledger) for _ in range(4)] == [["", "1"], ["2", "3"], ["4"], []]


def test_a_run_that_has_to_stop_ends_after_a_step(ledger: Steps) -> None:
    assert [pruned(ledger, stop=True) for _ in range(2)] == [[""], ["1"]]


def test_whole_days_are_pruned_that_are_old_enough(ledger: Steps) -> None:
    prune(ledger, KEEP, ledger.clock, lambda: True, newest_hour=NOON)
    assert ledger.asked == [((NOON - KEEP).replace(hour=0), "")]


def test_a_day_with_a_file_that_is_due_is_left_alone_and_so_are_the_later_ones(ledger: Steps) -> None:
    due = NOON - timedelta(days=500, hours=2)
    ledger.record_listing(NOON, Backlog(files=1, oldest_hour=due), complete=True)
    prune(ledger, KEEP, ledger.clock, lambda: True, newest_hour=NOON)
    assert ledger.asked == [(due.replace(hour=0), "")]


def test_what_is_old_by_the_clock_alone_is_kept(ledger: Steps, clock: ManualClock) -> None:
    """A wrong clock, or a job that stood still: what came since the last listing must not count as done."""
    clock.advance(KEEP.total_seconds())
    prune(ledger, KEEP, clock, lambda: True, newest_hour=None)
    assert ledger.places() == []
    prune(ledger, KEEP, clock, lambda: True, newest_hour=NOON)
    assert ledger.asked == [((NOON - KEEP).replace(hour=0), "")]


def test_a_ledger_that_is_younger_is_not_looked_through(clock: ManualClock) -> None:
    ledger = Steps.in_memory(IDENTITY, clock=clock)
    ledger.clock = clock
    assert pruned(ledger) == []


def test_hours_of_pruned_days_are_refused_with_the_first_hour_that_is_not(clock: ManualClock) -> None:
    ledger = SqliteLedger.in_memory(IDENTITY, clock=clock)
    refuse_pruned(ledger, NOON - timedelta(days=999))
    ledger.settle("run-1", [done(ref(hour=-24 * 500), accepted=1)], None)
    clock.advance(600 * 86_400)
    prune(ledger, KEEP, clock, lambda: False, newest_hour=clock.now())
    first = NOON.replace(hour=0) - timedelta(days=499)
    refuse_pruned(ledger, first)
    with pytest.raises(UsageError, match=r"days up to 2025-05-23 \(state\.keep\)") as caught:
        refuse_pruned(ledger, first - timedelta(hours=1))
    assert "Begin at 2025-05-24" in caught.value.remedy
    assert "--resend" in caught.value.remedy
