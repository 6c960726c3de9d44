"""What follows a run, with a real HTTP server to be told, a ledger in memory, and the clock handed in."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from braze_etl.clock import ManualClock
from braze_etl.engine.forecast import Window
from braze_etl.engine.report import RunReport
from braze_etl.errors import KeyRefusedError, StateError, StoreError
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.logs import configure_logging
from braze_etl.monitoring.hooks import Hooks
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.state.ledger import LedgerIdentity
from braze_etl.state.sqlite import SqliteLedger
from braze_etl.storage.folder import FolderStore
from tests.conftest import NOW
from tests.monitoring.verified import note
from tests.monitoring.watching import Watcher, watching

Told = Callable[..., "After"]


class After:
    """A job that has ended many times: `end` is one of its runs."""

    def __init__(self, folder: Path, **sections: Any) -> None:
        plain = {"pipeline": "eu", "source": {"uri": "x"}, "amplitude": {"region": "US", "api_key": "k"}}
        settings = Settings.model_validate({**plain, **sections})
        self.clock = ManualClock(NOW)
        self.ledger = SqliteLedger.in_memory(
            LedgerIdentity("eu", "default", "US"), start_at=None, clock=self.clock
        )
        self.quarantine = Quarantine(FolderStore(folder))
        self.hooks = Hooks(
            settings.pipeline,
            metrics=settings.metrics,
            notify=settings.notify,
            ledger=self.ledger,
            quarantine=self.quarantine,
            clock=self.clock,
        )

    def end(self, code: int = 0, *, command: str = "run", minutes: float = 5, **facts: Any) -> None:
        self.clock.advance(60 * minutes)
        now = self.clock.now()
        report = RunReport("r1", "eu", command, now, finished_at=now, exit_code=code)
        report.window = Window(timedelta(hours=48), timedelta(hours=24), None, now)
        report.error = KeyRefusedError("Amplitude refused the API key.") if code == 1 else None
        for name, value in facts.items():
            setattr(report, name, value)
        self.hooks.ended(report)


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    with watching() as found:
        yield found


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    stream = io.StringIO()
    configure_logging("json", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    configure_logging("text")


@pytest.fixture
def after(tmp_path: Path) -> Callable[..., After]:
    return lambda **sections: After(tmp_path, **sections)


def test_nothing_is_told_or_remembered_unless_somebody_asks(after: Told, watcher: Watcher) -> None:
    job = after()
    job.end(1)
    assert watcher.heard == []
    assert job.ledger.get_note("metrics") == job.ledger.get_note("notify") == {}


def test_a_failing_job_tells_the_webhook_once_and_that_it_is_over(after: Told, watcher: Watcher) -> None:
    job = after(notify={"webhook": f"{watcher.url}/hook"})
    for _ in range(12):
        job.end(1)
    assert [each["topics"] for each in watcher.told("/hook")] == [{"failed": "begun"}]
    assert "refused the API key" in watcher.told("/hook")[0]["text"]
    job.end(0, minutes=60)
    assert watcher.told("/hook")[-1]["topics"] == {"failed": "over"}


def test_a_webhook_that_was_down_is_told_by_the_next_run(
    after: Told, watcher: Watcher, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    job = after(notify={"webhook": f"{watcher.url}/s3cret"})
    watcher.status = 500
    job.end(1)
    watcher.status = 200
    job.end(1)
    job.end(1)
    assert len(watcher.told("/s3cret")) == 2
    (warning,) = lines()
    assert (warning["level"], warning["message"]) == ("warning", "the webhook was not told")
    assert "500" in warning["error"]
    assert "s3cret" not in json.dumps(lines())


@pytest.mark.parametrize(("code", "pings"), [(0, 1), (3, 1), (4, 1), (1, 0), (143, 0), (130, 0)])
def test_the_dead_mans_switch_is_asked_for_after_a_run_that_did_its_work(
    after: Told, watcher: Watcher, code: int, pings: int
) -> None:
    after(notify={"dead_man": f"{watcher.url}/ping"}).end(code, discovered=2, done=1)
    assert watcher.asked("/ping") == pings


def test_work_that_is_left_with_nothing_settled_is_no_success(after: Told, watcher: Watcher) -> None:
    job = after(notify={"webhook": f"{watcher.url}/hook", "dead_man": f"{watcher.url}/ping"})
    job.end(4, discovered=2)
    assert watcher.asked("/ping") == 0
    assert [each["topics"] for each in watcher.told("/hook")] == [{"failed": "begun"}]
    assert job.ledger.get_note("metrics") == {}


@pytest.mark.parametrize("command", ["backfill", "quarantine replay"])
def test_what_somebody_looks_at_tells_nobody_but_counts(
    after: Told, watcher: Watcher, tmp_path: Path, command: str
) -> None:
    notify = {"webhook": f"{watcher.url}/hook", "dead_man": f"{watcher.url}/ping"}
    job = after(notify=notify, metrics={"textfile": str(tmp_path / "m.prom")})
    job.end(1, command=command)
    job.end(0, command=command)
    assert watcher.heard == []
    assert f'braze_etl_runs_total{{command="{command}",exit_code="1"' in (tmp_path / "m.prom").read_text()


def test_metrics_reach_file_and_gateway_and_grow(after: Told, watcher: Watcher, tmp_path: Path) -> None:
    path = tmp_path / "m.prom"
    job = after(metrics={"textfile": str(path), "pushgateway": {"url": watcher.url, "job": "etl"}})
    job.end(1)
    job.end(0)
    job.end(0)
    text = path.read_text()
    assert 'braze_etl_runs_total{command="run",exit_code="0",pipeline="eu"} 2.0' in text
    assert 'braze_etl_runs_total{command="run",exit_code="1",pipeline="eu"} 1.0' in text
    assert "braze_etl_last_run_error{" not in text
    method, where, body = watcher.heard[-1]
    assert (method, where, body.decode()) == ("PUT", "/metrics/job/etl/pipeline/eu", text)


def test_one_place_that_can_not_be_told_hinders_no_other(
    after: Told, watcher: Watcher, tmp_path: Path, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    job = after(
        metrics={"textfile": str(tmp_path / "nowhere/m.prom"), "pushgateway": {"url": watcher.url}},
        notify={"webhook": "http://127.0.0.1:9/hook", "dead_man": f"{watcher.url}/ping"},
    )
    job.end(3, newly_set_aside=1)
    assert watcher.asked("/ping") == 1
    assert [method for method, *_ in watcher.heard] == ["PUT", "GET"]
    assert [line["message"] for line in lines()] == [
        "the textfile with metrics was not written",
        "the webhook was not told",
    ]


def test_a_quarantine_or_a_ledger_that_fails_is_a_warning(
    after: Told,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    def fail(error: Exception) -> Callable[..., Any]:
        def failing(*_: Any) -> Any:
            raise error

        return failing

    job = after(metrics={"textfile": str(tmp_path / "m.prom")})
    monkeypatch.setattr(job.quarantine, "depth", fail(StoreError("no rights")))
    job.end(0)
    assert "braze_etl_quarantine_entries" not in (tmp_path / "m.prom").read_text()
    monkeypatch.setattr(job.ledger, "put_note", fail(StateError("disk full")))
    job.end(0)
    assert [line["error"] for line in lines()] == ["no rights", "disk full", "no rights"]


def test_a_ledger_that_can_not_be_written_keeps_nobody_from_being_told(
    after: Told, watcher: Watcher, tmp_path: Path, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    path = tmp_path / "m.prom"
    job = after(notify={"webhook": f"{watcher.url}/hook"}, metrics={"textfile": str(path)})
    job.ledger.put_note = _full  # type: ignore[method-assign]
    job.end(1)
    assert watcher.told("/hook")[0]["topics"] == {"failed": "begun"}
    assert 'braze_etl_last_run_exit_code{command="run",pipeline="eu"} 1.0' in path.read_text()
    assert [line["message"] for line in lines()] == [
        "the totals were not stored",
        "the next run tells it again",
    ]


def _full(name: str, fact: Any) -> None:
    raise StateError("the disk is full", remedy="Make room.")


def test_a_run_that_ended_without_its_lease_writes_and_tells_nothing(
    after: Told, watcher: Watcher, tmp_path: Path
) -> None:
    job = after(metrics={"textfile": str(tmp_path / "m.prom")})
    job.end(143, command="backfill", without_lease=True)
    assert not (tmp_path / "m.prom").exists()
    assert job.ledger.get_note("metrics") == {}


def test_events_that_a_verification_did_not_find_are_told_until_one_finds_them(
    after: Told, watcher: Watcher
) -> None:
    told = after(notify={"webhook": f"{watcher.url}/hook"})
    told.end()
    told.ledger.put_note("verification", note(25))
    told.end()
    told.end()
    told.ledger.put_note("verification", note(25, repaired=25))
    told.end(minutes=90)
    told.end()
    begun, over = watcher.told("/hook")
    assert (begun["topics"], over["topics"]) == ({"missing": "begun"}, {"missing": "over"})
    assert "25 of 1,000 events are missing, of the hours from 2026-10-01T00:00:00Z" in begun["text"]
