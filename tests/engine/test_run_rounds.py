"""A backfill makes way for the scheduled run, which waits for that; time by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from braze_etl.clock import ManualClock
from braze_etl.engine.run import PATIENCE, ROUND, LeftOpen, Rounds
from braze_etl.engine.tasks import Task
from braze_etl.errors import LeaseHeldError
from braze_etl.model import FileRef, FileSettlement, FileState, OpenPositions, Reason, Tally
from braze_etl.state.ledger import Backlog, LeaseOwner, LedgerIdentity
from braze_etl.state.sqlite import SqliteLedger
from tests.engine.due_files import deferred


def owner(command: str) -> LeaseOwner:
    return LeaseOwner(f"{command}-1", "host", 7, command)


class Scene:
    """A ledger, a clock, and what happens at a moment of it."""

    def __init__(self, now: datetime) -> None:
        self.clock = ManualClock(now)
        self.ledger = SqliteLedger.in_memory(LedgerIdentity("p", "default", "US"), clock=self.clock)
        self.events: list[tuple[float, Callable[[], Any]]] = []
        self.stopped = False

    def rounds(self, command: str) -> Rounds:
        return Rounds(self.ledger, owner(command), self.clock, self._should_stop)

    def at(self, seconds: float, happens: Callable[[], Any]) -> None:
        self.events.append((seconds, happens))

    def _should_stop(self) -> bool:
        for event in [event for event in self.events if event[0] <= self.clock.monotonic()]:
            self.events.remove(event)
            event[1]()
        return self.stopped

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def scene(now: datetime) -> Scene:
    return Scene(now)


def test_a_round_of_a_backfill_ends_and_that_of_a_run_does_not(scene: Scene) -> None:
    backfill = scene.rounds("backfill")
    for _ in range(2):
        with backfill.next() as held:
            assert held
            assert not backfill.is_over()
            scene.clock.advance(ROUND)
            assert backfill.is_over()
    run = scene.rounds("run")
    with run.next():
        scene.clock.advance(10 * ROUND)
        assert not run.is_over()


def test_a_run_waits_for_a_backfill_and_gets_its_turn(scene: Scene) -> None:
    backfill = scene.rounds("backfill").next()
    backfill.__enter__()
    scene.at(100, lambda: backfill.__exit__(None, None, None))
    with scene.rounds("run").next() as held:
        assert held
        assert 100 <= scene.clock.monotonic() <= 102


@pytest.mark.parametrize(("holder", "comer"), [("run", "run"), ("run", "backfill"), ("backfill", "backfill")])
def test_everybody_else_is_told_at_once(scene: Scene, holder: str, comer: str) -> None:
    with scene.rounds(holder).next(), pytest.raises(LeaseHeldError, match=f"{holder}-1"):
        scene.rounds(comer).next().__enter__()
    assert scene.clock.monotonic() == 0


def test_a_run_does_not_wait_for_ever(scene: Scene) -> None:
    with scene.rounds("backfill").next(), pytest.raises(LeaseHeldError, match="backfill-1"):
        scene.rounds("run").next().__enter__()
    assert PATIENCE <= scene.clock.monotonic() <= PATIENCE + 2


def test_a_backfill_goes_on_when_the_run_is_done(scene: Scene) -> None:
    backfill = scene.rounds("backfill")
    with backfill.next():
        pass
    run = scene.rounds("run").next()
    run.__enter__()
    scene.at(600, lambda: run.__exit__(None, None, None))
    with backfill.next() as held:
        assert held
        assert scene.clock.monotonic() >= 600


def test_the_lease_is_free_for_a_moment_between_rounds(scene: Scene) -> None:
    backfill = scene.rounds("backfill")
    with backfill.next():
        pass
    with backfill.next():
        assert scene.clock.monotonic() >= 5


def test_a_backfill_that_is_stopped_while_it_waits_ends_without_the_lease(scene: Scene) -> None:
    backfill = scene.rounds("backfill")
    with backfill.next():
        pass
    with scene.rounds("run").next():
        scene.at(30, scene.stop)
        with backfill.next() as held:
            assert not held


def test_a_throttled_file_comes_back_when_its_time_has_come_and_once(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    clock = ManualClock(now)
    ledger = SqliteLedger.in_memory(LedgerIdentity("p", "default", "US"), clock=clock)
    left_open = LeftOpen()
    wait = OpenPositions(Reason.THROTTLED, now + timedelta(seconds=30), {10: (1, 2)})
    settlement = FileSettlement(make_ref("a"), FileState.OPEN, Tally(accepted=8, deferred=2), (wait,))
    ledger.settle("r1", [settlement], Backlog())
    left_open.settled([settlement])
    clock.advance(29)
    assert list(left_open.ready(ledger, clock.now())) == []
    clock.advance(6)
    (due,) = left_open.ready(ledger, clock.now())
    assert (due.ref.key, due.carried, due.deferred()) == ("a", Tally(accepted=8), {Reason.THROTTLED: 2})
    clock.advance(60)
    assert list(left_open.ready(ledger, clock.now())) == []


def test_a_file_in_which_older_records_wait_is_left_to_the_next_run(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    clock = ManualClock(now)
    ledger = SqliteLedger.in_memory(LedgerIdentity("p", "default", "US"), clock=clock)
    wait = OpenPositions(Reason.DAILY_QUOTA, now + timedelta(seconds=10), {10: (1,)})
    fresh = OpenPositions(Reason.THROTTLED, now + timedelta(seconds=10), {10: (2,)})
    settlement = FileSettlement(make_ref("a"), FileState.OPEN, Tally(deferred=2), (fresh, wait))
    ledger.settle("r1", [settlement], Backlog())
    left_open = LeftOpen()
    left_open.began(Task(1, (deferred(make_ref("a"), fresh, later=(wait,)),)))
    left_open.settled([settlement])
    clock.advance(60)
    assert list(left_open.ready(ledger, clock.now())) == []


def test_files_that_other_runs_left_open_are_not_its_business(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    clock = ManualClock(now)
    ledger = SqliteLedger.in_memory(LedgerIdentity("p", "default", "US"), clock=clock)
    wait = OpenPositions(Reason.THROTTLED, now, {10: (1,)})
    ledger.settle(
        "r0", [FileSettlement(make_ref("a"), FileState.OPEN, Tally(deferred=1), (wait,))], Backlog()
    )
    left_open = LeftOpen()
    clock.advance(60)
    assert list(left_open.ready(ledger, clock.now())) == []
