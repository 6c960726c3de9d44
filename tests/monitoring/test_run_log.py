from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from braze_etl.clock import ManualClock
from braze_etl.delivery.batches import RequestCounts
from braze_etl.engine.forecast import Outlook
from braze_etl.engine.report import RunReport
from braze_etl.engine.tasks import Settlement
from braze_etl.errors import LeaseHeldError, StoreError
from braze_etl.logs import LogLevel, configure_logging
from braze_etl.model import Counts, FileRef, FileSettlement, FileState, Outcome, Reason, Tally
from braze_etl.monitoring.run_log import RunLog

OUTLOOK = Outlook(files=11520, bytes=1, events=1, requests=1, seconds=None)
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def at_level() -> Iterator[Callable[[LogLevel], Lines]]:
    def start(level: LogLevel) -> Lines:
        stream = io.StringIO()
        configure_logging("json", stream, level)
        return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]

    yield start
    configure_logging("text")


def settled(ref: FileRef) -> Settlement:
    tally = Tally(accepted=3, filtered=1)
    return Settlement(
        1,
        files=[FileSettlement(ref, FileState.DONE, tally)],
        counts=Counts({ref.event_type: tally}, Counter({(ref.event_type, Reason.HELD): 1})),
    )


def finished(now: datetime) -> RunReport:
    """The report of a bad day: every reason, throttling, warnings, repairs, an error."""
    report = RunReport("r1", "p", "run", now, finished_at=now, exit_code=1)
    for reason in Reason:
        report.counts.reasons["t", reason] += 2
    report.counts.by_event_type = {"t": Tally(quarantined=20, filtered=18, deferred=6)}
    report.requests = RequestCounts(sent=9, throttled=4)
    report.warnings = Counter(late_files=2, overdue_files=1)
    report.repairs = Counter(surrogates=1)
    report.error = StoreError("no rights", remedy="Give them back.")
    return report


def test_the_run_of_a_days_files_fits_on_a_screen(
    at_level: Callable[[LogLevel], Lines], make_ref: Callable[..., FileRef], now: datetime
) -> None:
    lines, clock = at_level("info"), ManualClock(now)
    run_log, report = RunLog(clock), finished(now)
    with run_log.entry(report):
        run_log.discovered(OUTLOOK, {"overdue_files": 1})
        for number in range(24 * 40 * 12):
            clock.advance(0.15)  # half an hour in all
            run_log.settled(settled(make_ref(f"f{number}")))
        run_log.ended(report)
    said = [line["message"] for line in lines()]
    assert len(said) < 40
    assert said[:2] == ["run begins", "files are due"]
    assert said[-2:] == ["the run failed", "run ends"]
    assert said.count("progress") == 5


def test_progress_tells_how_far_it_is_at_most_every_five_minutes(
    at_level: Callable[[LogLevel], Lines], make_ref: Callable[..., FileRef], now: datetime
) -> None:
    lines, clock = at_level("info"), ManualClock(now)
    run_log = RunLog(clock)
    for minutes in (1, 5, 1):
        clock.advance(60 * minutes)
        run_log.settled(settled(make_ref("f")))
    (line,) = lines()
    assert (line["message"], line["files"], line["read"], line["accepted"]) == ("progress", 2, 8, 6)


def test_each_reason_that_keeps_records_back_has_a_line_with_its_counts(
    at_level: Callable[[LogLevel], Lines], now: datetime
) -> None:
    lines = at_level("warning")
    RunLog(ManualClock(now)).ended(finished(now))
    told = {line["reason"]: line for line in lines() if "reason" in line}
    kept_back = {reason for reason in Reason if reason.outcome is not Outcome.FILTERED}
    assert set(told) == {reason.value for reason in kept_back}
    assert told["rejected"]["event_types"] == {"t": 2}
    assert told["throttled"]["message"] == "records are left for later"


def test_a_warning_is_told_once(at_level: Callable[[LogLevel], Lines], now: datetime) -> None:
    lines = at_level("warning")
    run_log, report = RunLog(ManualClock(now)), RunReport("r1", "p", "run", now, exit_code=0)
    report.warnings = Counter(overdue_files=1, late_files=2)
    run_log.discovered(OUTLOOK, {"overdue_files": 1})
    run_log.ended(report)
    listed, rest = lines()
    assert listed["overdue_files"] == 1
    assert rest["late_files"] == 2
    assert "overdue_files" not in rest


def test_files_are_told_one_by_one_only_to_whoever_wants_details(
    at_level: Callable[[LogLevel], Lines], make_ref: Callable[..., FileRef], now: datetime
) -> None:
    lines = at_level("debug")
    RunLog(ManualClock(now)).settled(settled(make_ref("a/b.avro")))
    file, task = lines()
    assert (file["key"], file["state"], file["accepted"]) == ("a/b.avro", "done", 3)
    assert (task["message"], task["events"]) == ("task settled", 4)


def test_a_run_that_could_not_begin_ends_with_its_code(
    at_level: Callable[[LogLevel], Lines], now: datetime
) -> None:
    lines = at_level("info")
    report = RunReport("r1", "p", "run", now)
    with pytest.raises(LeaseHeldError), RunLog(ManualClock(now)).entry(report):
        raise LeaseHeldError("run r0 is at work")
    assert [(line["message"], line.get("exit_code")) for line in lines()] == [
        ("run begins", None),
        ("run ends", 11),
    ]
