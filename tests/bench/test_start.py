"""The start of a run: what has to wait for nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

_SLOW = ("pydantic", "yaml", "rich", "boto3", "requests", "fastavro")


@pytest.mark.parametrize("command", ["run", "backfill"])
def test_nothing_slow_is_imported_before_the_fork_server_starts(command: str) -> None:
    modules = f"import sys, braze_etl.__main__, braze_etl.commands.{command}"
    words = f"{modules}; print(*sorted(set(sys.modules) & {set(_SLOW)}))"
    done = subprocess.run([sys.executable, "-c", words], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
