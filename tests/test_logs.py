from __future__ import annotations

import io
import json
import logging

import pytest

from braze_etl.logs import common_facts, configure_logging, get_logger

log = get_logger("braze_etl.tests")


def test_machines_get_one_json_object_a_line() -> None:
    stream = io.StringIO()
    configure_logging("json", stream)
    log.warning("file set aside", key="a/b", events=3)
    line = json.loads(stream.getvalue())
    assert (line["level"], line["message"]) == ("warning", "file set aside")
    assert (line["key"], line["events"]) == ("a/b", 3)
    assert line["time"].endswith("Z")


def test_every_json_line_says_which_run_it_belongs_to() -> None:
    stream = io.StringIO()
    configure_logging("json", stream)
    with common_facts(pipeline="eu"), common_facts(run_id="r1"):
        log.info("inside", files=1)
    log.info("outside")
    inside, outside = map(json.loads, stream.getvalue().splitlines())
    assert (inside["pipeline"], inside["run_id"], inside["files"]) == ("eu", "r1", 1)
    assert "run_id" not in outside


def test_people_get_text() -> None:
    stream = io.StringIO()
    configure_logging("text", stream)
    with common_facts(run_id="r1"):
        log.info("task settled", files=2, reasons={"held": 1})
    log.error("key refused")
    assert 'task settled  files=2  reasons={"held":1}\n' in stream.getvalue()
    assert "error: key refused" in stream.getvalue()


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_value_can_not_forge_a_line(form: str) -> None:
    stream = io.StringIO()
    configure_logging("json" if form == "json" else "text", stream)
    log.info("file settled", key="a\n2026-10-01 error: key refused")
    assert len(stream.getvalue().splitlines()) == 1


def test_the_level_says_what_is_left_out() -> None:
    stream = io.StringIO()
    configure_logging("text", stream, "warning")
    log.info("progress")
    log.warning("look")
    details = [log.tells_details]
    configure_logging("text", stream, "debug")
    log.debug("one of many")
    assert [*details, log.tells_details] == [False, True]
    assert [line.split(": ")[-1] for line in stream.getvalue().splitlines()] == ["look", "one of many"]


def test_lines_go_where_stderr_is_at_the_moment(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("text")
    log.info("hello")
    assert "hello" in capsys.readouterr().err


def test_other_libraries_speak_only_to_warn_and_in_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    configure_logging("json", stream)
    configure_logging("json", stream)
    logging.getLogger("botocore").setLevel(logging.INFO)
    logging.getLogger("botocore").info("noise")
    logging.getLogger("urllib3").warning("connection lost")
    line = json.loads(stream.getvalue())
    assert (line["message"], line["logger"]) == ("connection lost", "urllib3")
    assert capsys.readouterr().err == ""
