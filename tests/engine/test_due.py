from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from braze_etl.clock import ManualClock
from braze_etl.engine.due import DueFile, open_files
from braze_etl.engine.worklists.listed import DueFiles, by_hour
from braze_etl.model import FileRef, FileSettlement, FileState, OpenPositions, Reason, Tally
from braze_etl.state.ledger import Backlog, LedgerIdentity, OpenFile
from braze_etl.state.sqlite import SqliteLedger
from tests.engine.due_files import changed, deferred


@pytest.fixture
def clock(now: datetime) -> ManualClock:
    return ManualClock(now)


@pytest.fixture
def ledger(clock: ManualClock) -> SqliteLedger:
    return SqliteLedger.in_memory(LedgerIdentity("p", "default", "US"), clock=clock)


def settle(ledger: SqliteLedger, ref: FileRef, state: FileState, *, accepted: int = 1) -> None:
    tally = Tally(accepted=accepted, quarantined=1 - accepted)
    ledger.settle("r1", [FileSettlement(ref, state, tally)], Backlog())


def due_keys(ledger: SqliteLedger, *refs: FileRef, now: datetime, resend: bool = False) -> list[str]:
    return [due.ref.key for due in DueFiles(refs, ledger, now=now, resend=resend)]


def test_what_the_ledger_does_not_know_is_due_whatever_its_age(
    ledger: SqliteLedger, make_ref: Callable[..., FileRef], now: datetime
) -> None:
    assert due_keys(ledger, make_ref("old", hours_ago=10_000), make_ref("new"), now=now) == ["old", "new"]


@pytest.mark.parametrize("state", [FileState.DONE, FileState.FAILED])
def test_what_is_settled_is_not_due_unless_resent(
    ledger: SqliteLedger, make_ref: Callable[..., FileRef], now: datetime, state: FileState
) -> None:
    settle(ledger, make_ref("a"), state)
    assert due_keys(ledger, make_ref("a"), now=now) == []
    assert due_keys(ledger, make_ref("a"), now=now, resend=True) == ["a"]


def test_a_changed_file_is_read_again_while_amplitude_still_knows_its_ids(
    ledger: SqliteLedger, clock: ManualClock, make_ref: Callable[..., FileRef]
) -> None:
    settle(ledger, make_ref("a"), FileState.DONE)
    changed = make_ref("a", etag="e2")
    clock.advance(timedelta(days=7).total_seconds() - 1)
    assert due_keys(ledger, changed, now=clock.now()) == ["a"]
    clock.advance(1)
    files = DueFiles([changed], ledger, now=clock.now())
    assert list(files) == []
    assert files.changed == 1


def test_a_failed_file_is_read_again_whenever_it_changes_unless_parts_of_it_would_count_twice(
    ledger: SqliteLedger, clock: ManualClock, make_ref: Callable[..., FileRef]
) -> None:
    settle(ledger, make_ref("a"), FileState.FAILED, accepted=0)
    settle(ledger, make_ref("b"), FileState.FAILED, accepted=1)
    clock.advance(timedelta(days=6).total_seconds())
    changed = [make_ref(key, etag="e2") for key in "ab"]
    assert due_keys(ledger, *changed, now=clock.now()) == ["a", "b"]
    clock.advance(timedelta(days=400).total_seconds())
    assert due_keys(ledger, *changed, now=clock.now()) == ["a"]


def test_open_positions_are_due_when_their_time_has_come(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    early = OpenPositions(Reason.THROTTLED, now, {10: (1,)})
    late = OpenPositions(Reason.DAILY_QUOTA, now + timedelta(seconds=1), {10: (2, 3)})
    (due,) = open_files([OpenFile(make_ref("a"), Tally(accepted=4, deferred=3), (early, late))], now=now)
    assert due == deferred(make_ref("a"), early, later=(late,), carried=Tally(accepted=4))
    assert due.by_block() == {10: frozenset({1})}
    (waiting,) = open_files([OpenFile(make_ref("a"), Tally(deferred=2), (late,))], now=now)
    assert not waiting.ready


def test_the_oldest_hour_comes_first_and_a_changed_open_file_comes_whole(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    part = OpenPositions(Reason.THROTTLED, now, {10: (1,)})
    listed = [DueFile(make_ref("b", hours_ago=5)), DueFile(make_ref("a", hours_ago=2, etag="e2"))]
    left_open = [deferred(make_ref("c", hours_ago=9), part), deferred(make_ref("a", hours_ago=2), part)]
    merged = list(by_hour(listed, left_open))
    assert [(due.ref.key, due.whole) for due in merged] == [("c", False), ("b", True), ("a", True)]
    assert merged[-1].ref.etag == "e2"


def test_a_due_file_reaches_a_worker_with_all_that_it_says(make_ref: Callable[..., FileRef]) -> None:
    plain = DueFile(make_ref("a"))
    told = changed(make_ref("a"), {9: (1, 2)}, held_from=(9, 1), mapping="bb", mapping_if_held="aa,bb")
    for due in (plain, told):
        assert pickle.loads(pickle.dumps(due)) == due
    assert len(pickle.dumps(plain)) < len(pickle.dumps(told))
    assert told.by_block() == {9: frozenset({1, 2})}


def test_open_files_carry_by_what_they_were_judged(make_ref: Callable[..., FileRef], now: datetime) -> None:
    part = OpenPositions(Reason.THROTTLED, now, {9: (1,)})
    file = OpenFile(make_ref("a"), Tally(deferred=1), (part,), "aa", (9, 2))
    (due,) = open_files([file], now=now)
    assert (due.mapping, due.held_from) == ("aa", (9, 2))
