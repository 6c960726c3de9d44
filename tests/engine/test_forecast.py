"""The forecast on a virtual clock: hours of backlog, a rate, and what is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from braze_etl.clock import ManualClock, iso
from braze_etl.engine.forecast import Forecast, Rate, forecast, forecast_of_run
from braze_etl.state.ledger import Backlog, BacklogLine

MB = 1_000_000
NOON = datetime(2026, 10, 3, 12, tzinfo=UTC)
OBJECTIVE = timedelta(hours=48)
OPEN = "users.messages.email.Open"


def backlog_of(megabytes: dict[float, float]) -> Backlog:
    """A file for each age in hours, with its megabytes."""
    hours = {
        NOON - timedelta(hours=age): BacklogLine(1, int(size * MB)) for age, size in sorted(megabytes.items())
    }
    size = sum(line.bytes for line in hours.values())
    return Backlog(len(hours), size, {OPEN: BacklogLine(len(hours), size)}, min(hours, default=None), hours)


def look(megabytes: dict[float, float], mb_an_hour: float | None, *, hours_later: float = 0) -> Forecast:
    clock = ManualClock(NOON)
    clock.advance(hours_later * 3600)
    rate = Rate(None if mb_an_hour is None else mb_an_hour * MB / 3600)
    return forecast(backlog_of(megabytes), rate, objective=OBJECTIVE, now=clock.now())


@pytest.mark.parametrize(
    ("megabytes", "mb_an_hour", "expected", "first_late"),
    [
        ({}, 10, (True, 0.0, None), None),
        ({}, None, (True, 0.0, None), None),
        ({5: 10}, None, (None, None, 43.0), None),
        ({5: 10}, 10, (True, 1.0, 43.0), None),
        ({47: 9}, 10, (True, 0.9, 1.0), None),
        ({47: 11}, 10, (False, 1.1, 1.0), 47),
        ({48: 1}, 10, (False, 0.1, 0.0), 48),
        ({50: 1}, None, (False, None, -2.0), 50),
        # All of it takes longer than the oldest hour has left, and yet each hour is in time.
        ({47: 5, 20: 200}, 10, (True, 20.5, 1.0), None),
        # The oldest is in time, and a later one is not.
        ({40: 10, 39: 75, 1: 1}, 10, (True, 8.6, 8.0), None),
        ({40: 10, 39: 85, 1: 1}, 10, (False, 9.6, 8.0), 39),
        # A heap of new data does not delay the old.
        ({1: 460}, 10, (True, 46.0, 47.0), None),
        ({1: 480}, 10, (False, 48.0, 47.0), 1),
    ],
)
def test_each_hour_is_held_against_its_own_deadline(
    megabytes: dict[float, float],
    mb_an_hour: float | None,
    expected: tuple[bool | None, float | None, float | None],
    first_late: int | None,
) -> None:
    facts = look(megabytes, mb_an_hour).as_dict()
    assert (facts["in_time"], facts["hours_needed"], facts["hours_left"]) == expected
    late = None if first_late is None else iso(NOON - timedelta(hours=first_late))
    assert (facts["first_late"] or {}).get("hour") == late
    assert facts["bytes_left"] == sum(megabytes.values()) * MB


def test_what_is_in_time_now_is_not_when_nothing_runs_for_a_day() -> None:
    assert look({20: 10}, 10).in_time is True
    assert look({20: 10}, 10, hours_later=26).in_time is True
    assert look({20: 10}, 10, hours_later=27.5).in_time is False


def test_people_get_the_numbers_and_what_to_do() -> None:
    assert look({}, 10).message == "nothing is left"
    assert look({5: 10}, None).message == "10.0 MB left; no run has measured a rate yet"
    assert look({5: 36}, 36).message == "36.0 MB take 1.0 hours at 10.0 kB/s, all in time"
    assert look({5: 6}, 36).message == "6.0 MB take 10 minutes at 10.0 kB/s, all in time"
    assert look({5: 0.1}, 36).message == "100.0 kB take about a minute at 10.0 kB/s, all in time"
    late = look({47: 72, 50: 1}, 36)
    assert late.as_dict()["files_late"] == 2
    assert "1 file past the objective already; 1 file too late (2026-10-01T13:00:00Z: 1.0 " in late.message
    assert "raise --max-runtime, run more often, or use more workers" in late.message
    assert look({50: 1, 60: 1}, 36).message.endswith("10.0 kB/s, 2 files past the objective already")
    assert "2026-10-01T13:00:00Z: 1.0 hours left, needs 2.0" in look({47: 72}, 36).message


def run(hours_ago: float, seconds: float, megabytes: float, **facts: Any) -> dict[str, Any]:
    started = NOON - timedelta(hours=hours_ago)
    return {
        "command": "run",
        "started_at": iso(started),
        "finished_at": iso(started + timedelta(seconds=seconds)),
        "exit_code": 0,
        "seconds": seconds,
        "bytes_read": {OPEN: int(megabytes * MB)} if megabytes else {},
        **facts,
    }


@pytest.mark.parametrize(
    ("reports", "per_second", "share"),
    [
        ([], None, 1.0),
        ([{}], None, 1.0),
        ([run(1, 10, 0)], None, 1.0),
        ([run(1, 10, 20)], 2 * MB, 1.0),
        ([run(1, 10, 20), run(2, 30, 20)], 1 * MB, 1.0),
        # A run that had next to nothing to do says nothing about the rate.
        ([run(0, 5, 0.01), run(1, 10, 20)], 2 * MB, 1.0),
        # One that failed spent its time on failing.
        ([run(0, 600, 20, error={"message": "refused"}), run(1, 10, 20)], 2 * MB, 1.0),
        # A replay reads here and there; a backfill reads whole files.
        ([run(0, 5, 50, command="quarantine replay"), run(1, 10, 20, command="backfill")], 2 * MB, 1.0),
        # Cut short after half an hour of each hour.
        ([run(0, 1800, 1800, exit_code=4), run(1, 1800, 1800, exit_code=4)], 1 * MB, 0.5),
        ([run(0, 1800, 1800), run(1, 1800, 1800)], 1 * MB, 1.0),
        # One that runs on and on has no pauses.
        ([run(0, 10, 10), run(1, 3600, 3600, exit_code=4)], 1 * MB, 1.0),
    ],
)
def test_the_rate_is_that_of_the_runs_that_had_something_to_do(
    reports: list[dict[str, Any]], per_second: float | None, share: float
) -> None:
    assert Rate.of(reports) == Rate(per_second, share)


def test_pauses_between_runs_that_are_cut_short_take_their_time() -> None:
    half = Rate(10 * MB / 3600, 0.5)
    found = forecast(backlog_of({40: 50}), half, objective=OBJECTIVE, now=NOON)
    assert found.as_dict()["hours_needed"] == 10.0
    assert found.in_time is False
    assert "running 50% of the time" in found.message


def test_a_run_goes_by_its_own_rate_unless_it_read_next_to_nothing() -> None:
    before = [run(1, 10, 100)]
    own = forecast_of_run(run(0, 10, 20), before, backlog_of({5: 10}), OBJECTIVE)
    assert own.rate.bytes_per_second == 2 * MB
    for megabytes in (0, 1):
        other = forecast_of_run(run(0, 10, megabytes), before, backlog_of({5: 10}), OBJECTIVE)
        assert other.rate.bytes_per_second == 10 * MB
