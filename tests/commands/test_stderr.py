"""stderr outside a terminal: one JSON object a line and nothing else, whatever goes wrong."""

from __future__ import annotations

import json
import logging
import re
import threading
import warnings
from contextlib import closing
from typing import Any

import pytest

from braze_etl.clock import SystemClock
from braze_etl.flows.currents_to_amplitude.settings import load_config
from braze_etl.flows.pipeline import open_state
from braze_etl.state.ledger import LeaseOwner
from tests.commands.conftest import Do
from tests.commands.terminal import on_a_terminal, plain
from tests.faults.poison import poison
from tests.workplace import Result, Workplace

BAD = "source: {uri: export, sourc: 1}\namplitude: {region: US}\n"
OWING = "pipeline: eu\nsource: {uri: '${OWED_FOLDER}'}\namplitude: {region: US, api_key: k}\n"


def lines_of(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.err.splitlines()]


def said(result: Result) -> dict[str, Any]:
    """The line about the failure, which has all that somebody needs to act."""
    (line,) = [line for line in lines_of(result) if "kind" in line]
    assert {"time", "level", "message", "command", "kind", "error", "remedy"} <= set(line)
    assert line.get("exit_code", result.code) == result.code
    assert line["remedy"]
    return line


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("run", "--bogus"), "run"),
        (("run", "--log-format", "xml"), "run"),
        (("run", "-c", "nowhere.yaml"), "run"),
        (("status", "-c", "bad.yaml"), "status"),
        (("plan", "-c", "owing.yaml"), "plan"),
        (("quarantine",), "quarantine"),
        (("quarantine", "show", "0123456789"), "quarantine show"),
        (("preview", "nowhere.avro"), "preview"),
    ],
)
def test_bad_usage_and_a_bad_configuration_are_a_line(
    workplace: Workplace, words: tuple[str, ...], command: str
) -> None:
    (workplace.folder / "bad.yaml").write_text(BAD)
    (workplace.folder / "owing.yaml").write_text(OWING)
    result = workplace.do(*words)
    line = said(result)
    assert (result.code, result.out, len(lines_of(result))) == (2, "", 1)
    assert (line["level"], line["message"], line["command"]) == ("error", "the command failed", command)
    if "owing.yaml" in words:
        assert "OWED_FOLDER" in line["error"]
        assert line["pipeline"] == "eu"


def test_a_program_without_a_command_says_so(workplace: Workplace) -> None:
    (line,) = lines_of(workplace.do())
    assert (line["kind"], line["error"]) == ("UsageError", "no command is given")


@pytest.mark.parametrize("command", [("run",), ("backfill", "--from", "2026-10-01", "--to", "2026-10-02")])
def test_a_run_that_can_not_read_its_source_is_named_by_its_id_from_the_first_line_on(
    workplace: Workplace, command: tuple[str, ...]
) -> None:
    workplace.configure(pipeline="eu")
    result = workplace.do(*command)
    line = said(result)
    assert (result.code, line["message"], line["kind"]) == (1, "the run failed", "StoreError")
    assert {(each["pipeline"], each["command"]) for each in lines_of(result)} == {("eu", command[0])}
    assert len({each["run_id"] for each in lines_of(result)}) == 1


def test_a_run_that_meets_another_says_so_and_is_no_failure_of_its_own(workplace: Workplace) -> None:
    workplace.export(events=20, hours=1)
    workplace.do("run")
    settings = load_config(workplace.folder / "config.yaml").settings
    path = f"sqlite:///{workplace.ledger}"
    settings = settings.model_copy(update={"state": settings.state.model_copy(update={"uri": path})})
    owner = LeaseOwner.here("r1", "run")
    with closing(open_state(settings, SystemClock())) as ledger, ledger.lease(owner):
        result = workplace.do("run")
    line = said(result)
    assert (result.code, line["level"], line["kind"]) == (11, "warning", "LeaseHeldError")
    assert not [each for each in lines_of(result) if each["level"] == "error"]


@pytest.mark.parametrize(
    ("act", "cause"), [("_kill", "SIGKILL"), ("_fail", "internal error: ValueError at ")]
)
def test_a_worker_that_dies_is_a_line_whatever_ends_it(workplace: Workplace, act: str, cause: str) -> None:
    workplace.export(events=40, hours=1)
    key = workplace.files()[0].relative_to(workplace.source).as_posix()
    result = workplace.do("run", **poison(workplace.folder, {key: act}))
    died = [line for line in lines_of(result) if line["message"].startswith("a worker process died")]
    assert result.code == 3
    assert died
    assert all(line["cause"].startswith(cause) for line in died)
    assert "ann@people.example" not in result.err


def test_an_internal_error_is_a_line_with_its_traceback_where_that_is_asked_for(
    command_line: Do, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("it broke")

    monkeypatch.setattr("braze_etl.commands.config.json_schema", fail)
    monkeypatch.setenv("BRAZE_ETL_LOG_FORMAT", "json")
    code, _, err = command_line("config", "schema")
    (line,) = map(json.loads, err.splitlines())
    assert (code, line["command"]) == (1, "config")
    assert line["error"] == "internal error: RuntimeError: it broke"
    monkeypatch.setenv("BRAZE_ETL_DEBUG", "1")
    with pytest.raises(AssertionError, match="Traceback"):
        command_line("config", "schema")


def test_what_python_warns_of_and_what_ends_a_thread_are_lines(
    command_line: Do, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    logging.captureWarnings(capture=False)  # pytest has put its own hook in place of ours
    monkeypatch.setenv("BRAZE_ETL_LOG_FORMAT", "json")
    command_line("--version")
    warnings.warn("old", UserWarning, stacklevel=1)
    thread = threading.Thread(target=lambda: 1 / 0, name="t1")
    thread.start()
    thread.join()
    warned, failed = map(json.loads, capsys.readouterr().err.splitlines())
    assert (warned["level"], warned["logger"]) == ("warning", "py.warnings")
    assert (failed["level"], failed["thread"]) == ("error", "t1")
    assert "ZeroDivisionError" in failed["exception"]


def test_the_sandbox_says_where_it_listens_in_words_that_programs_read(workplace: Workplace) -> None:
    process = workplace.start("sandbox", "--port", "0")
    assert process.stderr is not None
    assert re.fullmatch(r"sandbox listens on http://127\.0\.0\.1:\d+\n", process.stderr.readline())
    process.terminate()
    process.communicate()


@pytest.mark.parametrize("asked", ["option", "environment", "terminal"])
def test_people_get_words(workplace: Workplace, asked: str) -> None:
    words = ("run", "-c", "nowhere.yaml")
    if asked == "terminal":
        told = plain(on_a_terminal(workplace, *words)[2])
    elif asked == "option":
        told = workplace.do(*words, "--log-format", "text").err
    else:
        told = workplace.do(*words, BRAZE_ETL_LOG_FORMAT="text").err
    assert told.split()[:4] == ["error:", "the", "configuration", "nowhere.yaml"]
    assert "remedy: Name a YAML file" in told
