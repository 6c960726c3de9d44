from __future__ import annotations

import io
import json
import logging

import pytest

from braze_etl.telemetry import configure_logging, get_logger

log = get_logger("braze_etl.tests")


def test_machines_get_one_json_object_a_line() -> None:
    stream = io.StringIO()
    configure_logging("json", stream)
    log.warning("file set aside", key="a/b", events=3)
    line = json.loads(stream.getvalue())
    assert (line["level"], line["message"]) == ("warning", "file set aside")
    assert (line["key"], line["events"]) == ("a/b", 3)
    assert line["time"].endswith("Z")


def test_people_get_text() -> None:
    stream = io.StringIO()
    configure_logging("text", stream)
    log.info("task settled", files=2)
    log.error("key refused")
    assert "task settled  files=2" in stream.getvalue()
    assert "error: key refused" in stream.getvalue()


def test_other_libraries_do_not_mix_in(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    configure_logging("json", stream)
    logging.getLogger("botocore").info("noise")
    assert stream.getvalue() == ""
    assert capsys.readouterr().err == ""
