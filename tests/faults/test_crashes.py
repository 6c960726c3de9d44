"""SIGKILL is SIGKILL: any process of a run, while requests are in flight, and then a run at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest

from braze_etl.sandbox.amplitude.project import Project
from braze_etl.sandbox.amplitude.replies import Reply
from tests.faults.conftest import SMALL, Picky, deliver_all, nothing_is_lost
from tests.faults.processes import fork_server, kill, session, wait_until, workers
from tests.workplace import KEY, Workplace, ended

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

SLOW = "- do: {delay: 0.2}"


def wait_for_progress(place: Workplace, events: int = 200) -> None:
    wait_until(lambda: place.amplitude.stats()["events_held"] >= events, f"{events} events arrive")


def _parent(pid: int) -> None:
    kill(pid)


def _group(pid: int) -> None:
    os.killpg(pid, signal.SIGKILL)


@pytest.mark.parametrize("victim", [_parent, _group], ids=["the parent", "the whole group"])
def test_after_a_kill_a_run_at_once_delivers_all_and_repeats_only_what_was_in_flight(
    place: Workplace, victim: Callable[[int], None]
) -> None:
    written = place.export(events=1500, hours=1, duplicates=0, records_per_file=100)
    place.configure(amplitude=SMALL, workers=2)
    place.inject(SLOW)
    process = place.start("run", "--output", "json")
    wait_for_progress(place)
    victim(process.pid)
    _, err = process.communicate()
    assert "Traceback" not in err
    wait_until(lambda: not session(process.pid), "the workers notice that their parent is gone")
    wait_until(lambda: place.amplitude.stats()["in_flight"] == 0, "the last requests end")
    before = place.amplitude.stats()["events_held"]
    assert before < len(written.must_arrive())

    report = deliver_all(place)
    assert report["exit_code"] == 0
    nothing_is_lost(place, written)
    assert place.amplitude.stats()["duplicates"] <= before


def test_a_killed_worker_costs_nothing_but_its_tasks_tried_again(place: Workplace) -> None:
    written = place.export(events=1500, hours=1, duplicates=0, records_per_file=100)
    place.configure(amplitude=SMALL, workers=2)
    place.inject(SLOW)
    process = place.start("run", "--output", "json")
    wait_for_progress(place)
    kill(workers(process.pid)[0])
    result = ended(process)
    assert result.code == 0, result
    assert "a worker process died" in result.err
    nothing_is_lost(place, written)


def test_a_killed_fork_server_costs_no_more_than_its_workers(place: Workplace) -> None:
    written = place.export(events=1500, hours=1, duplicates=0, records_per_file=100)
    place.configure(amplitude=SMALL, workers=2)
    place.inject(SLOW)
    process = place.start("run", "--output", "json")
    wait_for_progress(place)
    server = fork_server(process.pid)
    assert server is not None
    kill(server)
    result = ended(process)
    assert result.code == 0, result
    nothing_is_lost(place, written)


def test_a_file_that_kills_two_workers_is_set_aside_and_the_others_arrive(place: Workplace) -> None:
    written = place.export(events=350, hours=1, duplicates=0, records_per_file=100)
    deadly = next(record for record in written.records if record["id"] == written.must_arrive()[150])
    leaders: list[int] = []

    def kill_who_sends_it(events: list[dict[str, Any]]) -> Reply | None:
        if any(event["insert_id"] == deadly["id"] for event in events):
            for pid in workers(leaders[0]):
                kill(pid)
            return Reply(503, {"code": 503})
        return None

    place.become(Picky(kill_who_sends_it))
    process = place.start("run", "--output", "json")
    leaders.append(process.pid)
    result = ended(process)
    assert result.code == 3, result
    assert result.json["files"]["failed"] == 1
    assert result.json["reasons"]["unreadable_file"] == 1
    entry = place.do("quarantine", "list", "--output", "json").json["entries"][0]
    assert entry["key"] == deadly["key"]
    assert "ended a worker process" in entry["detail"]
    others = written.where(lambda record: record["key"] != deadly["key"])
    assert place.accepted_ids() == written.must_arrive(others)


def test_a_run_that_finds_another_at_work_is_told_by_whom_and_touches_nothing(place: Workplace) -> None:
    written = place.export(events=600, hours=1, duplicates=0)
    place.configure(amplitude={**SMALL, "max_events": 10, "concurrency": 1}, workers=1)
    place.inject("- do: {delay: 0.8}")
    first = place.start("run", "--output", "json")
    wait_for_progress(place, 1)
    second = place.do("run", "--output", "json")
    assert second.code == 11
    assert f"process {first.pid}" in second.error["message"]
    accepted = place.do("run", "--output", "json", "--ok-exit", "3,11")
    assert (accepted.code, accepted.json["exit_code"]) == (0, 11)
    assert f"process {first.pid}" in accepted.error["message"]
    place.recover()
    assert ended(first).code == 0
    nothing_is_lost(place, written)
    assert place.amplitude.stats()["duplicates"] == 0


def test_a_worker_that_can_not_start_fails_the_run_and_no_file(place: Workplace) -> None:
    written = place.export(events=100, hours=1)
    place.become(Project(api_key=KEY))
    (place.folder / "sitecustomize.py").write_text(
        "import os, sys\nif any('forkserver' in word for word in sys.orig_argv):\n    os._exit(9)\n"
    )
    result = place.do("run", "--output", "json", PYTHONPATH=str(place.folder))
    assert result.code == 1, result
    assert result.json["files"]["remaining"] == result.json["files"]["discovered"]
    deliver_all(place)
    nothing_is_lost(place, written)
