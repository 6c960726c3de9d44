from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from braze_etl.clock import ManualClock
from braze_etl.commands.doctor.check import Finding
from braze_etl.commands.doctor.site import Site
from braze_etl.flows.pipeline import open_quarantine, open_state
from braze_etl.model import FileRef, Position, Reason, SetAside
from braze_etl.state.ledger import Backlog, BacklogLine, LeaseOwner, Ledger, RunRecord
from tests.commands.doctor.conftest import MakeSite, look

NOW = datetime(2026, 10, 3, 12, tzinfo=UTC)


@contextmanager
def ledger_of(site: Site) -> Iterator[Ledger]:
    with closing(open_state(site.settings, site.clock)) as ledger:
        ledger.begin_run(run(0))
        yield ledger


def run(number: int, **report: Any) -> RunRecord:
    started = NOW - timedelta(hours=5) + timedelta(minutes=10 * number)
    return RunRecord(f"run-{number}", "run", started, started, 0, report)


def found(site: Site, name: str) -> Finding:
    return look(site, "state.ledger", name)


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site(clock=ManualClock(NOW))


def test_no_ledger_is_fine_where_one_may_be_made(make_site: MakeSite, site: Site) -> None:
    assert look(site, "state.ledger").status == "ok"
    never = look(make_site(state={"create": "never"}), "state.ledger")
    assert (never.status, "first run" in never.remedy) == ("fail", True), "every run would be refused"
    assert found(site, "state.lease").status == "skipped"
    assert found(site, "schedule").status == "ok"


def test_a_ledger_of_ours_tells_its_start(site: Site) -> None:
    with ledger_of(site):
        pass
    assert "2026-10-01T00:00:00Z" in look(site, "state.ledger").seen


def test_the_ledger_of_another_project_fails(make_site: MakeSite, site: Site) -> None:
    with ledger_of(site):
        pass
    other = look(make_site(amplitude={"project": "other"}), "state.ledger")
    assert (other.status, "belongs to project" in other.seen) == ("fail", True)


def test_a_free_lease_is_fine_and_a_holder_is_named(site: Site) -> None:
    with ledger_of(site) as ledger:
        with ledger.lease(LeaseOwner("run-9", socket.gethostname(), os.getpid(), "run")):
            held = found(site, "state.lease")
            assert (held.status, "run-9" in held.seen) == ("ok", True)
            del site.ledger
            site.clock.wait(13 * 3600)
            assert found(site, "state.lease").status == "warn"
        del site.ledger
        assert found(site, "state.lease").seen == "free"


@pytest.mark.parametrize(("hours", "status"), [(1, "ok"), (30, "warn"), (50, "fail")])
def test_a_job_that_no_longer_runs_is_told(site: Site, hours: int, status: str) -> None:
    with ledger_of(site) as ledger:
        for number in range(1, 4):
            ledger.begin_run(run(number))
        ledger.record_listing(NOW - timedelta(hours=hours), Backlog(), complete=True)
    seen = found(site, "schedule")
    assert seen.status == status
    assert "every 10 minutes" in seen.seen


@pytest.mark.parametrize(("hours", "status"), [(1, "ok"), (30, "warn")])
def test_a_backlog_that_is_old_is_told(site: Site, hours: int, status: str) -> None:
    oldest = NOW - timedelta(hours=hours)
    backlog = Backlog(7, 70, {"users.messages.email.Open": BacklogLine(7, 70)}, oldest)
    with ledger_of(site) as ledger:
        ledger.record_listing(NOW, backlog, complete=True)
    seen = found(site, "backlog")
    assert (seen.status, seen.seen.startswith("7 files wait")) == (status, True)


def test_nothing_left_is_fine(site: Site) -> None:
    assert found(site, "backlog").status == "ok"


def test_a_budget_that_is_nearly_spent_is_told(make_site: MakeSite) -> None:
    site = make_site(clock=ManualClock(NOW), budget={"per_month": 100})
    with ledger_of(site) as ledger:
        pass
    assert found(site, "budget").status == "ok"
    del site.ledger
    with ledger_of(site) as ledger:
        ledger.put_note(
            "budget", {"month": "2026-10", "month_events": 90, "day": "2026-10-03", "day_events": 90}
        )
    assert found(site, "budget").status == "warn"
    assert found(make_site(), "budget").status == "skipped"


def test_throttling_is_told(site: Site) -> None:
    assert found(site, "throttling").status == "ok"
    del site.ledger
    with ledger_of(site) as ledger:
        ledger.begin_run(run(1))
        ledger.finish_run(run(1, requests={"throttled": 12}))
    seen = found(site, "throttling")
    assert (seen.status, seen.seen.startswith("12 throttled")) == ("warn", True)


def test_entries_of_the_quarantine_are_told(site: Site) -> None:
    assert look(site, "quarantine.entries").status == "ok"
    ref = FileRef("a.avro", "e", 1, NOW, "users.messages.email.Open", NOW)
    aside = SetAside(Position(ref.key, ref.etag, 0, None), ref.event_type, Reason.UNREADABLE_FILE)
    open_quarantine(site.settings).file("run-1", NOW, [aside])
    seen = look(site, "quarantine.entries")
    assert (seen.status, seen.seen) == ("warn", "1 entries")
