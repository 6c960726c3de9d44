"""Metrics, notices and logs of the real command: what an operator finds after a run, good or bad."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections import Counter
from contextlib import closing
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from braze_etl.clock import SystemClock
from braze_etl.sandbox.amplitude.project import Project
from braze_etl.state.ledger import LeaseOwner, LedgerIdentity
from braze_etl.state.opening import open_ledger
from tests.faults.processes import wait_until
from tests.monitoring.watching import Watcher
from tests.workplace import KEY, Result, Workplace


@pytest.fixture
def place(workplace: Workplace, watcher: Watcher) -> Workplace:
    workplace.configure(**sections(watcher))
    return workplace


def sections(watcher: Watcher) -> dict[str, Any]:
    return {
        "pipeline": "eu",
        "metrics": {"textfile": "braze_etl.prom", "pushgateway": {"url": watcher.url}},
        "notify": {
            "webhook": f"{watcher.url}/hook",
            "dead_man": f"{watcher.url}/ping",
            "on": ["failed", "quarantined"],
        },
    }


def samples(place: Workplace) -> dict[tuple[str, str], float]:
    """The textfile's samples, by name and the values of their labels but for the pipeline."""
    found = {}
    for family in text_string_to_metric_families((place.folder / "braze_etl.prom").read_text()):
        for sample in family.samples:
            assert sample.labels.pop("pipeline") == "eu"
            found[sample.name, " ".join(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


def lines_of(result: Result) -> list[dict[str, Any]]:
    """The log; where nobody watches, every line on stderr is one JSON object."""
    return [json.loads(line) for line in result.err.splitlines()]


def test_two_runs_reach_metrics_webhook_and_dead_mans_switch(place: Workplace, watcher: Watcher) -> None:
    place.export(events=300, awkward=0.1)
    reports = [place.run(), place.run()]
    events, found = reports[0]["events"], samples(place)
    by_outcome = {"accepted": 0.0, "filtered": 0.0, "quarantined": 0.0}
    for (name, labels), value in found.items():
        if name == "braze_etl_records_total":
            by_outcome[labels.split(" ")[1]] += value
    assert by_outcome == {outcome: events[outcome] for outcome in by_outcome}
    assert found["braze_etl_event_to_accepted_seconds_count", ""] == events["accepted"]
    assert found["braze_etl_files_total", "done"] == reports[0]["files"]["done"]
    assert found["braze_etl_quarantine_entries", ""] == events["quarantined"]
    assert found["braze_etl_runs_total", "run 3"] == found["braze_etl_runs_total", "run 0"] == 1
    assert reports[0]["requests"]["in_flight_limit"] > 0
    assert reports[0]["latency"]["records"] == events["accepted"]
    pushed = [body for method, _, body in watcher.heard if method == "PUT"]
    assert pushed[-1] == (place.folder / "braze_etl.prom").read_bytes()
    assert watcher.asked("/ping") == 2
    (message,) = watcher.told("/hook")
    assert (message["topics"], message["exit_code"]) == ({"quarantined": "begun"}, 3)


def test_a_run_that_can_not_begin_says_so_in_the_log(place: Workplace) -> None:
    place.ledger.parent.mkdir()
    place.ledger.write_bytes(b"no ledger" * 1000)
    result = place.do("run", "--output", "json")
    line = lines_of(result)[-1]
    assert (line["level"], line["message"], line["kind"]) == ("error", "the run failed", "StateError")
    assert line["error"] == result.error["message"]
    assert line["remedy"]


def test_a_field_of_the_log_has_one_type_in_all_lines(place: Workplace) -> None:
    place.export(events=300, awkward=0.2)
    types = dict[str, set[type]]()
    for line in lines_of(place.do("run", "--log-level", "debug", "--output", "json")):
        for key, value in line.items():
            types.setdefault(key, set()).add(float if isinstance(value, int) else type(value))
    assert {key: found for key, found in types.items() if len(found - {type(None)}) > 1} == {}


def test_runs_that_fail_count_no_record_twice(place: Workplace) -> None:
    written = place.export(events=300, awkward=0.2, duplicates=0)
    good = place.project
    place.become(Project(api_key="f" * 32))
    for _ in range(3):
        failed = place.run()
        assert failed["repeats"]["by_event_type"]
    place.become(good)
    place.run()
    records = Counter[str]()
    for (name, labels), value in samples(place).items():
        if name == "braze_etl_records_total":
            records[labels.split(" ")[1]] += int(value)
    assert records.total() == written.summary.events
    assert records["accepted"] == len(place.accepted_ids())


def test_a_refused_key_is_in_metrics_webhook_and_log(place: Workplace, watcher: Watcher) -> None:
    place.export(events=50, hours=1)
    place.become(Project(api_key="f" * 32))
    result = place.do("run", "--output", "json")
    assert result.code == 1
    assert result.error["type"] == "KeyRefusedError"
    assert samples(place)["braze_etl_last_run_error", "run KeyRefusedError"] == 1
    assert watcher.told("/hook")[0]["topics"] == {"failed": "begun"}
    assert watcher.asked("/ping") == 0
    (failed,) = [line for line in lines_of(result) if line["level"] == "error"]
    assert failed["kind"] == "KeyRefusedError"


def test_an_interrupted_run_leaves_its_metrics_and_no_ping(place: Workplace, watcher: Watcher) -> None:
    place.export(events=200, hours=1)
    place.configure(**sections(watcher), amplitude={"max_events": 5}, workers=1)
    place.inject("- do: {delay: 0.5}")
    process = place.start("run", "--output", "json")
    wait_until(lambda: bool(place.accepted_ids()), "a request was answered")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert samples(place)["braze_etl_last_run_exit_code", "run"] == 143
    assert watcher.asked("/ping") == 0


def test_services_that_are_down_do_not_change_the_exit_code(place: Workplace) -> None:
    place.export(events=50, hours=1)
    nowhere = "http://127.0.0.1:9/s3cret"
    place.configure(
        metrics={"textfile": "nowhere/braze_etl.prom", "pushgateway": {"url": nowhere}},
        notify={"webhook": nowhere, "dead_man": nowhere, "on": ["quarantined", "at_risk", "failed"]},
    )
    result = place.do("run", "--output", "json")
    assert result.code == result.json["exit_code"] == 0
    warned = [line["message"] for line in lines_of(result) if line["level"] == "warning"]
    assert "the textfile with metrics was not written" in warned
    assert "metrics were not pushed" in warned
    assert "the dead man's switch was not asked for" in warned
    assert "s3cret" not in result.out + result.err


@pytest.mark.parametrize("level", ["info", "debug"])
def test_the_log_names_the_run_in_every_line_and_no_person_and_no_secret(
    place: Workplace, level: str
) -> None:
    written = place.export(events=400, awkward=0.2)
    result = place.do("run", "--output", "json", "--log-level", level)
    lines = lines_of(result)
    begun = [line["message"] for line in lines].index("run begins")
    assert {line["run_id"] for line in lines[begun:]} == {result.json["run_id"]}
    assert {line["pipeline"] for line in lines} == {"eu"}
    assert KEY not in result.err
    persons = {record[key] for record in written.records for key in ("external_user_id", "device_id", "id")}
    assert not [person for person in persons if person and len(person) > 5 and person in result.err]
    files = [line for line in lines if line["message"] == "file settled"]
    assert len(files) == (result.json["files"]["discovered"] if level == "debug" else 0)
    if level == "info":
        assert len(lines) < 40


def test_an_option_goes_before_the_environment(place: Workplace) -> None:
    place.export(events=50, hours=1)
    environ = {"BRAZE_ETL_LOG_FORMAT": "text", "BRAZE_ETL_LOG_LEVEL": "debug"}
    result = place.do("run", "--log-level", "warning", **environ)
    assert "warning: this ledger is new" in result.err
    assert "run begins" not in result.err
    assert not result.err.startswith("{")


def test_a_run_that_finds_another_at_work_leaves_all_alone(place: Workplace, watcher: Watcher) -> None:
    place.export(events=50, hours=1)
    place.run()
    before, heard = (place.folder / "braze_etl.prom").read_bytes(), len(watcher.heard)
    identity = LedgerIdentity("eu", "default", "US")
    ledger = open_ledger(f"sqlite:///{place.ledger}", identity, clock=SystemClock(), start_at=None)
    with closing(ledger), ledger.lease(LeaseOwner("r0", socket.gethostname(), os.getpid(), "run")):
        result = place.do("run", "--output", "json")
    assert result.code == 11
    assert lines_of(result)[-1]["exit_code"] == 11
    assert len(watcher.heard) == heard
    assert (place.folder / "braze_etl.prom").read_bytes() == before
