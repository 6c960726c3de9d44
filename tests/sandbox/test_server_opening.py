"""The sandbox as a command opens it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from braze_etl.sandbox.amplitude.cohorts import load_cohorts
from braze_etl.sandbox.faults import FaultFileError
from braze_etl.sandbox.server import open_sandbox


def test_it_opens_with_a_fault_script(tmp_path: Path) -> None:
    script = tmp_path / "faults.yaml"
    script.write_text("- do: {reply: {status: 503}}", encoding="utf-8")
    with open_sandbox(port=0, faults_file=script) as server:
        assert requests.post(server.url + "/batch", data=b"{}", timeout=10).status_code == 503


def test_it_holds_to_the_key_it_is_given() -> None:
    body = {"api_key": "other", "events": [{"event_type": "x", "user_id": "user-1"}]}
    with open_sandbox(port=0, api_key="key", hold="ids") as server:
        reply = requests.post(server.url + "/batch", json=body, timeout=10)
    assert reply.json()["error"] == "Invalid API key: other"


def test_a_bad_script_binds_no_port(tmp_path: Path) -> None:
    with pytest.raises(FaultFileError):
        open_sandbox(port=0, faults_file=tmp_path / "missing.yaml")


def test_the_command_opens_what_its_options_say(tmp_path: Path) -> None:
    cohorts = tmp_path / "cohorts.json"
    cohorts.write_text(json.dumps([{"id": 7, "members": [{"amplitude_id": 1}], "name": "High value"}]))
    options = "--port 0 --api-key key --secret-key secret --export-delay 0s --drop-event-type x"
    command = [sys.executable, "-m", "braze_etl", "sandbox", *options.split()]
    command += ["--drop-user", "user-2", "--cohorts", str(cohorts)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        url = process.stderr.readline().split()[-1]
        try:
            kinds = [("x", "user-1"), ("y", "user-1"), ("y", "user-2")]
            events = [{"event_type": kind, "user_id": user} for kind, user in kinds]
            sent = requests.post(f"{url}/batch", json={"api_key": "key", "events": events}, timeout=10)
            stats = requests.get(f"{url}/stats", timeout=10).json()
            listed = requests.get(f"{url}/api/3/cohorts", auth=("key", "secret"), timeout=10)
            refused = requests.get(f"{url}/api/3/cohorts", auth=("key", "other"), timeout=10)
        finally:
            process.terminate()
    assert (sent.json()["events_ingested"], stats["by_event_type"]) == (3, {"y": 1})
    [cohort] = listed.json()["cohorts"]
    assert (cohort["id"], cohort["name"], cohort["size"]) == ("7", "High value", 1)
    assert refused.status_code == 403


@pytest.mark.parametrize("text", ["{}", "[1]", "[{}]", "no", ""])
def test_a_file_that_holds_no_cohorts_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cohorts.json"
    path.write_text(text)
    with pytest.raises(ValueError):
        load_cohorts(path)
