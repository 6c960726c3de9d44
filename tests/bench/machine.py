"""What the figures depend on: the machine, the versions, and the environment of the peers."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import braze_etl

_REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_NAMED = ("fastavro", "orjson", "requests", "isal")


def peers_python(folder: Path) -> Path | None:
    """The interpreter of the peers' environment below *folder*, made when it is missing or out of date.

    None when its packages can't be installed, as without a network; pip has then said why.
    """
    venv, stamp = folder / "venv", folder / "venv/requirements.txt"
    python = venv / "bin/python"
    if stamp.exists() and stamp.read_bytes() == _REQUIREMENTS.read_bytes():
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if subprocess.run([*pip, "-r", str(_REQUIREMENTS)], check=False).returncode:
        return None
    shutil.copyfile(_REQUIREMENTS, stamp)
    return python


def description() -> list[str]:
    """The machine and the versions, a line each."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    libraries = ", ".join(f"{name} {version(name)}" for name in _NAMED)
    peers = ", ".join(line for line in _REQUIREMENTS.read_text().splitlines() if not line.startswith("#"))
    return [
        f"{os.cpu_count()} cores ({_processor()}), {platform.system()} {platform.machine()}",
        f"load at the start: {load}",
        f"Python {platform.python_version()}, braze_etl {braze_etl.__version__}, {libraries}",
        f"peers: {peers}",
    ]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
