"""Run reports, summed up for `report`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from braze_etl.commands.report.history import OTHERS, History
from braze_etl.state.ledger import RunRecord
from tests.commands.report.past import NOW, books, busy_past, report, run

OPEN, PURCHASE = "users.messages.email.Open", "users.behaviors.Purchase"
HOUR = timedelta(hours=1)


REFUSED = {"type": "KeyRefusedError", "message": "the key was refused", "remedy": "Set another."}


def summed(runs: Sequence[RunRecord], days: int = 30, at_work: str | None = None) -> dict[str, Any]:
    """The history of these runs, given the oldest first."""
    return History(runs[::-1], NOW, days, 48 * HOUR, at_work).as_dict()


def hourly(*reports: Callable[[datetime], dict[str, Any]]) -> list[RunRecord]:
    """A run each hour until now, the oldest first."""
    moments = [NOW - HOUR * (len(reports) - number) for number in range(len(reports))]
    return [run(at, told(at)) for at, told in zip(moments, reports, strict=True)]


def good(at: datetime) -> dict[str, Any]:
    return report(at, {OPEN: books(1)})


def refused(at: datetime) -> dict[str, Any]:
    return report(at, {}, exit_code=1, error=REFUSED, window=None, forecast=None)


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


def test_records_of_files_that_stay_due_count_once_however_many_runs_read_them() -> None:
    again = {OPEN: {"read": 40, "accepted": 30, "filtered": 6, "quarantined": 4, "deferred": 0}}
    reasons = {"no_identity": 6, "rejected": 4}

    def broke_off(at: datetime) -> dict[str, Any]:
        repeats = {"by_event_type": again, "reasons": reasons}
        told = {PURCHASE: books(3), OPEN: books(30, 6, 4)}
        return report(at, told, reasons=reasons, exit_code=1, repeats=repeats)

    def settled(at: datetime) -> dict[str, Any]:
        return report(at, {OPEN: books(30, 6, 4)}, reasons=reasons)

    told = summed(hourly(broke_off, broke_off, settled))
    assert told["outcomes"] == {"accepted": 36, "filtered": 6, "quarantined": 4}
    assert told["by_event_type"][OPEN] == {"accepted": 30, "filtered": 6, "quarantined": 4}
    assert told["reasons"] == {"filtered": {"no_identity": 6}, "quarantined": {"rejected": 4}}
    assert sum(each["accepted"].get(OPEN, 0) for each in told["delivered"]["buckets"]) == 30


def test_runs_that_settle_nothing_make_no_line_of_their_event_type() -> None:
    assert summed(hourly(lambda at: report(at, {OPEN: books(deferred=5)})))["by_event_type"] == {}


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


def on_days_ago(*days: float) -> list[RunRecord]:
    moments = [NOW - timedelta(days=each) for each in days]
    return [run(at, report(at, {OPEN: books(1)})) for at in moments]


def test_only_the_days_asked_for_count() -> None:
    told = summed(on_days_ago(9, 6, 1), days=7)
    assert told["period"]["runs"] == 2
    assert told["outcomes"]["accepted"] == 2
    assert told["period"]["since"] == "2026-11-17T12:30:00Z"
    assert told["period"]["oldest_run"] is None
    assert told["delivered"]["hours"] == 2


def test_where_the_state_keeps_no_older_run_the_period_begins_with_the_oldest_and_it_is_said() -> None:
    period = summed(on_days_ago(6, 1), days=7)["period"]
    assert (period["days"], period["since"], period["oldest_run"]) == (
        7,
        "2026-11-18T12:30:00Z",
        "2026-11-18T12:30:00Z",
    )


def test_the_first_page_shows_an_hour_at_least() -> None:
    period = summed(on_days_ago(1 / 24 / 20))["period"]
    assert period["since"] == "2026-11-24T11:30:00Z"
    assert period["oldest_run"] == "2026-11-24T12:27:00Z"


@pytest.mark.parametrize("minutes", [5, 20, 60])
@pytest.mark.parametrize("runs", [7, 40, 100])
def test_a_steady_stream_is_delivered_at_a_steady_rate_up_to_both_ends(minutes: int, runs: int) -> None:
    every = timedelta(minutes=minutes)
    moments = [NOW - every * number - timedelta(minutes=2) for number in range(runs, -1, -1)]
    accepted = 200 * minutes
    told = summed([run(at, report(at, {OPEN: books(accepted)}, seconds=30)) for at in moments])
    buckets = told["delivered"]["buckets"]
    rates = [bucket["accepted"][OPEN] / bucket["hours"] for bucket in buckets]
    assert min(rates) > 0.8 * 12_000
    assert max(rates) < 1.2 * 12_000
    assert buckets[-1]["to"] == "2026-11-24T12:30:00Z"


def test_small_event_types_are_summed_up_so_that_nothing_is_missing() -> None:
    lines = {f"type.{number:02}": books(100 - number, 1) for number in range(40)}
    told = summed([run(NOW - HOUR, report(NOW - HOUR, lines))])
    assert len(told["by_event_type"]) == 13
    assert sum(each["accepted"] for each in told["by_event_type"].values()) == told["outcomes"]["accepted"]
    assert told["delivered"]["event_types"] == [*(f"type.{number:02}" for number in range(7)), OTHERS]
    assert sum(sum(each["accepted"].values()) for each in told["delivered"]["buckets"]) == 3220


def test_the_age_of_the_backlog_is_measured_against_the_objective() -> None:
    told = summed([run(NOW - HOUR, report(NOW - HOUR, {}, age=50.0, left=3, seconds=60))])
    assert told["backlog_age"] == [{"at": "2026-11-24T11:31:00Z", "hours": 50.0}]
    assert told["latency"] == []


def test_the_largest_backlog_of_a_stretch_is_kept_though_another_one_was_older() -> None:
    at = NOW - 40 * 24 * HOUR
    old = [run(at, report(at, {}))]
    small, large = (
        run(at, report(at, {}, left=left, age=age, seconds=1))
        for at, left, age in ((NOW - HOUR, 1, 9.0), (NOW - 2 * HOUR, 8, 3.0))
    )
    told = summed([*old, large, small])
    assert told["backlog_size"] == [{"at": "2026-11-24T10:30:01Z", "files": 8, "bytes": 1_200_000}]
    assert [each["hours"] for each in told["backlog_age"]] == [9.0]


def test_of_many_runs_the_worst_of_each_stretch_is_kept() -> None:
    runs = list(busy_past(1_500, timedelta(minutes=20)))
    told = summed(runs)
    assert len(told["backlog_age"]) <= 240
    assert max(each["hours"] for each in told["backlog_age"]) == round(
        max(48 - each.report["window"]["hours_left"] for each in runs), 2
    )
    assert len(told["latency"]) <= 240


def test_runs_that_were_killed_or_failed_early_count_as_what_they_are() -> None:
    killed = RunRecord("r1", "run", NOW - 2 * HOUR)
    told = summed([killed, *hourly(refused)])
    assert told["exit_codes"] == {"1": 1, "killed": 1}
    assert told["runs"][1]["exit_code"] is None
    assert told["runs"][1]["ending"] == "killed"
    assert told["runs"][1]["accepted"] is None
    assert told["backlog_age"] == told["backlog_size"] == []


def test_a_run_that_holds_the_lease_is_at_work_and_did_not_fail() -> None:
    told = summed([*hourly(good), RunRecord("r2", "run", NOW)], at_work="r2")
    assert told["exit_codes"] == {"0": 1, "at_work": 1}
    assert told["runs"][0]["ending"] == "at_work"
    assert told["failing"] is None


def test_runs_that_failed_in_a_row_until_now_are_told_with_the_error_of_the_last() -> None:
    told = summed(hourly(good, refused, refused))
    assert told["failing"] == {
        "runs": 2,
        "all": False,
        "since": "2026-11-24T10:30:00Z",
        "exit_code": 1,
        "error": REFUSED,
    }
    assert told["runs"][0]["error"] == REFUSED
    assert told["runs"][2]["error"] is None
    assert summed(hourly(refused))["failing"]["all"]


def test_a_killed_run_has_failed_and_one_that_was_interrupted_has_not() -> None:
    killed = RunRecord("r1", "run", NOW)
    assert summed([*hourly(good), killed])["failing"]["exit_code"] is None
    assert summed(hourly(refused, lambda at: report(at, {}, exit_code=143)))["failing"] is None


def test_work_left_is_a_failure_where_the_run_got_nowhere_and_says_why() -> None:
    def throttled(at: datetime) -> dict[str, Any]:
        return report(
            at, {}, exit_code=4, left=9, succeeded=False, causes=["Amplitude throttled", "time is over"]
        )

    told = summed(hourly(good, throttled, throttled))
    assert (told["failing"]["runs"], told["failing"]["exit_code"]) == (2, 4)
    assert "Amplitude throttled; time is over" in told["failing"]["error"]["message"]
    assert told["runs"][0]["error"] == told["failing"]["error"]
    got_ahead = report(NOW, {OPEN: books(1)}, exit_code=4, succeeded=True, causes=["time is over"])
    told = summed([*hourly(throttled), run(NOW, got_ahead)])
    assert (told["failing"], told["runs"][0]["error"]) == (None, None)
    stopped = report(NOW, {}, exit_code=143, succeeded=False)
    assert summed([*hourly(good), run(NOW, stopped)])["failing"] is None


def test_what_somebody_runs_by_hand_neither_fails_nor_mends_the_schedule() -> None:
    by_hand = run(NOW, refused(NOW), "backfill")
    assert summed([*hourly(good), by_hand])["failing"] is None
    assert summed([*hourly(refused), run(NOW, good(NOW), "backfill")])["failing"]["runs"] == 1


def test_the_reports_of_older_releases_are_read_as_far_as_they_go() -> None:
    old = report(NOW - HOUR, {OPEN: books(3)})
    for name in ("latency", "forecast", "bytes_read", "reasons"):
        del old[name]
    told = summed([run(NOW - HOUR, old)])
    assert told["outcomes"]["accepted"] == 3
    assert told["backlog_size"] == []


def test_drift_is_the_last_that_was_told_of_it() -> None:
    first, second = (
        {"unknown_event_types": {"a.B": {"records": records, "outcome": "held", "name": "B"}}}
        for records in (3, 5)
    )
    told = summed(
        hourly(lambda at: report(at, {}, drift=first), lambda at: report(at, {}, drift=second), good)
    )
    assert told["drift"]["unknown_event_types"]["a.B"]["records"] == 5


def test_what_the_budget_held_is_that_of_the_last_complete_run() -> None:
    def held(at: datetime) -> dict[str, Any]:
        return report(at, {}, exit_code=4, budget={"held": 7, "stopped": [OPEN]})

    assert summed(hourly(held, refused))["held"] == {"records": 7, "event_types": [OPEN]}
    assert summed(hourly(held, good))["held"] is None


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
