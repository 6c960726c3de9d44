"""The command line in this process: words, exit codes, JSON. Whole runs are in tests/integration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from braze_etl import __version__
from fixtures.generate import sample_record, write_avro
from tests.commands.conftest import Answer, Do

CONFIG = {"source": {"uri": "export"}, "amplitude": {"region": "US", "api_key": "${KEY:-k}"}}
PURCHASE = "users.behaviors.Purchase"
RANGE = ("--from", "2026-10-01", "--to", "2026-10-01")


@pytest.fixture
def do(command_line: Do, tmp_path: Path) -> Do:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return command_line


def as_json(answer: Answer) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(answer[1])
    return value


def test_version_and_help_name_the_program(do: Do) -> None:
    assert do("--version") == (0, f"braze-etl, version {__version__}\n", "")
    code, out, _ = do("--help")
    assert code == 0
    for name in ("run", "backfill", "plan", "preview", "status", "quarantine", "state", "config", "sandbox"):
        assert f"  {name} " in out


@pytest.mark.parametrize("words", [(), ("state",), ("quarantine",)])
def test_without_a_command_the_help_is_shown(do: Do, words: tuple[str, ...]) -> None:
    code, out, err = do(*words)
    assert (code, out) == (2, "")
    assert err.startswith(f"Usage: braze-etl {' '.join(words)}".strip())


def in_shell(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONIOENCODING": "ascii", "etl": f"{sys.executable} -m braze_etl"}
    return subprocess.run(
        ["sh", "-c", line], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )


def test_closed_streams_and_poor_locales_keep_no_command_from_its_work(do: Do, tmp_path: Path) -> None:
    record = sample_record(PURCHASE, 1) | {"product_id": "caf\u00e9"}
    write_avro(tmp_path / f"x.event_type={PURCHASE}.avro", PURCHASE, [record])
    shown = in_shell(tmp_path, f"$etl preview 'x.event_type={PURCHASE}.avro' --output text")
    assert (shown.returncode, r"caf\xe9" in shown.stdout) == (0, True)
    for closed in (">&-", "2>&-"):
        assert in_shell(tmp_path, f"$etl config check -c config.yaml {closed}").returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="has no /dev/full")
def test_output_that_can_not_be_written_is_said_without_a_traceback(do: Do, tmp_path: Path) -> None:
    full = in_shell(tmp_path, "$etl config check -c config.yaml --output json >/dev/full")
    assert full.returncode == 1
    assert "No space left on device" in full.stderr
    assert "Traceback" not in full.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("bogus",),
        ("run", "--bogus"),
        ("run",),
        ("run", "-c", "nowhere.yaml"),
        ("run", "-c", "config.yaml", "--max-runtime", "50"),
        ("run", "-c", "config.yaml", "--workers", "0"),
        ("run", "-c", "config.yaml", "--workers", "dask://scheduler"),
        ("run", "-c", "config.yaml", "--workers", "dask://scheduler:8786"),
        ("run", "-c", "config.yaml", "--ok-exit", "x"),
        ("backfill", "-c", "config.yaml"),
        ("backfill", "-c", "config.yaml", "--from", "2026-10-01"),
        ("backfill", "-c", "config.yaml", *RANGE, "--until", "2026-10-03"),
        ("backfill", "-c", "config.yaml", "--from", "2026-10-02", "--to", "2026-10-01"),
        ("backfill", "-c", "config.yaml", "--from", "2026-13-01", "--to", "2026-10-01"),
        ("backfill", "-c", "config.yaml", "--changed-only", *RANGE, "--until", "2026-10-03"),
        ("plan", "-c", "config.yaml", "--changed-only", "--from", "2026-10-02", "--to", "2026-10-01"),
        ("status",),
        ("preview", "nowhere.avro"),
        ("config", "check"),
        ("sandbox", "--faults", "nowhere.yaml"),
        ("sandbox", "--cohorts", "nowhere.json"),
        ("sandbox", "--time-zone", "Europe/Nowhere"),
    ],
)
def test_bad_usage_is_two_with_a_remedy(do: Do, words: tuple[str, ...]) -> None:
    code, out, err = do(*words)
    assert (code, out) == (2, "")
    assert "error: " in err
    assert "remedy: " in err


@pytest.mark.parametrize("form", [("--output", "json"), ("--output=json",)])
def test_a_failed_command_prints_one_json_object(do: Do, form: tuple[str, ...]) -> None:
    answer = do("run", *form, "--bogus")
    assert answer[0] == 2
    error = as_json(answer)
    assert error["exit_code"] == 2
    assert set(error["error"]) == {"type", "message", "remedy"}


def test_a_valid_configuration_names_what_the_environment_owes(do: Do, tmp_path: Path) -> None:
    assert as_json(do("config", "check", "-c", "config.yaml", "--output", "json"))["valid"] is True
    owing = "source: {uri: x}\namplitude: {region: US, api_key: '${OWED_KEY}'}\n"
    (tmp_path / "owing.yaml").write_text(owing)
    code, out, _ = do("config", "check", "-c", "owing.yaml")
    assert code == 0
    assert "OWED_KEY" in out
    code, _, err = do("run", "-c", "owing.yaml")
    assert code == 2
    assert "OWED_KEY" in err


def test_the_schema_knows_every_section(do: Do) -> None:
    schema = as_json(do("config", "schema"))
    assert {"source", "amplitude", "state", "quarantine", "mapping", "window"} <= set(schema["properties"])
    assert schema["required"] == ["source", "amplitude"]


def test_the_schema_accepts_a_configuration_of_nothing_but_defaults(do: Do) -> None:
    schema = as_json(do("config", "schema"))
    defaults = {
        name: {
            key: field["default"]
            for key, field in schema["$defs"][section["$ref"].rpartition("/")[2]]["properties"].items()
            if "default" in field
        }
        for name, section in schema["properties"].items()
        if "$ref" in section
    }
    assert defaults["window"] == {"objective": "2d", "warn_at": "1d", "source_stale_after": "1d"}
    config = {**defaults, "source": {**defaults["source"], **CONFIG["source"]}}
    Draft202012Validator(schema).validate(
        {**config, "amplitude": {**defaults["amplitude"], **CONFIG["amplitude"]}}
    )


def test_preview_shows_the_events_a_file_becomes(do: Do, tmp_path: Path) -> None:
    records = [sample_record(PURCHASE, seed) for seed in range(3)]
    records[1]["external_user_id"] = "[REDACTED]"
    write_avro(tmp_path / "some.avro", PURCHASE, records)
    code, out, _ = do("preview", "some.avro", "-n", "2")
    first, second = map(json.loads, out.splitlines())
    assert code == 0
    assert first["event_type"] == "[Appboy] Purchase"
    assert first["time"] == records[0]["time"] * 1000
    assert first["insert_id"] == records[0]["id"]
    assert second["not_sent"] == "redacted_identity"
    assert "[Appboy] Purchase" in do("preview", "some.avro", "--output", "text")[1]


def test_preview_of_what_is_no_avro_says_so(do: Do, tmp_path: Path) -> None:
    (tmp_path / "some.avro").write_text("hello")
    code, out, err = do("preview", "some.avro")
    assert (code, out) == (1, "")
    assert "some.avro is not an Avro file" in err


def test_a_job_that_never_ran_is_at_risk(do: Do, tmp_path: Path) -> None:
    answer = do("status", "-c", "config.yaml", "--output", "json")
    assert answer[0] == 5
    status = as_json(answer)
    assert status["window"]["at_risk"] is True
    assert (status["last_listing"], status["last_delivery"], status["runs"]) == (None, None, [])
    assert "never listed" in do("status", "-c", "config.yaml")[1]
    assert not (tmp_path / "state").exists()


def test_an_empty_quarantine_is_said_to_be_empty(do: Do) -> None:
    assert do("quarantine", "list", "-c", "config.yaml")[1] == "the quarantine is empty\n"
    assert do("quarantine", "show", "0123456789", "-c", "config.yaml")[0] == 2


@pytest.mark.parametrize("exact", [(), ("--exact",)])
def test_plan_says_what_would_happen_and_writes_nothing(
    do: Do, tmp_path: Path, exact: tuple[str, ...]
) -> None:
    folder = tmp_path / "export/dataexport.prod-01.S3.integration.ab/event_type=users.behaviors.Purchase"
    folder = folder / "date=2026-10-01-05/version=12/us-01"
    folder.mkdir(parents=True)
    records = [sample_record(PURCHASE, seed) for seed in range(20)]
    records[3]["external_user_id"] = "ab"
    write_avro(folder / "dataexport.prod-01.S3.integration.ab+0+1.avro", PURCHASE, records)
    plan = as_json(do("plan", "-c", "config.yaml", *RANGE, "--output", "json", *exact))
    assert (plan["files"], plan["requests"], plan["estimated"]) == (1, 1, not exact)
    if exact:
        assert (plan["events"], plan["to_send"]) == (20, 19)
        assert plan["by_event_type"][PURCHASE]["reasons"] == {"invalid_user_id": 1}
    assert "1 files" in do("plan", "-c", "config.yaml", *RANGE, *exact)[1]
    assert not (tmp_path / "state").exists()
    assert "nothing is due" in do("plan", "-c", "config.yaml")[1]
