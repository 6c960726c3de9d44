from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from braze_etl.clock import ManualClock, SystemClock, iso
from braze_etl.engine import tasks
from braze_etl.engine.due import BacklogTally
from braze_etl.engine.exits import Stop
from braze_etl.errors import StateError
from braze_etl.flows.currents_to_amplitude import status as module
from braze_etl.flows.currents_to_amplitude.flow import Request, open_run
from braze_etl.flows.currents_to_amplitude.settings import Settings, load_config
from braze_etl.flows.currents_to_amplitude.status import pipeline_status
from braze_etl.flows.pipeline import open_quarantine
from braze_etl.model import (
    FileRef,
    FileSettlement,
    FileState,
    OpenPositions,
    Position,
    Reason,
    SetAside,
    Tally,
)
from braze_etl.state.ledger import Ledger, RunRecord
from braze_etl.state.opening import open_ledger
from braze_etl.state.sqlite import SqliteLedger
from tests.workplace import Workplace

OPEN = "users.messages.email.Open"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "export").mkdir()
    return Settings.model_validate({"source": {"uri": "export"}, "amplitude": {"region": "US"}})


@pytest.fixture
def clock(now: datetime) -> ManualClock:
    return ManualClock(now)


@pytest.fixture
def ledger(settings: Settings, clock: ManualClock) -> Ledger:
    return open_ledger(settings.state.uri, settings.identity, clock=clock)


def look(settings: Settings, clock: ManualClock, *, refresh: bool = False) -> dict[str, Any]:
    return pipeline_status(settings, clock, refresh=refresh).as_dict()


def listed(ledger: Ledger, now: datetime, *refs: FileRef) -> None:
    tally = BacklogTally()
    for ref in refs:
        tally.discovered(ref)
    ledger.record_listing(now, tally.backlog(), 7, complete=True)


def test_without_a_ledger_all_keys_are_there_and_nothing_is_made(
    settings: Settings, clock: ManualClock, tmp_path: Path
) -> None:
    facts = look(settings, clock)
    assert facts["exit_code"] == 5
    assert (facts["last_delivery"], facts["last_delivery_age_hours"], facts["lease"]) == (None, None, None)
    assert facts["backlog"]["files"] == 0
    assert facts["forecast"]["in_time"] is True
    assert (facts["deferred_by_reason"], facts["quarantined_by_reason"]) == ({}, {})
    assert not (tmp_path / "state").exists()


def test_the_backlog_is_told_by_type_and_by_age(
    settings: Settings, clock: ManualClock, ledger: Ledger, now: datetime, make_ref: Callable[..., FileRef]
) -> None:
    old = make_ref("a", hours_ago=30, size=3000 + 350 * 10)
    new = make_ref("b", hours_ago=2, size=3000 + 350 * 30, kind="Click")
    listed(ledger, now, old, new)
    backlog = look(settings, clock)["backlog"]
    assert (backlog["files"], backlog["bytes"], backlog["estimated_events"]) == (2, 20_000, 40)
    assert backlog["by_event_type"][OPEN] == {"files": 1, "bytes": 6_500, "estimated_events": 10}
    assert {age: line["files"] for age, line in backlog["by_age"].items()} == {
        "under_6h": 1,
        "6h_to_24h": 0,
        "24h_to_48h": 1,
        "over_48h": 0,
    }
    assert sum(line["estimated_events"] for line in backlog["by_age"].values()) == 40
    clock.advance(24 * 3600)
    assert look(settings, clock)["backlog"]["by_age"]["over_48h"]["files"] == 1


def test_last_runs_give_the_rate_of_the_forecast(
    settings: Settings, clock: ManualClock, ledger: Ledger, now: datetime, make_ref: Callable[..., FileRef]
) -> None:
    listed(ledger, now, make_ref("a", hours_ago=47, size=3_600_000_000))
    report = {
        "command": "run",
        "started_at": iso(now),
        "exit_code": 4,
        "seconds": 100.0,
        "bytes_read": {OPEN: 50_000_000},
        "by_event_type": {OPEN: {"read": 100_000}},
        "events": {"accepted": 100_000},
        "files": {"done": 9, "remaining": 1},
    }
    ledger.finish_run(RunRecord("r1", "run", now, now + timedelta(seconds=100), 4, report))
    facts = look(settings, clock)
    assert facts["forecast"]["bytes_per_second"] == 500_000
    assert (facts["forecast"]["hours_needed"], facts["forecast"]["hours_left"]) == (2.0, 0.5)
    assert facts["forecast"]["in_time"] is False
    assert facts["backlog"]["estimated_events"] == 7_200_000
    (run,) = facts["runs"]
    assert (run["seconds"], run["exit_code"], run["files"]["remaining"]) == (100.0, 4, 1)


def test_what_is_late_by_forecast_only_is_no_risk_yet(
    settings: Settings, clock: ManualClock, ledger: Ledger, now: datetime, make_ref: Callable[..., FileRef]
) -> None:
    listed(ledger, now, make_ref("a", hours_ago=3, size=10**12))
    report = {"command": "run", "started_at": iso(now), "exit_code": 4, "seconds": 100.0}
    report |= {"bytes_read": {OPEN: 1000}, "by_event_type": {OPEN: {"read": 10}}}
    ledger.finish_run(RunRecord("r1", "run", now, now, 4, report))
    facts = look(settings, clock)
    assert facts["forecast"]["in_time"] is False
    assert facts["exit_code"] == 0


def test_deferred_records_come_with_their_earliest_time(
    settings: Settings, clock: ManualClock, ledger: Ledger, now: datetime, make_ref: Callable[..., FileRef]
) -> None:
    soon, later = now + timedelta(minutes=1), now + timedelta(hours=9)
    for name, reason, when in (
        ("a", Reason.THROTTLED, later),
        ("b", Reason.THROTTLED, soon),
        ("c", Reason.DAILY_QUOTA, later),
    ):
        part = OpenPositions(reason, when, {0: (1, 2)})
        ledger.settle("r", [FileSettlement(make_ref(name), FileState.OPEN, Tally(deferred=2), (part,))], None)
    facts = look(settings, clock)
    assert facts["deferred"] == 6
    assert facts["deferred_by_reason"] == {
        "daily_quota": {"records": 2, "earliest": iso(later)},
        "throttled": {"records": 4, "earliest": iso(soon)},
    }


def test_with_too_many_open_files_the_earliest_time_is_left_open(
    settings: Settings,
    clock: ManualClock,
    ledger: Ledger,
    make_ref: Callable[..., FileRef],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_OPEN_FILES_READ", 1)
    part = OpenPositions(Reason.THROTTLED, clock.now(), {0: (1,)})
    for name in "ab":
        ledger.settle("r", [FileSettlement(make_ref(name), FileState.OPEN, Tally(deferred=1), (part,))], None)
    assert look(settings, clock)["deferred_by_reason"] == {"throttled": {"records": 2, "earliest": None}}


def test_the_quarantine_is_told_by_reason_while_that_is_cheap(
    settings: Settings, clock: ManualClock, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = [Reason.REJECTED, Reason.REJECTED, Reason.TOO_LARGE]
    entries = [
        SetAside(Position("key", "etag", 0, number), OPEN, reason) for number, reason in enumerate(reasons)
    ]
    open_quarantine(settings).file("r", now, entries)
    facts = look(settings, clock)
    assert (facts["quarantined"], facts["quarantined_by_reason"]) == (3, {"rejected": 2, "too_large": 1})
    monkeypatch.setattr(module, "_ENTRIES_READ", 2)
    facts = look(settings, clock)
    assert (facts["quarantined"], facts["quarantined_by_reason"]) == (3, None)


def test_event_types_that_the_mapping_does_not_list_are_told(
    settings: Settings, clock: ManualClock, ledger: Ledger, now: datetime, make_ref: Callable[..., FileRef]
) -> None:
    listed(ledger, now, make_ref("a"), make_ref("b", kind="Teleport"))
    report = {"by_event_type": {OPEN: {"read": 5}, "users.behaviors.Nap": {"read": 7}}}
    ledger.finish_run(RunRecord("r1", "run", now, now, 0, report))
    unknown = {"users.behaviors.Nap": 7, "users.messages.email.Teleport": 0}
    assert look(settings, clock)["drift"]["unknown_event_types"] == unknown


def test_a_refresh_shows_what_lies_in_the_source_now_and_writes_nothing(
    settings: Settings, clock: ManualClock, ledger: Ledger, now: datetime, tmp_path: Path
) -> None:
    listed(ledger, now - timedelta(hours=2))
    before = (tmp_path / "state/braze-etl.db").read_bytes()
    folder = f"dataexport.prod-01.S3.integration.ab/event_type={OPEN}/date=2026-10-03-05/version=12/us-01"
    (tmp_path / "export" / folder).mkdir(parents=True)
    name = "dataexport.prod-01.S3.integration.ab+0+1.avro"
    (tmp_path / "export" / folder / name).write_bytes(b"x" * 5000)
    assert look(settings, clock)["backlog"]["files"] == 0
    fresh = look(settings, clock, refresh=True)
    assert (fresh["backlog"]["files"], fresh["backlog"]["listed_now"]) == (1, True)
    assert fresh["window"]["oldest_undelivered"] == "2026-10-03T05:00:00Z"
    assert fresh["last_listing"] == iso(now - timedelta(hours=2))
    assert (tmp_path / "state/braze-etl.db").read_bytes() == before


@pytest.mark.parametrize("stored", [0, 1, 3])
def test_a_run_that_could_not_store_reports_what_status_says_afterwards(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, stored: int
) -> None:
    workplace.export(events=400, hours=4, duplicates=0)
    workplace.configure(workers=1, window={"objective": "3650d"})
    monkeypatch.chdir(workplace.folder)
    monkeypatch.setattr(tasks, "MAX_FILES", 12)
    settle, calls = SqliteLedger.settle, itertools.count()

    def fills_up(*arguments: Any) -> None:
        if next(calls) >= stored:
            raise StateError("disk full", remedy="Make room.")
        settle(*arguments)

    monkeypatch.setattr(SqliteLedger, "settle", fills_up)
    config, clock = load_config(workplace.folder / "config.yaml"), SystemClock()
    with open_run(config, Request("run", covers_all=True), clock, Stop(), run_id="r1") as run:
        report = run.run()
    facts, found = report.as_dict(), pipeline_status(config.settings, clock)
    assert (report.exit_code, report.done > 0, report.remaining > 0) == (1, stored > 0, True)
    assert (
        facts["window"]["oldest_undelivered"] == found.as_dict()["window"]["oldest_undelivered"] is not None
    )
    assert facts["window"]["hours_left"] == pytest.approx(found.as_dict()["window"]["hours_left"], abs=0.03)
    assert facts["forecast"]["bytes_left"] == found.backlog.bytes
