"""What it costs to look for news in a bucket of a million keys, as a whole process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from braze_etl.braze.currents.listing import Listing
from braze_etl.clock import ManualClock, iso
from braze_etl.model import FileSettlement, FileState, Tally
from braze_etl.state.ledger import Backlog, LedgerIdentity
from braze_etl.state.opening import open_ledger
from braze_etl.storage.opening import open_store
from braze_etl.storage.settings import StoreAccess
from tests.volume.list_only_s3 import LAST, TYPES
from tests.volume.measuring import peak_kb

_ROOT = Path(__file__).parents[2]
_SOURCE = "s3://acme/currents"
_LOOKBACK = timedelta(days=7)
_TALLY = Tally(accepted=10)
MOST_CPU = 17.0
"""In units of `yardstick`, for machines differ: 5 seconds of a fast one; a slow one took 8 to 15."""
MOST_MB = 130


@contextmanager
def list_only_s3() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.volume.list_only_s3"]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def know_all(folder: Path, url: str, since: datetime) -> int:
    """Make a ledger that has every file since then as done, and was complete at the last hour."""
    clock = ManualClock(LAST)
    store, prefix = open_store(_SOURCE, access=StoreAccess(endpoint_url=url))
    identity = LedgerIdentity("default", "default", "US")
    files = 0
    uri = f"sqlite:///{folder}/ledger.db"
    with closing(open_ledger(uri, identity, clock=clock, start_at=since)) as ledger:
        found = iter(Listing(store, prefix, since=since))
        while settled := [FileSettlement(ref, FileState.DONE, _TALLY) for ref in islice(found, 10_000)]:
            files += len(settled)
            ledger.settle("run-0", settled, None)
        ledger.record_listing(LAST, Backlog(), 0, complete=True)
        ledger.put_note("reconcile", {"finished_at": iso(LAST)})  # a sweep is not what is measured here
    return files


def lists_asked(url: str) -> int:
    with urlopen(f"{url}/requests") as answer:
        return int(answer.read())


def yardstick() -> float:
    """CPU seconds that this machine takes for some plain Python: 0.3 on a fast one."""
    began, kept = time.process_time(), dict[int, str]()
    for number in range(2_000_000):
        kept[number & 1023] = str(number)
    return time.process_time() - began


def measured(folder: Path) -> tuple[dict[str, Any], float, int]:
    """`braze-etl run`: its report, CPU seconds, and peak memory in MB."""
    command = [sys.executable, "-m", "braze_etl", "run", "-c", "config.yaml", "--output", "json"]
    before = os.times()
    with (folder / "out").open("w") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out)
        peak = 0
        while process.poll() is None:
            peak = max(peak, peak_kb(process.pid))
            time.sleep(0.02)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return json.loads((folder / "out").read_text()), cpu, peak // 1024


@pytest.mark.usefixtures("s3_server")  # for its credentials
def test_news_of_a_million_keys_cost_requests_and_memory_by_the_look_back(tmp_path: Path) -> None:
    with list_only_s3() as url:
        files = know_all(tmp_path, url, LAST - _LOOKBACK - timedelta(days=30))
        settings = {
            "source": {"uri": _SOURCE, "endpoint_url": url, "lookback": "7d", "reconcile_every": "3650d"},
            "amplitude": {"region": "US", "api_key": "any", "endpoint": "http://127.0.0.1:9"},
            "state": {"uri": f"sqlite:///{tmp_path}/ledger.db"},
            "workers": 1,
        }
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
        before = lists_asked(url)
        unit = yardstick()
        report, cpu, peak = measured(tmp_path)
        lists = lists_asked(url) - before
        unit = max(unit, yardstick())
    assert report["exit_code"] == 0
    assert report["files"]["discovered"] == 0
    in_look_back = TYPES * (7 * 24 + 1)
    assert lists <= TYPES + in_look_back / 1000 + 10
    sys.stdout.write(f"\n{files=} {lists=} {cpu=:.2f} s {unit=:.2f} s {peak=} MB\n")
    assert cpu < MOST_CPU * unit
    assert peak < MOST_MB
