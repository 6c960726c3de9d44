"""`braze-etl status` as text and as JSON, of one pipeline and of several."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from braze_etl.clock import SystemClock
from braze_etl.engine.due import BacklogTally
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.model import FileRef
from braze_etl.state.ledger import LeaseOwner, Ledger, RunRecord
from braze_etl.state.opening import open_ledger
from tests.monitoring.verified import note
from tests.workplace import Workplace

NOW = datetime.now(UTC)
OPEN = "users.messages.email.Open"

Answer: TypeAlias = tuple[int, str]
Do: TypeAlias = Callable[..., Any]


@pytest.fixture
def do(command_line: Do) -> Do:
    return lambda *words: command_line("status", *words)[:2]


def configure(folder: Path, name: str) -> Settings:
    plain = {
        "pipeline": name,
        "source": {"uri": "export"},
        "amplitude": {"region": "US"},
        "state": {"uri": f"sqlite:///state/{name}.db"},
        "quarantine": {"uri": f"state/{name}-quarantine"},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(plain))
    return Settings.model_validate(plain)


def ledger_of(settings: Settings) -> Ledger:
    return open_ledger(settings.state.uri, settings.identity, clock=SystemClock())


def listed(ledger: Ledger, *ages: int, types: int = 1) -> None:
    tally = BacklogTally()
    for age in ages:
        for number in range(types):
            hour = (NOW - timedelta(hours=age)).replace(minute=0, second=0, microsecond=0)
            tally.discovered(FileRef(f"{age}-{number}", "e", 1_000_000, NOW, f"{OPEN}{number or ''}", hour))
    ledger.record_listing(NOW, tally.backlog(), 3, complete=True)


def as_json(answer: Answer) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(answer[1])
    return value


def line(text: str, name: str) -> str:
    """The rest of the line that begins with *name*."""
    (found,) = [each.removeprefix(name).strip() for each in text.splitlines() if each.startswith(name)]
    return found


def test_people_see_the_window_the_backlog_and_what_to_do(do: Do, tmp_path: Path) -> None:
    ledger = ledger_of(configure(tmp_path, "mine"))
    listed(ledger, 2, 10)
    report = {"command": "run", "started_at": "2026-10-01T00:00:00Z", "exit_code": 4, "seconds": 1000.0}
    report |= {"bytes_read": {OPEN: 5_000}, "by_event_type": {OPEN: {"read": 10}}}
    report |= {"events": {"accepted": 1234}, "files": {"done": 5, "remaining": 6}}
    ledger.finish_run(RunRecord("r1", "run", NOW, NOW, 4, report))
    code, out = do("-c", "mine.yaml")
    assert code == 0
    assert "of 48 hours left" in line(out, "window")
    assert line(out, "last delivery") == "never"
    assert line(out, "backlog   ").startswith("2 files, 2.0 MB, about 4,000 events")
    assert "2 files too late" in line(out, "forecast")
    assert "raise --max-runtime" in line(out, "forecast")
    assert line(out, "before start").startswith("3 files")
    assert line(out, f"{OPEN} ").split() == ["2", "2.0", "4,000"]
    assert line(out, "under 6 hours").split() == ["1", "1.0", "2,000"]
    assert line(out, "r1").split()[-5:] == ["1,000.0", "4", "1,234", "5", "6"]


def test_a_backlog_of_many_types_stays_on_one_screen(do: Do, tmp_path: Path) -> None:
    listed(ledger_of(configure(tmp_path, "mine")), 2, types=30)
    code, out = do("-c", "mine.yaml")
    assert code == 0
    assert line(out, "20 more event types").split()[:2] == ["20", "20.0"]
    assert len(out.splitlines()) < 35
    assert len(as_json(do("-c", "mine.yaml", "--output", "json"))["backlog"]["by_event_type"]) == 30


def test_a_run_without_an_end_is_at_work_or_was_killed(do: Do, tmp_path: Path) -> None:
    ledger = ledger_of(configure(tmp_path, "mine"))
    ledger.begin_run(RunRecord("r1", "run", NOW))
    assert "killed" in line(do("-c", "mine.yaml")[1], "r1")
    with ledger.lease(LeaseOwner("r1", "host", 1, "run")):
        out = do("-c", "mine.yaml")[1]
    assert "at work" in line(out, "r1")
    assert "run r1" in line(out, "lease")


def test_the_newest_verification_stands_there_with_what_is_still_missing(do: Do, tmp_path: Path) -> None:
    ledger = ledger_of(configure(tmp_path, "mine"))
    listed(ledger, 2)
    assert as_json(do("-c", "mine.yaml", "--output", "json"))["verification"] is None
    assert "verification" not in do("-c", "mine.yaml")[1]
    ledger.put_note("verification", note(25, repaired=20))
    code, out = do("-c", "mine.yaml")
    said = line(out, "last verification")
    assert (code, said[:20]) == (0, "2026-10-03T04:18:00Z")
    assert "5 of 1,000 events are missing, 20 sent again, of the hours from 2026-10-01" in said
    ledger.put_note("verification", note(0, run_id="r7"))
    said = line(do("-c", "mine.yaml")[1], "last verification")
    assert said.endswith("nothing is missing among 1,000 events, of run r7")
    assert as_json(do("-c", "mine.yaml", "--output", "json"))["verification"]["total"]["expected"] == 1000


def test_several_pipelines_come_in_one_table_and_a_block_each(do: Do, tmp_path: Path) -> None:
    for name, age in (("calm", 2), ("late", 30)):
        listed(ledger_of(configure(tmp_path, name)), age)
    words = ("-c", "calm.yaml", "-c", "late.yaml")
    code, out = do(*words)
    assert code == 5
    first, second = out.splitlines()[1:3]
    assert (first.split()[0], "AT RISK" in first, first[-1]) == ("calm", False, "0")
    assert (second.split()[0], "AT RISK" in second, second[-1]) == ("late", True, "5")
    assert out.count("oldest undelivered") == 2
    found = as_json(do(*words, "--output", "json"))
    assert found["exit_code"] == 5
    assert [each["pipeline"] for each in found["pipelines"]] == ["calm", "late"]
    assert [each["exit_code"] for each in found["pipelines"]] == [0, 5]
    alone = as_json(do("-c", "late.yaml", "--output", "json"))
    assert "pipelines" not in alone
    assert set(found["pipelines"][1]) == {"config", *alone}


def test_one_that_cannot_be_read_does_not_hide_the_others(do: Do, tmp_path: Path) -> None:
    listed(ledger_of(configure(tmp_path, "calm")), 2)
    (tmp_path / "bad.yaml").write_text("source: 3\n")
    words = ("-c", "bad.yaml", "-c", "calm.yaml", "-c", "gone.yaml")
    code, out = do(*words)
    assert code == 2
    assert "oldest undelivered" in out
    assert "gone.yaml can't be read" in out
    assert "remedy: " in out
    bad, calm, gone = as_json(do(*words, "--output", "json"))["pipelines"]
    assert (bad["exit_code"], calm["exit_code"], gone["exit_code"]) == (2, 0, 2)
    assert set(gone["error"]) == {"type", "message", "remedy"}
    assert do("-c", "gone.yaml")[0] == 2


def test_the_environment_names_one_configuration(
    do: Do, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed(ledger_of(configure(tmp_path, "a:b")), 2)
    monkeypatch.setenv("BRAZE_ETL_CONFIG", "a:b.yaml")
    assert as_json(do("--output", "json"))["pipeline"] == "a:b"


def test_a_run_that_was_cut_short_says_when_the_rest_is_sent(workplace: Workplace) -> None:
    start = (NOW - timedelta(hours=9)).replace(minute=0, second=0, microsecond=0)
    workplace.configure(source={"start_at": start.isoformat()})
    workplace.export(events=300, start=start, event_types=("users.behaviors.Purchase",))
    assert workplace.do("status", "--refresh", "--output", "json").json["backlog"]["files"] > 0
    first = workplace.run("--max-runtime", "1s")
    status = workplace.do("status", "--output", "json").json
    assert status["backlog"]["files"] == first["files"]["remaining"]
    assert status["forecast"]["bytes_left"] == first["forecast"]["bytes_left"] == status["backlog"]["bytes"]
    second = workplace.run()
    assert (second["exit_code"], second["forecast"]["in_time"]) == (0, True)
    read = sum(size for report in (first, second) for size in report["bytes_read"].values())
    assert read == sum(path.stat().st_size for path in workplace.files())
    status = workplace.do("status", "--refresh", "--output", "json").json
    assert (status["exit_code"], status["backlog"]["files"]) == (0, 0)
    assert status["forecast"]["bytes_per_second"] > 0


@pytest.mark.parametrize(
    ("create", "words"),
    [
        ("auto", "The first `braze-etl run` creates it"),
        ("never", "If there was a ledger, bring it back"),
    ],
)
def test_that_there_is_no_ledger_is_told_with_what_to_do(
    do: Do, tmp_path: Path, create: str, words: str
) -> None:
    plain = {"source": {"uri": "export"}, "amplitude": {"region": "US"}, "state": {"create": create}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain))
    code, out = do("-c", "config.yaml")
    told = " ".join(out.split())
    assert code == 5
    assert "never listed, AT RISK" in told
    assert "There is no ledger at state/braze-etl.db" in told or "sqlite:///state/braze-etl.db" in told
    assert words in told
    facts = json.loads(do("-c", "config.yaml", "--output", "json")[1])
    assert words in facts["no_ledger"]["remedy"]
    ledger_of(Settings.model_validate(plain | {"state": {}})).close()
    assert "no_ledger" not in json.loads(do("-c", "config.yaml", "--output", "json")[1])
