"""The walk of one file, from opened to settled: how many modules a reader has to enter to follow it.

One thread, one file of one block, a worker that is called directly. The profiling hook of Python counts the
modules that are entered, and the distinct ordered pairs of calling and called module: a reader turns a page
for each. What is made once for many files, such as the generated reader, is made before; what stands in for
Amplitude is not counted.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import braze_etl
from braze_etl.engine.tasks import Work
from braze_etl.flows.currents_to_amplitude.reader import EventReader
from braze_etl.state.ledger import LedgerIdentity
from braze_etl.state.sqlite import SqliteLedger
from fixtures.generate import sample_record, write_avro
from tests.engine.test_run import InlinePool, Setting

_ROOT = str(Path(braze_etl.__file__).parent) + "/"
_STAND_IN = f"{_ROOT}sandbox/"
HOUR = "dataexport.prod-01.S3.integration.abc/event_type=users.messages.email.Open/date=2026-10-01-00"
EVENT_TYPE = "users.messages.email.Open"
_LOADING = {"<module>"}
MODULES, PAIRS = 34, 52
"""Before the house was cut by idea, and counted in the same way: 55 and 87."""


class Walk:
    """The modules that were entered, and who called whom."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.pairs: set[tuple[str, str]] = set()

    def begin(self) -> None:
        sys.setprofile(self._note)

    def end(self) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _argument: Any) -> None:
        called = _module_of(frame)
        if event != "call" or called is None or frame.f_code.co_name in _LOADING:
            return
        self.modules.add(called)
        caller = frame.f_back
        while caller is not None and _module_of(caller) is None:
            caller = caller.f_back
        calling = caller and _module_of(caller)
        if calling and calling != called:
            self.pairs.add((calling, called))


class WatchedPool(InlinePool):
    """Has the walk counted from the moment a task is handed over until all of it is settled."""

    walk = Walk()

    def submit(self, task: Work) -> bool:
        self.walk.begin()
        return super().submit(task)

    @property
    def busy(self) -> bool:
        if not (busy := super().busy):
            self.walk.end()
        return busy


def _module_of(frame: FrameType) -> str | None:
    name = frame.f_code.co_filename
    inside = name.startswith(_ROOT) and not name.startswith(_STAND_IN)
    return name.removeprefix(_ROOT) if inside else None


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    folder = tmp_path / "export" / HOUR
    records = [sample_record(EVENT_TYPE, n) for n in range(20)]
    write_avro(folder / "part-0.avro", EVENT_TYPE, records)
    setting = Setting(tmp_path)
    identity = LedgerIdentity("p", "default", "US")
    setting.ledger = SqliteLedger.open(tmp_path / "ledger.db", identity, clock=setting.clock)
    return setting


def test_a_file_is_followed_through_few_modules(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.engine.test_run.EventReader", cache(EventReader))
    setting.run()
    records = [sample_record(EVENT_TYPE, n) for n in range(20, 40)]
    write_avro(setting.source / HOUR / "part-1.avro", EVENT_TYPE, records)
    walk = WatchedPool.walk = Walk()
    monkeypatch.setattr("tests.engine.test_run.InlinePool", WatchedPool)
    assert setting.run().done == 1
    with capsys.disabled():
        print(f"\nthe walk of one file: {len(walk.modules)} modules, {len(walk.pairs)} pairs of modules")
    assert len(walk.modules) <= MODULES
    assert len(walk.pairs) <= PAIRS
