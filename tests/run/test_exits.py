from __future__ import annotations

import signal
from datetime import datetime

import pytest

from braze_etl.errors import ConfigError, DeliveryError
from braze_etl.model import Tally
from braze_etl.run.exits import Stop, exit_code, softened
from braze_etl.run.report import RunReport


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


def test_named_codes_become_zero() -> None:
    assert [softened(code, {3, 4}) for code in (0, 1, 3, 4, 143)] == [0, 1, 0, 0, 143]
