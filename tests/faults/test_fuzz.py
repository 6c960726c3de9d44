"""Mutated files in a process with little memory; `make fuzz N=10000` reads many."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def test_mutated_files_neither_crash_nor_hang_nor_drop_anything_silently() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.faults.fuzz", "500", "20261001"],
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("files=500 ")
