"""What a listing of the source tells when it pauses, and what comes to light after it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial

import pytest

from braze_etl.clock import ManualClock
from braze_etl.engine.worklists import listed
from braze_etl.engine.worklists.listed import Listed, Reconcile
from braze_etl.logs import configure_logging
from braze_etl.model import FileRef, FileSettlement, FileState, Tally
from braze_etl.state.ledger import LedgerIdentity
from braze_etl.state.sqlite import SqliteLedger
from tests.engine.due_files import FixedListing


@pytest.fixture
def clock(now: datetime) -> ManualClock:
    return ManualClock(now)


@pytest.fixture
def ledger(clock: ManualClock) -> SqliteLedger:
    return SqliteLedger.in_memory(LedgerIdentity("p", "default", "US"), clock=clock)


def never() -> bool:
    return False


def test_a_quiet_source_is_told_once_though_the_run_pauses_when_all_is_found(
    ledger: SqliteLedger, now: datetime, make_ref: Callable[..., FileRef]
) -> None:
    log, work = io.StringIO(), Listed(lambda: FixedListing([make_ref("old", hours_ago=30)]))
    configure_logging("json", log)
    given = [due.ref.key for _ in range(2) for due in work.find(ledger, now, never)]
    configure_logging("text")
    assert given == ["old"]
    assert log.getvalue().count("the source is quiet") == 1


def test_a_pause_and_a_stop_hide_no_late_file(
    ledger: SqliteLedger,
    clock: ManualClock,
    make_ref: Callable[..., FileRef],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The listing pauses behind each of its files; the sweep is stopped behind its first."""
    monkeypatch.setattr(listed, "_CHUNK", 1)
    now = clock.now()
    late = [make_ref("late-1", hours_ago=40), make_ref("late-2", hours_ago=39)]
    new = [make_ref("new-1", hours_ago=2), make_ref("new-2", hours_ago=1)]

    def hours(since: datetime, until: datetime) -> Iterable[FileRef]:
        return [ref for ref in late if since <= ref.hour < until]

    def work() -> Listed:
        pace = {"every": timedelta(hours=6), "budget": timedelta(hours=1)}
        listing = FixedListing(new, since=new[0].hour)
        return Listed(lambda: listing, sweep=Reconcile(ledger, hours, clock, **pace))

    def settle(keys: list[FileRef]) -> None:
        ledger.settle("r1", [FileSettlement(ref, FileState.DONE, Tally(accepted=1)) for ref in keys], None)

    first, found = work(), list[FileRef]()
    for _ in range(3):
        found += [due.ref for due in first.find(ledger, now, partial(next, iter([False]), True))]
    assert found == new
    stops = iter([False, True])
    found = [due.ref for due in first.later(ledger, now, lambda: next(stops))]
    assert (found, first.found().warnings["late_files"]) == (late[:1], 1)
    settle(new + found)
    first.finish(in_order=True)

    second = work()
    assert list(second.find(ledger, now, never)) == []
    assert [due.ref for due in second.later(ledger, now, never)] == late[1:]
