"""What the tests of the benchmark share."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def preview() -> Callable[[Path], list[object]]:
    """The events that `braze-etl preview` gives for a file."""

    def run(path: Path) -> list[object]:
        command = [sys.executable, "-m", "braze_etl", "preview", str(path), "-n", "1000"]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        return [json.loads(line) for line in lines]

    return run
