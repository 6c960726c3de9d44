"""The sandbox as a command opens it."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

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
