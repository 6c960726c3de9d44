from __future__ import annotations

import signal
from datetime import datetime, timedelta

import pytest

from braze_etl.clock import ManualClock
from braze_etl.deadline import Halt
from braze_etl.engine.exits import Stop, exit_code, softened
from braze_etl.engine.report import RunReport
from braze_etl.errors import AbandonedError, ConfigError, DeliveryError
from braze_etl.model import Tally


@pytest.fixture
def report(now: datetime) -> RunReport:
    return RunReport("r1", "p", "run", now)


def test_everything_delivered_is_zero(report: RunReport) -> None:
    assert exit_code(report, Stop()) == 0


def test_the_first_that_applies_counts(report: RunReport) -> None:
    stop = Stop()
    report.newly_set_aside = 1
    assert exit_code(report, stop) == 3
    report.counts.by_event_type["t"] = Tally(deferred=1)
    assert exit_code(report, stop) == 4
    stop.request(signal.SIGTERM)
    assert exit_code(report, stop) == 143
    report.error = DeliveryError("key refused")
    assert exit_code(report, stop) == 1
    report.error = ConfigError("bad")
    assert exit_code(report, stop) == 2


def test_work_that_is_left_is_four(report: RunReport) -> None:
    report.discovered, report.done = 3, 2
    assert exit_code(report, Stop()) == 4


def test_the_first_signal_counts() -> None:
    stop = Stop()
    stop.request(signal.SIGINT)
    stop.request(signal.SIGTERM)
    assert stop.signum == signal.SIGINT


@pytest.mark.parametrize("asked_by", ["a signal", "--max-runtime"])
def test_a_stop_goes_in_steps_and_is_over_before_the_time_out_and_two_seconds(
    now: datetime, asked_by: str
) -> None:
    clock = ManualClock(now)
    limit = timedelta(seconds=100) if asked_by == "--max-runtime" else None
    stop = Stop(clock, max_runtime=limit, timeout=20)
    clock.advance(99)
    assert (stop.asked, stop.halt(), stop.gives_up_workers, stop.is_over) == (False, Halt.NONE, False, False)
    clock.advance(1)
    if limit is None:
        stop.request(signal.SIGTERM)
    assert (stop.asked, stop.halt()) == (True, Halt.YIELD)
    seen = []
    for _ in range(220):
        clock.advance(0.1)
        seen.append((stop.gives_up_workers, stop.halt() is Halt.ALL, stop.is_over))
    assert seen[199] == (False, False, False)  # a request that was under way has all its time
    assert list(dict.fromkeys(seen)) == [
        (False, False, False),
        (True, False, False),
        (True, True, False),
        (True, True, True),
    ]


def test_what_the_stop_gave_up_is_no_failure(report: RunReport) -> None:
    report.error = AbandonedError("s3:ListBucket was given up")
    assert exit_code(report, Stop()) == 4
    stop = Stop()
    stop.request(signal.SIGTERM)
    assert exit_code(report, stop) == 143


def test_named_codes_become_zero() -> None:
    assert [softened(code, {3, 4}) for code in (0, 1, 3, 4, 143)] == [0, 1, 0, 0, 143]
