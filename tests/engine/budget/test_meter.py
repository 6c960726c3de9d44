from __future__ import annotations

from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braze_etl.engine.budget import NOTE, Terms
from braze_etl.engine.meter import Meter
from braze_etl.engine.settings import BudgetSection
from braze_etl.engine.tasks import Ask, Settlement, Task
from braze_etl.errors import StateError
from braze_etl.model import Reason
from tests.engine.budget.world import OTHER, STOPPED, World, due

ENFORCED = Terms(BudgetSection(per_day=25, stop=(STOPPED,)))


def task(number: int, *kinds: str) -> Task:
    return Task(number, tuple(due(f"{number}/{place}", kind) for place, kind in enumerate(kinds)))


def settled(world: World, number: int, *kinds: str, blocks: tuple[int, ...], refused: int = 0) -> Settlement:
    settlement = world.work(task(number, *kinds), blocks, refused=refused)
    world.meter.settled([settlement])
    return settlement


def test_no_more_is_granted_than_the_bound_leaves(world: World) -> None:
    settlement = settled(world, 1, STOPPED, STOPPED, blocks=(8, 12))
    assert world.sent == 25
    assert settlement.counts.reasons == {(STOPPED, Reason.HELD): 15}
    assert settlement.held == {STOPPED: 15}
    world.meter.close()
    assert world.noted() == (25, 25)


def test_types_that_are_not_named_go_on_and_are_spent(world: World) -> None:
    settled(world, 1, STOPPED, OTHER, blocks=(20,))
    settlement = settled(world, 2, OTHER, STOPPED, blocks=(10,))
    assert settlement.counts.by_event_type[OTHER].accepted == 10
    assert settlement.counts.by_event_type[STOPPED].filtered == 10
    world.meter.close()
    assert world.noted() == (50, 50)


def test_what_was_deferred_is_given_back_and_can_be_spent(world: World) -> None:
    settled(world, 1, STOPPED, blocks=(20,), refused=12)
    settlement = settled(world, 2, STOPPED, blocks=(20,))
    assert settlement.counts.by_event_type[STOPPED].accepted == 17
    world.meter.close()
    assert world.noted() == (25, 25)


def test_a_new_day_has_a_budget_of_its_own(world: World) -> None:
    settled(world, 1, STOPPED, blocks=(30,))
    world.clock.advance(15 * 60)
    settlement = settled(world, 2, STOPPED, blocks=(20,))
    assert settlement.counts.by_event_type[STOPPED].accepted == 20
    world.meter.close()
    assert world.noted() == (45, 20)


def test_a_new_month_that_begins_in_the_middle_of_a_run_has_a_budget_of_its_own() -> None:
    world = World(Terms(BudgetSection(per_month=25, stop=(STOPPED,))))
    world.clock.advance(6 * 24 * 3600)  # the last evening of November
    world.started()
    settled(world, 1, STOPPED, blocks=(30,))
    world.clock.advance(15 * 60)
    assert settled(world, 2, STOPPED, blocks=(30,)).counts.by_event_type[STOPPED].accepted == 25
    world.meter.close()
    assert world.noted() == (25, 25)


def test_what_is_in_flight_at_midnight_counts_for_the_new_day(world: World) -> None:
    assert world.meter.answer(Ask(1, 20, stops=True)).events == 20
    world.clock.advance(15 * 60)
    assert world.meter.answer(Ask(2, 20, stops=True)).events == 5


def test_a_refusal_names_the_bound_and_when_it_ends(world: World) -> None:
    grant = world.meter.answer(Ask(1, 30, stops=True))
    assert grant.words == "budget.per_day (25 events) is used up until 2026-11-25T00:00:00Z"
    assert f"{grant.until:%Y-%m-%d %H:%M}" == "2026-11-25 00:00"


def test_far_from_the_bound_more_is_granted_than_was_asked_for() -> None:
    world = World(Terms(BudgetSection(per_day=1_000_000, stop=(STOPPED,))), workers=4)
    assert world.meter.answer(Ask(1, 20, stops=True)).events == 10_000


def test_the_next_run_goes_on_from_what_the_state_remembers(world: World) -> None:
    settled(world, 1, STOPPED, blocks=(20,))
    world.meter.close()
    world.started()
    assert settled(world, 1, STOPPED, blocks=(20,)).counts.by_event_type[STOPPED].accepted == 5


@pytest.mark.parametrize("terms", [ENFORCED, Terms(BudgetSection(per_day=25))])
def test_what_is_settled_is_on_record_before_it_is_settled(terms: Terms) -> None:
    """A crash right after `settled`, before the ledger is told, leaves the note ahead and never behind."""
    world = World(terms)
    settled(world, 1, STOPPED, OTHER, blocks=(9,))
    assert world.noted()[1] >= world.sent == 18


def test_without_a_budget_the_state_is_told_once_at_the_end() -> None:
    world = World(Terms())
    settled(world, 1, STOPPED, OTHER, blocks=(9,))
    assert world.noted() == (0, 0)
    world.meter.close()
    assert world.noted() == (18, 18)


def test_each_bound_warns_once_a_run() -> None:
    world = World(Terms(BudgetSection(per_day=10, per_month=100)))
    first = settled(world, 1, STOPPED, blocks=(8,))
    second = settled(world, 2, STOPPED, blocks=(4,))
    third = settled(world, 3, STOPPED, blocks=(4,))
    assert first.warnings == {"budget_day_warned": 1}
    assert second.warnings == {"budget_day_used_up": 1}
    assert not third.warnings


def test_a_meter_that_never_read_the_state_does_not_write_it(world: World) -> None:
    settled(world, 1, STOPPED, blocks=(20,))
    world.meter.close()
    Meter(world.ledger, world.terms, world.clock).close()
    assert world.noted() == (20, 20)


def test_one_that_is_closed_leaves_alone_what_another_run_spends_after_midnight(world: World) -> None:
    ours = world.meter
    settled(world, 1, STOPPED, blocks=(20,))
    ours.close()
    world.clock.advance(15 * 60)
    world.started()
    settled(world, 1, STOPPED, blocks=(5,))
    world.meter.close()
    ours.close()
    assert world.noted() == (25, 5)
    ours.open()
    ours.close()
    assert world.noted() == (25, 5)


def test_one_that_could_not_read_the_state_again_does_not_write_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(world, 1, STOPPED, blocks=(20,))
    world.meter.close()
    world.clock.advance(15 * 60)
    before = world.ledger.get_note(NOTE)
    monkeypatch.setattr(world.ledger, "get_note", Mock(side_effect=StateError("gone")))
    with pytest.raises(StateError):
        world.meter.open()
    monkeypatch.undo()
    world.meter.close()
    assert world.ledger.get_note(NOTE) == before


@settings(max_examples=150, deadline=None)
@given(data=st.data(), limit=st.integers(1, 60), workers=st.integers(1, 4), per_month=st.booleans())
def test_named_types_never_exceed_the_bound_whatever_the_workers_do(
    data: st.DataObject, limit: int, workers: int, *, per_month: bool
) -> None:
    """Workers take turns block by block, tasks settle or die; the state is never behind what was sent."""
    month, day = (limit, None) if per_month else (None, limit)
    world = World(Terms(BudgetSection(per_month=month, per_day=day, stop=(STOPPED,))), workers=workers)
    blocks = st.lists(st.integers(0, 12), min_size=1, max_size=4)
    tasks = [task(number, STOPPED, STOPPED) for number in range(workers * 2)]
    at_work = [world.working(each, data.draw(blocks), refused=data.draw(st.integers(0, 2))) for each in tasks]
    while at_work:
        one = data.draw(st.sampled_from(at_work))
        step = next(one)
        died = data.draw(st.integers(0, 20)) == 0
        if step is not None and not died:
            world.meter.settled([step])
        if step is not None or died:
            at_work.remove(one)
        assert world.sent <= limit
        assert world.noted()[1] >= world.sent
