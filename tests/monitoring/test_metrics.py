from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import generate_latest

from braze_etl.delivery.batches import RequestCounts
from braze_etl.engine.forecast import Window
from braze_etl.engine.report import RunReport
from braze_etl.errors import KeyRefusedError
from braze_etl.model import Reason, Tally
from braze_etl.monitoring.exposition import exposition
from braze_etl.monitoring.metrics import METRICS, Facts, samples_of
from braze_etl.monitoring.totals import Totals
from braze_etl.state.ledger import Backlog, LedgerSummary
from tests.monitoring.verified import note

OPEN = "users.messages.email.Open"


def facts(now: datetime, **changes: Any) -> Facts:
    report = RunReport("r1", "p", "run", now, finished_at=now, exit_code=0, seconds=2.0)
    report.counts.by_event_type = {OPEN: Tally(accepted=5, quarantined=2)}
    report.counts.reasons = Counter({(OPEN, Reason.REJECTED): 2})
    report.window = Window(timedelta(hours=48), timedelta(hours=24), now - timedelta(hours=3), now)
    report.requests = RequestCounts(sent=1, by_status=Counter({"200": 1}))
    report.in_flight_limits = {101: 4, 102: 3}
    for name, value in changes.items():
        setattr(report, name, value)
    totals = Totals()
    totals.add(report)
    backlog = Backlog(7, 7000, {}, now - timedelta(hours=3))
    summary = LedgerSummary(now, now, backlog, 0, {Reason.THROTTLED: 4}, {}, 3)
    return Facts(report, totals, summary, 2)


def exposed(found: Facts) -> str:
    return generate_latest(exposition(METRICS, samples_of(found), pipeline="eu")).decode()


def test_a_run_becomes_the_samples_that_operators_ask_for(now: datetime) -> None:
    text = exposed(facts(now))
    for line in (
        f'braze_etl_records_total{{event_type="{OPEN}",outcome="accepted",pipeline="eu",reason=""}} 5.0',
        'outcome="quarantined",pipeline="eu",reason="rejected"} 2.0',
        'braze_etl_requests_total{pipeline="eu",status="200"} 1.0',
        'braze_etl_runs_total{command="run",exit_code="0",pipeline="eu"} 1.0',
        'braze_etl_backlog_files{pipeline="eu"} 7.0',
        'braze_etl_deferred_records{pipeline="eu",reason="throttled"} 4.0',
        'braze_etl_deferred_records{pipeline="eu",reason="failing"} 0.0',
        'braze_etl_quarantine_entries{pipeline="eu"} 2.0',
        'braze_etl_in_flight_limit{pipeline="eu"} 7.0',
        'braze_etl_last_run_exit_code{command="run",pipeline="eu"} 0.0',
        'braze_etl_window_left_seconds{pipeline="eu"} 162000.0',
    ):
        assert line in text
    assert "braze_etl_budget" not in text
    assert "braze_etl_last_run_error{" not in text


def test_deadlines_are_points_in_time_so_that_they_pass_without_the_job(now: datetime) -> None:
    samples = samples_of(facts(now))
    oldest = now - timedelta(hours=3)
    assert samples["braze_etl_backlog_oldest_timestamp_seconds"] == {(): oldest.timestamp()}
    assert samples["braze_etl_window_warn_timestamp_seconds"] == {
        (): (oldest + timedelta(hours=24)).timestamp()
    }
    assert samples["braze_etl_window_deadline_timestamp_seconds"] == {
        (): (oldest + timedelta(hours=48)).timestamp()
    }


def test_a_refused_key_is_told_from_other_failures(now: datetime) -> None:
    found = samples_of(facts(now, error=KeyRefusedError("refused"), exit_code=1))
    assert found["braze_etl_last_run_error"] == {("run", "KeyRefusedError"): 1}
    assert found["braze_etl_last_success_timestamp_seconds"] == {}


def test_a_quarantine_that_can_not_be_read_has_no_depth(now: datetime) -> None:
    found = facts(now)
    samples = samples_of(Facts(found.report, found.totals, found.summary, None))
    assert "braze_etl_quarantine_entries" not in samples


@pytest.mark.parametrize(("repaired", "missing"), [(0, 25.0), (20, 5.0), (25, 0.0)])
def test_the_newest_verification_is_exposed_less_what_it_repaired(
    now: datetime, repaired: int, missing: float
) -> None:
    assert "braze_etl_verify" not in exposed(facts(now))
    text = exposed(replace(facts(now), verification=note(25, repaired=repaired)))
    assert f'braze_etl_verify_missing_events{{pipeline="eu"}} {missing}' in text
    assert 'braze_etl_verify_expected_events{pipeline="eu"} 1000.0' in text
    ended = text.partition('braze_etl_verify_timestamp_seconds{pipeline="eu"} ')[2].partition("\n")[0]
    assert float(ended) == datetime(2026, 10, 3, 4, 18, tzinfo=UTC).timestamp()


def test_names_are_unique_and_every_metric_says_what_it_is() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    for metric in METRICS:
        assert metric.help.endswith(".")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert "pipeline" not in metric.labels


def test_the_names_follow_the_convention(now: datetime) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        print("skipped: promtool is not here (Debian package prometheus); metric names were not checked")
        pytest.skip("promtool is not here (Debian package prometheus)")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=exposed(facts(now)), capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
