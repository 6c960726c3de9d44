"""SIGTERM, SIGINT and `--max-runtime`: what is in flight is settled, saved, and the rest is left."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

import pytest

from tests.faults.conftest import SMALL, deliver_all, nothing_is_lost
from tests.faults.processes import session, wait_until
from tests.workplace import Workplace, balanced, ended

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

_PROMISED = 1.0 + 2.0
"""Seconds: the request time-out of the configuration, plus two."""
_MACHINE = 3.0
"""Seconds that a busy test machine may add."""

SIGNALS: dict[str, tuple[Callable[[int, int], None], int, int]] = {
    "SIGTERM": (os.kill, signal.SIGTERM, 143),
    "SIGINT": (os.kill, signal.SIGINT, 130),
    "SIGTERM to the whole group": (os.killpg, signal.SIGTERM, 143),
    "SIGINT to the whole group": (os.killpg, signal.SIGINT, 130),
}


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_stops_the_run_soon_and_what_was_in_flight_is_not_sent_again(
    place: Workplace, name: str
) -> None:
    send, signum, code = SIGNALS[name]
    written = place.export(events=2000, hours=1, duplicates=0, records_per_file=50)
    place.configure(amplitude={**SMALL, "concurrency": 2}, workers=2)
    place.inject("- when: {after: 1}\n  do: {delay: 0.4}")
    process = place.start("run", "--output", "json")
    wait_until(lambda: place.amplitude.stats()["events_held"] > 200, "events arrive")
    began = time.monotonic()
    send(process.pid, signum)
    result = ended(process)
    assert time.monotonic() - began < _PROMISED + _MACHINE
    assert result.code == code, result
    report = balanced(result.json)
    assert report["events"]["accepted"] == len(place.accepted_ids())
    assert report["files"]["remaining"] > 0
    wait_until(lambda: not session(process.pid), "every process is gone")
    deliver_all(place)
    nothing_is_lost(place, written)


def test_a_second_signal_ends_the_run_at_once_and_loses_nothing(place: Workplace) -> None:
    written = place.export(events=600, hours=1, duplicates=0)
    place.configure(amplitude={**SMALL, "timeout": "60s", "give_up_after": "1h"}, workers=1)
    place.inject("- when: {after: 2}\n  do: {hang: 60}")
    process = place.start("run", "--output", "json")
    wait_until(lambda: place.amplitude.stats()["requests"].get("hang", 0) > 0, "a request hangs")
    began = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    os.kill(process.pid, signal.SIGINT)
    process.communicate()
    assert time.monotonic() - began < _MACHINE
    assert process.returncode in (130, 143)
    wait_until(lambda: not session(process.pid), "the workers leave too")
    place.configure(amplitude=SMALL)
    deliver_all(place)
    nothing_is_lost(place, written)


def test_the_same_signal_twice_in_a_row_is_one_and_the_stop_is_clean(place: Workplace) -> None:
    place.export(events=600, hours=1, duplicates=0)
    place.configure(amplitude={**SMALL, "give_up_after": "1h"}, workers=1)
    place.inject("- when: {after: 2}\n  do: {delay: 0.5}")
    process = place.start("run", "--output", "json")
    wait_until(lambda: place.amplitude.stats()["requests"].get("200", 0) > 0, "something is accepted")
    for _ in range(2):
        os.kill(process.pid, signal.SIGTERM)
    result = ended(process)
    assert (result.code, result.json["exit_code"]) == (143, 143)


def test_a_run_that_waits_out_a_back_off_stops_at_once_too(place: Workplace) -> None:
    place.export(events=300, hours=1)
    place.configure(amplitude={**SMALL, "give_up_after": "1h"}, workers=1)
    place.inject("- when: {after: 1}\n  do: {reply: {status: 503, headers: {Retry-After: 3600}}}")
    process = place.start("run", "--output", "json")
    wait_until(lambda: place.amplitude.stats()["requests"].get("503", 0) > 0, "a request is refused")
    began = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    assert ended(process).code == 143
    assert time.monotonic() - began < _PROMISED + _MACHINE


def test_the_longest_runtime_stops_cleanly_with_exit_4(place: Workplace) -> None:
    written = place.export(events=2000, hours=1, duplicates=0, records_per_file=50)
    place.configure(amplitude={**SMALL, "concurrency": 1}, workers=1)
    place.inject("- when: {after: 1}\n  do: {delay: 0.5}")
    report = place.run("--max-runtime", "2s")
    assert report["exit_code"] == 4
    assert report["files"]["remaining"] > 0
    assert report["events"]["accepted"] == len(place.accepted_ids())
    deliver_all(place)
    nothing_is_lost(place, written)
