"""The Python API as programs have it: real processes, a folder or an S3 server, Amplitude over HTTP."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import braze_etl
from braze_etl import Pipeline, RunReport, read_events
from braze_etl.clock import SystemClock
from braze_etl.errors import (
    BrazeEtlError,
    ConfigError,
    FatalError,
    KeyRefusedError,
    LeaseHeldError,
    UnreadableFileError,
    UsageError,
)
from braze_etl.flows.currents_to_amplitude.settings import load_config
from braze_etl.flows.pipeline import open_state
from braze_etl.sandbox.amplitude.project import Project
from braze_etl.state.ledger import LeaseOwner
from fixtures.generate import sample_record, write_avro
from tests.faults.processes import wait_until
from tests.s3_server import Bucket
from tests.workplace import KEY, Workplace, balanced, ended

PURCHASE = "users.behaviors.Purchase"


@pytest.fixture
def place(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.chdir(workplace.folder)
    return workplace


@pytest.fixture
def pipeline(place: Workplace) -> Iterator[Pipeline]:
    with Pipeline.open("config.yaml") as opened:
        yield opened


def values(place: Workplace, **sections: Any) -> dict[str, Any]:
    return {
        "source": {"uri": place.source, "start_at": date(2026, 10, 1)},
        "amplitude": {"region": "US", "api_key": KEY, "endpoint": place.amplitude.url},
        "workers": 1,
        **sections,
    }


def script(place: Workplace, text: str, **environ: str) -> subprocess.Popen[str]:
    """Start a script in the folder; no `if __name__ == "__main__"` guards it."""
    path = place.folder / "script.py"
    path.write_text(textwrap.dedent(text))
    return place.start(command=[sys.executable, str(path)], **environ)


# A run


def test_a_run_delivers_and_gives_its_report_with_types(place: Workplace, pipeline: Pipeline) -> None:
    written = place.export(events=200, awkward=0.2)
    report = pipeline.run(max_runtime="10m", workers=1)
    assert isinstance(report, RunReport)
    assert report.exit_code == 3
    assert place.accepted_ids() == written.must_arrive()
    assert report.events.read == report.events.accepted + report.events.filtered + report.events.quarantined
    assert report.files.done == report.files.discovered > 0
    assert report.files.bytes > 0
    assert sum(report.reasons.values()) == report.events.read - report.events.accepted
    facts = balanced(report.as_dict())
    assert (facts["command"], facts["reasons"]) == ("run", report.reasons)
    assert json.loads(json.dumps(facts)) == facts
    again = pipeline.run()
    assert (again.exit_code, again.files.discovered) == (0, 0)


def test_a_dict_does_as_well_as_a_file_and_a_store_as_well_as_a_folder(
    place: Workplace, bucket: Bucket
) -> None:
    written = place.export(events=60, hours=1)
    s3 = {"endpoint_url": bucket.endpoint_url}
    config = values(
        place,
        state={"uri": f"{bucket.uri}/state", **s3},
        quarantine={"uri": f"{bucket.uri}/quarantine", **s3},
    )
    with Pipeline.open(config) as pipeline:
        assert pipeline.run().exit_code == 0
        assert pipeline.status().exit_code in {0, 5}
    assert place.accepted_ids() == written.must_arrive()
    assert isinstance(config["source"]["uri"], Path), "what it is given is left as it is"


def test_secrets_of_a_dict_may_stay_in_the_environment(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = place.export(events=20, hours=1)
    config = values(place)
    config["amplitude"]["api_key"] = "${KEY_OF_THIS_TEST}"
    pipeline = Pipeline.open(config)
    with pytest.raises(ConfigError, match="KEY_OF_THIS_TEST"):
        pipeline.run()
    monkeypatch.setenv("KEY_OF_THIS_TEST", KEY)
    with Pipeline.open(config) as pipeline:
        pipeline.run()
    assert place.accepted_ids() == written.must_arrive()


def test_the_mistakes_of_a_configuration_are_told_at_once(place: Workplace) -> None:
    config = values(place, amplitude={"region": "US", "max_event": 5}, workers="many")
    with pytest.raises(ConfigError) as mistaken:
        Pipeline.open(config)
    assert "amplitude.max_event is not known; the nearest known key is" in mistaken.value.message
    assert "workers is wrong: 'many' names no workers" in mistaken.value.message
    assert mistaken.value.report is None
    with pytest.raises(ConfigError, match=r"nowhere\.yaml can't be read"):
        Pipeline.open("nowhere.yaml")


def test_a_range_is_sent_planned_and_sent_no_second_time(place: Workplace, pipeline: Pipeline) -> None:
    written = place.export(events=200, hours=3, duplicates=0)
    plan = pipeline.plan(from_="2026-10-01", to=date(2026, 10, 1), exact=True)
    assert plan.as_dict()["to_send"] == len(written.must_arrive())
    first, end = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 1, 1, tzinfo=UTC)
    some = pipeline.backfill(from_=first, until=end)
    rest = pipeline.backfill(from_="2026-10-01", to="2026-10-01T23", max_runtime=timedelta(minutes=5))
    assert 0 < some.files.done < some.files.done + rest.files.done
    assert place.accepted_ids() == written.must_arrive()
    assert pipeline.backfill(from_=first, to=end).files.discovered == 0
    assert pipeline.plan_changes().as_dict()["to_send"] == 0
    assert pipeline.backfill(changed_only=True).events.read == 0


def test_what_was_set_aside_is_sent_again(place: Workplace, pipeline: Pipeline) -> None:
    place.export(events=100, hours=1, awkward=0.3)
    set_aside = pipeline.run().events.quarantined
    again = pipeline.replay(reasons=["invalid_user_id"], since="1d")
    assert 0 < again.events.read < set_aside
    assert pipeline.replay(until=timedelta(days=1)).events.read == 0
    assert pipeline.status().as_dict()["quarantined"] == set_aside


@pytest.mark.parametrize(
    ("method", "arguments", "words"),
    [
        ("run", {"max_runtime": "50"}, "--max-runtime: '50' is no duration"),
        ("run", {"workers": 0}, "--workers: 0 is not in the range"),
        ("run", {"workers": "tcp://scheduler:8786"}, "--workers: tcp:// leads to no scheduler"),
        ("backfill", {}, "--from is missing"),
        ("backfill", {"from_": "2026-10-01"}, "--to"),
        ("backfill", {"from_": "2026-13-01", "to": "2026-10-01"}, "--from: '2026-13-01' is no UTC hour"),
        ("backfill", {"from_": datetime(2026, 10, 1), "to": "2026-10-01"}, "--from"),  # noqa: DTZ001
        ("backfill", {"from_": "2026-10-02", "until": "2026-10-01"}, "the range is empty"),
        ("backfill", {"from_": "2026-10-01", "to": "2026-10-01", "event_types": ["nope*"]}, "nope"),
        ("backfill", {"resend": True, "changed_only": True}, "exclude each other"),
        ("plan", {"event_types": ["users.*"]}, "--from is missing"),
        ("replay", {"reasons": ["invalid_user"]}, "nothing is set aside as invalid_user"),
        ("replay", {"ids": ["0123456789"]}, "0123456789"),
        ("replay", {"since": datetime(2026, 10, 1)}, "--since"),  # noqa: DTZ001
    ],
)
def test_bad_arguments_are_usage_errors_with_a_remedy(
    place: Workplace, pipeline: Pipeline, method: str, arguments: dict[str, Any], words: str
) -> None:
    place.source.mkdir()
    with pytest.raises(UsageError) as refused:
        getattr(pipeline, method)(**arguments)
    assert words in refused.value.message
    assert refused.value.remedy
    assert (refused.value.exit_code, refused.value.report) == (2, None)
    assert not place.ledger.exists()


# What is raised


def test_a_failed_run_is_raised_with_its_report(place: Workplace, pipeline: Pipeline) -> None:
    place.export(events=20, hours=1)
    place.become(Project(api_key="f" * 32))
    with pytest.raises(KeyRefusedError) as failed:
        pipeline.run()
    report = failed.value.report
    assert report is not None
    assert report.exit_code == 1
    assert report.files.remaining > report.events.accepted == 0
    assert report.as_dict()["error"] == failed.value.as_dict()
    copy = pickle.loads(pickle.dumps(failed.value))
    assert copy.report is not None
    assert (copy.remedy, copy.report.as_dict()) == (failed.value.remedy, report.as_dict())


def test_a_run_that_meets_another_or_needs_a_word_is_raised(place: Workplace, pipeline: Pipeline) -> None:
    place.export(events=20, hours=1)
    with pytest.raises(UsageError, match=r"budget\.first_run_events") as refused:
        Pipeline.open(values(place, budget={"first_run_events": 1})).run()
    assert refused.value.report is not None
    assert refused.value.report.exit_code == 2
    pipeline.run()
    settings, owner = load_config(Path("config.yaml")).settings, LeaseOwner.here("r1", "run")
    ledger = open_state(settings, SystemClock())
    with ledger.lease(owner), pytest.raises(LeaseHeldError) as held:
        pipeline.run()
    ledger.close()
    assert held.value.report is not None
    assert held.value.report.exit_code == 11


def test_a_state_that_can_not_be_opened_is_raised(place: Workplace, pipeline: Pipeline) -> None:
    place.ledger.parent.mkdir()
    place.ledger.write_bytes(b"no ledger" * 1000)
    for ask in (pipeline.run, pipeline.status):
        with pytest.raises(FatalError, match="ledger"):
            ask()


# What it leaves alone


def test_it_prints_nothing_installs_no_handler_and_leaves_no_process_behind(place: Workplace) -> None:
    """In a script without a guard: workers would run it again, were they to import what they don't need."""
    place.export(events=100, hours=1, awkward=0.2)
    (place.folder / "bad.avro").write_text("no Avro")
    process = script(
        place,
        """
        import logging, multiprocessing, os, signal, sys, threading
        from pathlib import Path
        with open("runs", "a") as file:
            file.write(__name__ + "\\n")
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = [signal.getsignal(number) for number in numbers], sys.excepthook, threading.excepthook
        from braze_etl import BrazeEtlError, Pipeline
        with Pipeline.open("config.yaml") as pipeline:
            for _ in range(2):
                code = pipeline.run().exit_code
            pipeline.plan(exact=True), pipeline.status()
            pipeline.replay()
            try:
                amplitude = {"region": "US", "api_key": "k"}
                with Pipeline.open({"source": {"uri": "no"}, "amplitude": amplitude}) as bad:
                    bad.run()
            except BrazeEtlError:
                pass
        after = [signal.getsignal(number) for number in numbers], sys.excepthook, threading.excepthook
        left = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        names = [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\\0", b" ").decode() for pid in left]
        Path("seen").write_text(repr({
            "untouched": before == after,
            "handlers": logging.getLogger().handlers,
            "start method": multiprocessing.get_start_method(allow_none=True),
            "children": [name for name in names if "resource_tracker" not in name],
            "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        }))
        """,
    )
    result = ended(process)
    assert (result.code, result.out, result.err) == (0, "", "")
    assert (place.folder / "runs").read_text() == "__main__\n"
    seen = eval((place.folder / "seen").read_text())
    assert seen == {
        "untouched": True, "handlers": [], "start method": None, "children": [], "mask": set(),
    }  # fmt: skip


def test_who_configures_logging_gets_the_lines_of_a_run(
    place: Workplace, pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    place.export(events=20, hours=1)
    with caplog.at_level("INFO", "braze_etl"):
        pipeline.run()
    (line,) = [each for each in caplog.records if each.message == "run begins"]
    assert vars(line)["bound"]["pipeline"] == "default"


def test_two_threads_run_two_pipelines_in_one_process(place: Workplace) -> None:
    written = place.export(events=200, hours=2, duplicates=0)
    pipelines = [
        Pipeline.open(values(place, state={"uri": f"sqlite:///{name}.db"}, quarantine={"uri": name}))
        for name in ("first", "second")
    ]
    with ThreadPoolExecutor(2) as threads:
        reports = list(threads.map(Pipeline.run, pipelines))
    for pipeline in pipelines:
        pipeline.close()
    assert [report.exit_code for report in reports] == [0, 0]
    assert {report.events.accepted for report in reports} == {len(written.must_arrive())}
    assert len({report.run_id for report in reports}) == 2


def _as_a_task(folder: str, outcome: Any) -> None:
    os.chdir(folder)
    with Pipeline.open("config.yaml") as pipeline:
        outcome.put(pipeline.run().exit_code)


def test_it_works_in_a_daemonic_process_forked_from_one_that_has_run(
    place: Workplace, pipeline: Pipeline
) -> None:
    place.export(events=20, hours=1)
    pipeline.run()
    context = multiprocessing.get_context("fork")
    outcome = context.SimpleQueue()
    task = context.Process(target=_as_a_task, args=(str(place.folder), outcome), daemon=True)
    place.export(events=20, hours=2)
    task.start()
    task.join(60)
    assert task.exitcode == 0
    assert outcome.get() == 0
    assert pipeline.run().exit_code == 0, "the fork server of this process is still its own"


# How it is stopped


SLOW = "- do: {delay: 0.5}"
INTERRUPTED = """
    import json, signal
    from braze_etl import Pipeline
    class Stopped(Exception):
        pass
    def stop(*_):
        raise Stopped
    signal.signal(signal.SIGTERM, stop)
    pipeline = Pipeline.open("config.yaml")
    try:
        pipeline.run()
    except BaseException as error:
        print(type(error).__name__)
"""


@pytest.mark.parametrize(
    ("signum", "name", "code"), [(signal.SIGINT, "KeyboardInterrupt", 130), (signal.SIGTERM, "Stopped", 143)]
)
def test_what_interrupts_the_caller_stops_the_run_cleanly_and_is_raised_again(
    place: Workplace, signum: signal.Signals, name: str, code: int
) -> None:
    written = place.export(events=300, hours=1, duplicates=0)
    place.configure(amplitude={"max_events": 1}, workers=1)
    place.inject(SLOW)
    process = script(place, INTERRUPTED)
    wait_until(lambda: bool(place.accepted_ids()), "a request was answered")
    process.send_signal(signum)
    result = ended(process)
    assert (result.code, result.out, result.err) == (0, f"{name}\n", "")
    (run,) = place.do("status", "--output", "json").json["runs"]
    assert run["exit_code"] == code
    place.recover()
    assert place.run()["exit_code"] == 0
    assert place.accepted_ids() == written.must_arrive()


def test_another_thread_may_stop_it(place: Workplace, pipeline: Pipeline) -> None:
    place.export(events=300, hours=1, duplicates=0)
    place.configure(amplitude={"max_events": 5}, workers=1)
    place.inject(SLOW)
    pipeline = Pipeline.open("config.yaml")
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(pipeline.run)
        wait_until(lambda: bool(place.accepted_ids()), "a request was answered")
        pipeline.stop()
        report = running.result(timeout=60)
    pipeline.close()
    assert report.exit_code == 143
    assert balanced(report.as_dict())["files"]["remaining"] > 0


# One file


def test_a_file_becomes_events_and_reasons(tmp_path: Path) -> None:
    records = [sample_record(PURCHASE, seed) for seed in range(3)]
    records[1]["external_user_id"] = "[REDACTED]"
    write_avro(tmp_path / "some.avro", PURCHASE, records)
    first, second, third = read_events(tmp_path / "some.avro")
    assert first["event_type"] == "[Appboy] Purchase"
    assert (first["time"], first["insert_id"]) == (records[0]["time"] * 1000, records[0]["id"])
    assert (second["not_sent"], set(second)) == ("redacted_identity", {"not_sent", "detail"})
    assert third["insert_id"] == records[2]["id"]


def test_what_is_no_file_of_events_is_raised(tmp_path: Path) -> None:
    (tmp_path / "some.avro").write_text("hello")
    for path, kind in (
        (tmp_path / "some.avro", UnreadableFileError),
        (tmp_path / "nowhere.avro", UsageError),
        ("s3://bucket/some.avro", UsageError),
    ):
        with pytest.raises(kind):
            next(read_events(path))


# The package


def test_the_names_are_there_when_they_are_asked_for() -> None:
    assert set(braze_etl.__all__) <= set(dir(braze_etl))
    assert braze_etl.BrazeEtlError is BrazeEtlError
    with pytest.raises(AttributeError, match="Pipelines"):
        getattr(braze_etl, "Pipelines")  # noqa: B009
    words = "import sys, braze_etl; print('braze_etl.api' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", words], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_threads_that_wait_for_a_run_are_gone_with_it(place: Workplace, pipeline: Pipeline) -> None:
    place.export(events=20, hours=1)
    pipeline.run()
    assert "braze-etl run" not in {thread.name for thread in threading.enumerate()}
