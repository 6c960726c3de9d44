"""`braze-etl report`, with the real ledger."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import pytest
import yaml

from braze_etl.cli import run_command_line
from braze_etl.clock import SystemClock, iso
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.state.ledger import LeaseOwner, RunRecord
from braze_etl.state.opening import open_ledger
from tests.commands.report.past import NOW, books, busy_past, report, run
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
    ledger = open_ledger(settings.state.uri, settings.identity, clock=SystemClock())
    for each in runs:
        moved = replace(
            each, started_at=each.started_at + later, finished_at=(each.finished_at or NOW) + later
        )
        moved.report["started_at"] = iso(moved.started_at)
        ledger.begin_run(moved)
        ledger.finish_run(moved)
    ledger.close()


def test_it_writes_the_page_and_says_where(do: Do, settings: Settings, tmp_path: Path) -> None:
    remember(settings, list(busy_past(30)))
    code, out, _ = do()
    assert code == 0
    assert re.fullmatch(r"report.html: 30 runs since 20\d\d-\d\d-\d\d \d\d:\d\d UTC; .*\n", out)
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


def test_a_history_that_is_shorter_than_asked_for_is_said_to_be(do: Do, settings: Settings) -> None:
    remember(settings, list(busy_past(72)))
    assert do("--days", "30")[1].endswith(" UTC; asked for 30 days, but the state keeps no older run\n")
    assert "asked for" not in do("--days", "1")[1]


def test_one_run_is_one_run(do: Do, settings: Settings) -> None:
    remember(settings, list(busy_past(1)))
    assert "1 run since" in do()[1]


def test_two_runs_within_two_seconds_have_their_page(do: Do, settings: Settings) -> None:
    moments = (NOW - timedelta(seconds=1.2), NOW - timedelta(seconds=0.5))
    opens = {"users.messages.email.Open": books(60)}
    remember(settings, [run(at, report(at, opens, seconds=0.1)) for at in moments])
    code, out, _ = do("--output", "json", "-o", "page.html")
    (bucket,) = json.loads(out)["delivered"]["buckets"]
    assert (code, bucket["accepted"]) == (0, {"users.messages.email.Open": 120})
    assert bucket["hours"] == pytest.approx(1 / 60, rel=0.05)


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


def test_a_page_that_cannot_be_written_is_a_mistake_with_a_remedy(
    do: Do, settings: Settings, tmp_path: Path
) -> None:
    code, _, err = do("-o", "no/such/folder/page.html")
    assert code == 2
    assert "no/such/folder/page.html" in err
    assert "Create the folder no/such/folder, or name another with -o." in err
    assert do("-o", "x" * 300)[0] == 2
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_dash_is_stdout_which_then_has_the_page_alone(do: Do, settings: Settings, tmp_path: Path) -> None:
    code, out, err = do("-o", "-")
    assert code == 0
    assert out.startswith("<!DOCTYPE html>")
    assert out.rstrip().endswith("</html>")
    assert "-: 0 runs since" in err
    assert not (tmp_path / "-").exists()


def test_stdout_is_not_promised_to_the_page_and_the_data_at_once(do: Do, settings: Settings) -> None:
    code, out, err = do("--output", "json", "-o", "-")
    assert code == 2
    assert "both need stdout" in out + err


def test_a_page_behind_a_link_is_replaced_and_the_link_stays(
    do: Do, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("old")
    (tmp_path / "link.html").symlink_to("site/index.html")
    assert do("-o", "link.html")[0] == 0
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "site" / "index.html").read_text().startswith("<!DOCTYPE html>")


def test_a_pipe_or_a_device_is_written_to_and_not_replaced(
    do: Do, settings: Settings, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit((tmp_path / "pipe").read_text)
        code, out, err = do("-o", "pipe")
        assert (code, out) == (0, "")
        assert err.startswith("pipe: 0 runs since ")
        assert reader.result().startswith("<!DOCTYPE html>")
    assert (tmp_path / "pipe").is_fifo()


def test_the_budget_is_that_of_the_state_and_of_the_configuration_as_they_are_now(
    do: Do, settings: Settings, tmp_path: Path
) -> None:
    remember(settings, list(busy_past(3)))
    plain = settings.model_dump(mode="json", include={"pipeline", "source", "amplitude"}, exclude_unset=True)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**plain, "budget": {"per_month": 3000}}))
    do()
    assert "0% of 3,000" in (tmp_path / "report.html").read_text()


def test_a_run_that_holds_the_lease_is_at_work(do: Do, settings: Settings) -> None:
    begun = RunRecord("r7", "run", datetime.now(UTC))
    ledger = open_ledger(settings.state.uri, settings.identity, clock=SystemClock())
    ledger.begin_run(begun)
    with ledger.lease(LeaseOwner("r7", "host", os.getpid(), "run")):
        assert json.loads(do("--output", "json")[1])["exit_codes"] == {"at_work": 1}
    ledger.close()
    assert json.loads(do("--output", "json")[1])["exit_codes"] == {"killed": 1}


def test_the_sums_are_those_of_the_runs(workplace: Workplace) -> None:
    workplace.configure()
    workplace.export(events=400, hours=2)
    ran = workplace.run()
    told = workplace.do("report", "--output", "json").json
    for outcome in ("accepted", "filtered", "quarantined"):
        assert told["outcomes"][outcome] == ran["events"][outcome]
    assert told["runs"][0]["run_id"] == ran["run_id"]
    assert told["now"]["deferred"] == ran["events"]["deferred"]
