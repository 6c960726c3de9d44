"""`braze-etl report`, with the real ledger."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import pytest
import yaml

from braze_etl.checkpoint import RunRecord, open_ledger
from braze_etl.cli._main import run_command_line
from braze_etl.clock import SystemClock, iso
from braze_etl.config import Settings
from braze_etl.run.assembly import ledger_identity
from tests.report.past import NOW, busy_past
from tests.workplace import Workplace

Answer: TypeAlias = tuple[int, str, str]
Do: TypeAlias = Callable[..., Answer]


@pytest.fixture
def do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Do:
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> Answer:
        with pytest.raises(SystemExit) as ended:
            run_command_line(("report", "-c", "config.yaml", *words))
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return command


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    plain = {"pipeline": "mine", "source": {"uri": "export"}, "amplitude": {"region": "US"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain))
    return Settings.model_validate(plain)


def remember(settings: Settings, runs: Sequence[RunRecord]) -> None:
    """Put runs into the ledger, as if the last had begun now."""
    later = datetime.now(UTC) - NOW
    ledger = open_ledger(settings.state.uri, ledger_identity(settings), clock=SystemClock())
    for run in runs:
        moved = replace(run, started_at=run.started_at + later, finished_at=(run.finished_at or NOW) + later)
        moved.report["started_at"] = iso(moved.started_at)
        ledger.begin_run(moved)
        ledger.finish_run(moved)
    ledger.close()


def test_it_writes_the_page_and_says_where(do: Do, settings: Settings, tmp_path: Path) -> None:
    remember(settings, list(busy_past(30)))
    code, out, _ = do()
    assert code == 0
    assert out.startswith("report.html: 30 runs since ")
    page = (tmp_path / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "messages.email.Open" in page
    assert [path.name for path in tmp_path.glob(".report*")] == []


def test_days_say_how_far_back_it_goes(do: Do, settings: Settings, tmp_path: Path) -> None:
    remember(settings, list(busy_past(72)))
    assert "23 runs since" in do("--days", "1", "-o", "day.html")[1]
    assert (tmp_path / "day.html").exists()
    assert not (tmp_path / "report.html").exists()
    assert do("--days", "0")[0] == 2


def test_machines_get_the_data_and_no_page_unless_they_name_one(
    do: Do, settings: Settings, tmp_path: Path
) -> None:
    remember(settings, list(busy_past(30)))
    code, out, _ = do("--output", "json")
    told = json.loads(out)
    assert (code, told["exit_code"], told["pipeline"]) == (0, 0, "mine")
    assert told["period"]["runs"] == 30
    assert not (tmp_path / "report.html").exists()
    do("--output", "json", "-o", "page.html")
    assert (tmp_path / "page.html").exists()


def test_before_the_first_run_there_is_a_page_that_says_so(
    do: Do, settings: Settings, tmp_path: Path
) -> None:
    assert do()[0] == 0
    assert "No run yet" in (tmp_path / "report.html").read_text()
    assert not (tmp_path / "state").exists()


def test_a_page_that_cannot_be_written_is_a_mistake_with_a_remedy(do: Do, settings: Settings) -> None:
    code, _, err = do("-o", "no/such/folder/page.html")
    assert code == 2
    assert "no/such/folder/page.html" in err
    assert "-o" in err


def test_the_sums_are_those_of_the_runs(workplace: Workplace) -> None:
    workplace.configure()
    workplace.export(events=400, hours=2)
    ran = workplace.run()
    told = workplace.do("report", "--output", "json").json
    for outcome in ("accepted", "filtered", "quarantined"):
        assert told["outcomes"][outcome] == ran["events"][outcome]
    assert told["runs"][0]["run_id"] == ran["run_id"]
    assert told["now"]["deferred"] == ran["events"]["deferred"]
