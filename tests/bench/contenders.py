"""Who takes part: this program, what a person would write instead, and what could be installed instead."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.bench.delivery import Contender, Export

DECODE = "fastavro decoding alone"
NAIVE = "naive script"
POOL = "careful script, pool of 2"
SDK = "official Amplitude SDK"
DLT = "dlt, custom destination"
ONE = "braze_etl, 1 worker"
TWO = "braze_etl, 2 workers"


def ours(name: str, workers: int, **amplitude: Any) -> Contender:
    """This program, `braze-etl run`, with a fresh ledger in the folder that it works in."""

    def command(place: Path, export: Export, url: str) -> Sequence[str]:
        return run_command(place, settings(export, url, **amplitude), workers)

    return Contender(name, command)


def settings(export: Export, url: str, **amplitude: Any) -> dict[str, Any]:
    """A configuration for delivering *export* to the sink at *url*, with `amplitude` keys laid over."""
    return {
        "source": {"uri": str(export.folder), "start_at": "2026-10-01"},
        "amplitude": {"region": "US", "api_key": "key", "endpoint": url, **amplitude},
    }


def run_command(place: Path, configuration: dict[str, Any], workers: int) -> Sequence[str]:
    """Write *configuration* into *place*; the command that runs with it there."""
    (place / "config.yaml").write_text(yaml.safe_dump(configuration))
    run = [sys.executable, "-m", "braze_etl", "run", "-c", "config.yaml"]
    return [*run, "--workers", str(workers), "--output", "json"]


def peers(python: Path) -> list[Contender]:
    """The others, run by *python*."""
    quiet = {"RUNTIME__DLTHUB_TELEMETRY": "false"}
    return [
        Contender(DECODE, _script(python, "decode_only"), sends=False),
        Contender(NAIVE, _script(python, "naive")),
        Contender(POOL, _script(python, "pool")),
        Contender(SDK, _script(python, "sdk"), slow=True),
        Contender(DLT, _script(python, "dlt_destination"), slow=True, environ=quiet),
    ]


def all_contenders(python: Path, absent: frozenset[str] = frozenset()) -> list[Contender]:
    """Everybody, in the order of the table, but for those named in *absent*."""
    everybody = [*peers(python), ours(ONE, 1), ours(TWO, 2)]
    return [contender for contender in everybody if contender.name not in absent]


def not_installed(python: Path) -> frozenset[str]:
    """Names of the contenders whose library is not installed where *python* is."""
    needed = {SDK: "amplitude", DLT: "dlt"}
    return frozenset(name for name, module in needed.items() if not _has(python, module))


def _has(python: Path, module: str) -> bool:
    words = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([python, "-c", words], check=False).returncode == 0


def _script(python: Path, name: str) -> Callable[[Path, Export, str], Sequence[str]]:
    def command(_place: Path, export: Export, url: str) -> Sequence[str]:
        return [str(python), "-m", f"tests.bench.peers.{name}", str(export.folder), url]

    return command
