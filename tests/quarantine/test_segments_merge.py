from __future__ import annotations

from datetime import timedelta

import pytest

from braze_etl.errors import StoreError
from braze_etl.quarantine.quarantine import Quarantine
from tests.quarantine.conftest import NOON, PREFIX, FakeStore, aside


@pytest.fixture
def filed_singly(store: FakeStore) -> FakeStore:
    """Forty runs on each of two days set one record aside each; three runs of a third day did."""
    for number in range(83):
        at = NOON + timedelta(days=number // 40)
        quarantine = Quarantine(store, PREFIX)
        quarantine._filed = set()  # a run that need not read what is there
        quarantine.file(f"run-{number}", at, [aside(number)])
    assert len(store.objects) == 83
    return store


def test_the_next_run_merges_the_small_segments_of_a_day(filed_singly: FakeStore) -> None:
    before = list(Quarantine(filed_singly, PREFIX).entries())
    quarantine = Quarantine(filed_singly, PREFIX)
    assert quarantine.file("run-x", NOON + timedelta(days=9), [aside(0)]) == 0
    assert len(filed_singly.objects) == 2 + 3
    assert sorted(quarantine.entries(), key=lambda each: each.id) == sorted(before, key=lambda each: each.id)
    assert quarantine.depth() == 83


@pytest.mark.parametrize("writes", range(4))
def test_a_merge_that_broke_off_loses_nothing_and_is_finished_by_the_next(
    filed_singly: FakeStore, writes: int
) -> None:
    filed_singly.breaks_after = writes
    with pytest.raises(StoreError):
        Quarantine(filed_singly, PREFIX).file("run-x", NOON, [aside(99)])
    assert len(list(Quarantine(filed_singly, PREFIX).entries())) == 83
    filed_singly.breaks_after = 100
    quarantine = Quarantine(filed_singly, PREFIX)
    assert quarantine.file("run-x", NOON, [aside(99)]) == 1
    assert quarantine.depth() == len(list(quarantine.entries())) == 84
