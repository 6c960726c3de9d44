"""Large runs, as whole processes: what arrives, and what memory it takes (`make volume`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from fixtures.generate import ExportSpec, generate
from tests.volume.measuring import family, peak_kb
from tests.workplace import balanced, is_to_be_sent

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1800)]

EVENTS = int(os.environ.get("EVENTS", "1000000"))
MOST_MB = 200
FLAT = 1.25
"""Peak memory may differ by so much between small and large runs: allocators are noisy."""


@contextmanager
def sandbox() -> Iterator[str]:
    """The stand-in for Amplitude in a process of its own, keeping ids only."""
    command = [sys.executable, "-m", "braze_etl", "sandbox", "--port", "0", "--hold", "ids"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield process.stderr.readline().split()[-1]
        finally:
            process.terminate()


def measured_run(folder: Path, url: str) -> tuple[dict[str, Any], list[int]]:
    """`braze-etl run` over *folder*: its report, and the peak memory of each of its processes in MB."""
    settings = {
        "source": {"uri": str(folder / "export"), "start_at": "2026-10-01"},
        "amplitude": {"region": "US", "api_key": "any", "endpoint": url},
        "workers": 2,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "braze_etl", "run", "-c", "config.yaml", "--output", "json"]
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=err)
        peaks: dict[int, int] = {}
        while process.poll() is None:
            for pid in family(process.pid):
                peaks[pid] = max(peaks.get(pid, 0), peak_kb(pid))
            time.sleep(0.1)
    return balanced(json.loads((folder / "out").read_text())), sorted(kb // 1024 for kb in peaks.values())


def held_ids(url: str) -> list[str]:
    """The insert_ids that the sandbox holds."""
    with urlopen(f"{url}/events?fields=insert_id") as answer:
        return sorted(json.loads(line)["insert_id"] for line in answer)


def test_a_million_events_arrive_exactly(tmp_path: Path) -> None:
    spec = ExportSpec(
        events=EVENTS,
        hours=24,
        codec="mixed",
        layout="both",
        awkward=0.005,
        duplicates=0.01,
        ids_out=tmp_path / "ids.ndjson",
    )
    summary = generate(tmp_path / "export", spec)
    with (tmp_path / "ids.ndjson").open() as lines:
        expected = sorted({record["id"] for record in map(json.loads, lines) if is_to_be_sent(record)})
    with sandbox() as url:
        report, peaks = measured_run(tmp_path, url)
        assert held_ids(url) == expected
    assert report["exit_code"] == 3
    assert report["events"]["read"] == summary.events
    assert report["files"]["done"] == summary.files
    print(
        f"\n{summary.events:,} events of {summary.files:,} files in {report['seconds']:.1f} s,"
        f" {report['events']['accepted']:,} accepted; peak memory of each process {peaks} MB"
    )
    assert max(peaks) < MOST_MB


@pytest.mark.parametrize("kind", ["records in a file", "files"])
def test_memory_is_flat(tmp_path: Path, kind: str) -> None:
    # The same events either way: few of them would never fill the requests in flight.
    events = 400_000
    per_file = {10: 40_000, 10_000: 40} if kind == "files" else {10_000: 10_000, 100_000: 100_000}
    sizes = {size: {"events": events, "records_per_file": records} for size, records in per_file.items()}
    peaks: dict[int, int] = {}
    for size, spec in sizes.items():
        folder = tmp_path / str(size)
        folder.mkdir()
        options: Any = {"hours": 1, "shape": "opens", "anonymous": 0.0, **spec}
        generate(folder / "export", ExportSpec(**options))
        with sandbox() as url:
            _, of_each = measured_run(folder, url)
        peaks[size] = max(of_each)
    small, large = peaks.values()
    print(f"\n{kind}: {' and '.join(f'{size:,}: {peak} MB' for size, peak in peaks.items())}")
    assert large < MOST_MB
    assert large < small * FLAT + 20
