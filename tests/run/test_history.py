"""Run reports, summed up for `report`."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from braze_etl.checkpoint import RunRecord
from braze_etl.run.showing.history import OTHERS, History
from tests.report.past import NOW, books, busy_past, report, run

OPEN, PURCHASE = "users.messages.email.Open", "users.behaviors.Purchase"
HOUR = timedelta(hours=1)


def summed(runs: Sequence[RunRecord], days: int = 30) -> dict[str, Any]:
    """The history of these runs, given the oldest first."""
    return History.of(runs[::-1], NOW, days, 48 * HOUR).as_dict()


def test_every_record_counts_once_by_its_outcome() -> None:
    told = summed(
        [
            run(NOW - 2 * HOUR, report(NOW - 2 * HOUR, {OPEN: books(90, 5, 5, 50)})),
            run(NOW - HOUR, report(NOW - HOUR, {OPEN: books(50), PURCHASE: books(1, 2, 3)})),
        ]
    )
    assert told["outcomes"] == {"accepted": 141, "filtered": 7, "quarantined": 8}
    assert told["by_event_type"][PURCHASE] == {"accepted": 1, "filtered": 2, "quarantined": 3}
    assert list(told["by_event_type"]) == [OPEN, PURCHASE]


def test_what_a_replay_delivers_is_told_apart() -> None:
    first = run(NOW - 2 * HOUR, report(NOW - 2 * HOUR, {OPEN: books(90, 0, 10)}, reasons={"rejected": 10}))
    again = run(
        NOW - HOUR, report(NOW - HOUR, {OPEN: books(7, 0, 3)}, reasons={"rejected": 3}), "quarantine replay"
    )
    told = summed([first, again])
    assert told["outcomes"] == {"accepted": 90, "filtered": 0, "quarantined": 10}
    assert told["replayed"] == 7
    assert told["reasons"]["quarantined"] == {"rejected": 10}
    assert sum(each["accepted"][OPEN] for each in told["delivered"]["buckets"]) == 97


def test_reasons_stand_with_their_outcome_the_most_frequent_first() -> None:
    reasons = {"rejected": 2, "no_identity": 7, "redacted_identity": 9, "throttled": 4, "a_later_rule": 1}
    told = summed([run(NOW - HOUR, report(NOW - HOUR, {OPEN: books(1, 8, 11, 4)}, reasons=reasons))])
    assert list(told["reasons"]["quarantined"].items()) == [("redacted_identity", 9), ("rejected", 2)]
    assert told["reasons"]["filtered"] == {"no_identity": 7, "a_later_rule": 1}
    assert set(told["reasons"]) == {"filtered", "quarantined"}


def test_only_the_days_asked_for_count_and_the_period_begins_with_the_first_run() -> None:
    runs = [
        run(NOW - timedelta(days=days), report(NOW - timedelta(days=days), {OPEN: books(1)}))
        for days in (9, 6, 1)
    ]
    told = summed(runs, days=7)
    assert told["period"]["runs"] == 2
    assert told["outcomes"]["accepted"] == 2
    assert told["period"]["since"] == "2026-11-18T12:30:00Z"
    assert told["delivered"]["hours"] == 2


def test_small_event_types_are_summed_up_so_that_nothing_is_missing() -> None:
    lines = {f"type.{number:02}": books(100 - number, 1) for number in range(40)}
    told = summed([run(NOW - HOUR, report(NOW - HOUR, lines))])
    assert len(told["by_event_type"]) == 13
    assert sum(each["accepted"] for each in told["by_event_type"].values()) == told["outcomes"]["accepted"]
    assert told["delivered"]["event_types"] == [*(f"type.{number:02}" for number in range(7)), OTHERS]
    assert sum(sum(each["accepted"].values()) for each in told["delivered"]["buckets"]) == 3220


def test_the_age_of_the_backlog_is_measured_against_the_objective() -> None:
    told = summed([run(NOW - HOUR, report(NOW - HOUR, {}, age=50.0, left=3, seconds=60))])
    assert told["backlog"] == [{"at": "2026-11-24T11:31:00Z", "hours": 50.0, "files": 3, "bytes": 450_000}]
    assert told["latency"] == []


def test_of_many_runs_the_worst_of_each_stretch_is_kept() -> None:
    runs = list(busy_past(1_500, timedelta(minutes=20)))
    told = summed(runs)
    assert len(told["backlog"]) <= 240
    assert max(each["hours"] for each in told["backlog"]) == round(
        max(48 - each.report["window"]["hours_left"] for each in runs), 2
    )
    assert len(told["latency"]) <= 240


def test_runs_that_were_killed_or_failed_early_count_as_what_they_are() -> None:
    killed = RunRecord("r1", "run", NOW - 2 * HOUR)
    refused = run(NOW - HOUR, {**report(NOW - HOUR, {}, exit_code=1), "window": None, "forecast": None})
    told = summed([killed, refused])
    assert told["exit_codes"] == {"1": 1, "none": 1}
    assert told["runs"][1]["exit_code"] is None
    assert told["runs"][1]["accepted"] is None
    assert told["backlog"] == []


def test_the_reports_of_older_releases_are_read_as_far_as_they_go() -> None:
    old = report(NOW - HOUR, {OPEN: books(3)})
    for name in ("latency", "forecast", "bytes_read", "reasons"):
        del old[name]
    told = summed([run(NOW - HOUR, old)])
    assert told["outcomes"]["accepted"] == 3
    assert told["backlog"][0]["bytes"] is None


def test_drift_and_budget_are_the_last_that_was_told_of_them() -> None:
    first, second = (
        {"unknown_event_types": {"a.B": {"records": records, "outcome": "held", "name": "B"}}}
        for records in (3, 5)
    )
    at = NOW - 2 * HOUR
    told = summed(
        [
            run(at, report(at, {}, drift=first, budget={"month": {"spent": 1}})),
            run(at + HOUR, report(at + HOUR, {}, drift=second, budget={"month": {"spent": 2}})),
            run(at + HOUR, report(at + HOUR, {})),
        ]
    )
    assert told["drift"]["unknown_event_types"]["a.B"]["records"] == 5
    assert told["budget"] == {"month": {"spent": 2}}


def test_no_run_is_a_history_too() -> None:
    told = summed([])
    assert told["period"]["runs"] == 0
    assert told["by_event_type"] == told["delivered"]["buckets"][0]["accepted"] == {}


def test_thousands_of_runs_are_summed_up_quickly_into_little() -> None:
    runs = list(busy_past(3_000, timedelta(minutes=14)))
    began = time.process_time()
    told = summed(runs)
    assert time.process_time() - began < 3
    assert len(json.dumps(told)) < 150_000
