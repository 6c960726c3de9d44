"""`braze-etl plan` for people; its numbers are in tests/flows/currents_to_amplitude/test_plan.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
import yaml

from braze_etl.cli import run_command_line
from fixtures.generate import sample_record, write_avro

PURCHASE = "users.behaviors.Purchase"
RANGE = ("--from", "2026-10-01", "--to", "2026-10-01")

Do: TypeAlias = Callable[..., str]


@pytest.fixture
def do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Do:
    monkeypatch.chdir(tmp_path)
    config = {"source": {"uri": "export"}, "amplitude": {"region": "US"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    folder = f"export/dataexport.prod-01.S3.integration.ab/event_type={PURCHASE}/date=2026-10-01-05"
    path = tmp_path / folder / "version=12/us-01"
    path.mkdir(parents=True)
    records = [sample_record(PURCHASE, seed) for seed in range(20)]
    for number, record in enumerate(records):
        record["external_user_id"] = f"user-{number // 2}"
    records[3]["external_user_id"] = "ab"
    write_avro(path / "dataexport.prod-01.S3.integration.ab+0+1.avro", PURCHASE, records)

    def command(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            run_command_line(("plan", "-c", "config.yaml", *RANGE, *words))
        assert not ended.value.code
        return capsys.readouterr().out

    return command


def test_an_exact_plan_shows_users_and_reasons_in_a_line_for_each_type(do: Do) -> None:
    out = do("--exact")
    header, row = out.splitlines()[:2]
    assert header.split() == ["event", "type", "files", "MB", "events", "to", "send", "users", "not", "sent"]
    assert row.split() == [PURCHASE, "1", "0.0", "20", "19", "10", "1", "invalid_user_id"]
    assert "20 events, 1 requests (exact)" in out
    assert "10 distinct users\n" in out


def test_an_exact_plan_names_busy_ids_where_a_bound_is_configured(do: Do) -> None:
    assert "ids above" not in do("--exact")
    config = yaml.safe_load(Path("config.yaml").read_text())
    config["mapping"] = {"identity": {"flag_above": 1}}
    Path("config.yaml").write_text(yaml.safe_dump(config))
    out = do("--exact")
    assert "ids above 1 events on 2026-10-01: user-0 (2), user-2 (2), " in out
    assert "user-1 (" not in out
    assert len(json.loads(do("--exact", "--output", "json"))["busy_ids"]["days"][0]["ids"]) == 9


def test_an_estimate_says_that_it_is_one(do: Do) -> None:
    out = do()
    assert "estimated" in out
    assert "distinct users" not in out
    assert "takes a time that no run has measured yet; at Amplitude's limit 0.0 s" in out
    assert json.loads(do("--output", "json"))["exit_code"] == 0
