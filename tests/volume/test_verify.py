"""A verification of very many events, as a whole process: what it finds, its time and its memory."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml

from fixtures.generate import ExportSpec, generate
from tests.bench.process import background
from tests.volume.measuring import family
from tests.workplace import is_to_be_sent

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1800)]

EVENTS = int(os.environ.get("EVENTS", "1000000"))
OTHERS = 2
"""Events of others for each of ours."""
MOST_SECONDS, MOST_MB = 60.0, 150
LOST = 1000
A_FILE = 250_000


def exported(ids: list[str], hour: str) -> Iterator[bytes]:
    """Lines of a raw export: all but every thousandth of ours, and those of others."""
    common = {
        "server_upload_time": f"{hour}:30:00.000000",
        "event_time": f"{hour}:29:59.123000",
        "uuid": "0f3b2c1a-7d5e-11f0-9d0b-0a58a9feac02",
        "device_id": "b5a2f9e0c1d34d7f8a6b0c9d8e7f6a5b",
        "user_id": "user-0123456789",
        "event_properties": {f"property {number}": f"value {number}" for number in range(12)},
        "user_properties": {f"trait {number}": number for number in range(6)},
        "groups": {},
        "data": {"path": "/batch"},
        "country": "Germany",
        "platform": None,
        "amplitude_id": 123456789012,
    }
    ours, theirs = (
        json.dumps({"$insert_id": "@ID@", "event_type": kind, "library": library, **common}).encode() + b"\n"
        for kind, library in (("ours", "Braze"), ("other", "amplitude-ts/2.0"))
    )
    for number, insert_id in enumerate(ids):
        if number % LOST:
            yield ours.replace(b"@ID@", insert_id.encode(), 1)
        for other in range(OTHERS):
            yield theirs.replace(b"@ID@", str(UUID(int=number * OTHERS + other)).encode(), 1)


def write_raw_export(folder: Path, ids: list[str], now: datetime) -> None:
    folder.mkdir()
    lines = exported(ids, f"{now:%Y-%m-%d %H}")
    for part in range(len(ids) * (OTHERS + 1) // A_FILE + 1):
        with gzip.open(folder / f"1_{now:%Y-%m-%d}_{now.hour}#{part}.json.gz", "wb", compresslevel=1) as file:
            for _, line in zip(range(A_FILE), lines, strict=False):
                file.write(line)


def measured(command: list[str], folder: Path) -> tuple[dict[str, Any], float, int]:
    """Run a command; its JSON, its seconds, and the most memory in MB of all its processes at once."""
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=err)
        most = 0
        while process.poll() is None:
            most = max(most, sum(map(own_kb, family(process.pid))))
            time.sleep(0.05)
        seconds = time.monotonic() - began
    return json.loads((folder / "out").read_text()), seconds, most // 1024


def own_kb(pid: int) -> int:
    """What memory a process has, its share of what it has in common with others."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def test_a_million_events_are_verified_against_three_million(tmp_path: Path) -> None:
    ids = tmp_path / "ids.ndjson"
    generate(tmp_path / "export", ExportSpec(events=EVENTS, hours=24, ids_out=ids))
    with ids.open() as lines:
        expected = sorted({record["id"] for record in map(json.loads, lines) if is_to_be_sent(record)})
    command = [sys.executable, "-m", "braze_etl"]
    with background([sys.executable, "-m", "tests.bench.sink", "--latency", "0"], cwd=Path.cwd()) as url:
        settings = {
            "source": {"uri": "export", "start_at": "2026-10-01"},
            "amplitude": {"region": "US", "api_key": "any", "endpoint": url},
            "workers": 2,
        }
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
        run = subprocess.run([*command, "run", "-c", "config.yaml"], cwd=tmp_path, check=False)
    assert run.returncode == 0
    write_raw_export(tmp_path / "raw", expected, datetime.now(UTC))
    hours = ("--from", "2026-10-01", "--to", "2026-10-03", "--settle", "0s")
    options = ("-c", "config.yaml", *hours, "--export", "raw", "--output", "json")
    facts, seconds, peak = measured([*command, "verify", *options], tmp_path)
    missing = len(range(0, len(expected), LOST))
    print(
        f"\n{len(expected):,} expected against {len(expected) * (OTHERS + 1) - missing:,} exported"
        f" in {seconds:.1f} s; {peak} MB in all processes; {facts['downloaded'] / 1e6:,.0f} MB read"
    )
    assert facts["total"]["missing"] == missing
    assert facts["total"]["present"] == len(expected) - missing
    assert facts["foreign"] == {"amplitude-ts/2.0": OTHERS * len(expected)}
    assert seconds < MOST_SECONDS
    assert peak < MOST_MB
