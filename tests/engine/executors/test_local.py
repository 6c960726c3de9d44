"""Worker processes of this machine: how they come up, break off, fall silent; the rest is in contracts/."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from braze_etl.clock import ManualClock
from braze_etl.engine.due import DueFile
from braze_etl.engine.executors.local import PATIENCE, PATIENCE_AGAIN, PATIENCE_ALONE, WorkerPool, serve
from braze_etl.engine.flow import Reach, WorkerParts, WorkerSpec
from braze_etl.engine.tasks import Result, Settlement, Task, WorkerDied
from braze_etl.errors import StoreError
from braze_etl.model import FileRef
from tests.engine.executors.obedient import serve_obediently


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(2, serve_obediently, "fine")
    yield pool
    pool.close()


@pytest.fixture
def make_task(make_ref: Callable[..., FileRef]) -> Callable[..., Task]:
    def make(number: int, key: str, attempt: int = 0, files: int = 1) -> Task:
        return Task(number, (DueFile(make_ref(key)),) * files, attempt)

    return make


def events_of(pool: WorkerPool, wanted: int) -> list[Result | WorkerDied]:
    events: list[Result | WorkerDied] = []
    guard = time.monotonic() + 30
    while len(events) < wanted and time.monotonic() < guard:
        events += pool.poll(1.0)
    return events


def test_a_worker_that_never_comes_up_is_told_apart(make_task: Callable[..., Task]) -> None:
    pool = WorkerPool(1, serve_obediently, "broken")
    pool.submit(make_task(1, "a"))
    (death,) = events_of(pool, 1)
    assert isinstance(death, WorkerDied)
    assert death.error == "a worker process could not start (exit code 3)"
    pool.close()


def nothing_to_reach() -> Reach:
    raise StoreError("the source is out of reach")


def nothing_to_open() -> WorkerParts:
    raise StoreError("the source is out of reach")


def test_a_worker_that_can_not_open_what_it_works_with_says_why(make_task: Callable[..., Task]) -> None:
    pool = WorkerPool(1, serve, WorkerSpec(nothing_to_open, nothing_to_reach, __name__))
    pool.submit(make_task(1, "a"))
    (death,) = events_of(pool, 1)
    assert isinstance(death, WorkerDied)
    assert death.error == "a worker process could not start (the source is out of reach)"
    pool.close()


def test_a_worker_that_is_killed_in_the_middle_of_a_settlement_has_died(
    pool: WorkerPool, make_task: Callable[..., Task]
) -> None:
    pool.submit(make_task(1, "break_off"))
    (death,) = events_of(pool, 1)
    assert isinstance(death, WorkerDied)
    assert [task.number for task in death.tasks] == [1]
    assert death.cause == "SIGKILL"


def test_a_worker_that_makes_a_mistake_tells_its_kind_and_place_and_no_record(
    pool: WorkerPool, make_task: Callable[..., Task], capfd: pytest.CaptureFixture[str]
) -> None:
    pool.submit(make_task(1, "fail"))
    (death,) = events_of(pool, 1)
    assert isinstance(death, WorkerDied)
    assert death.cause.startswith("internal error: KeyError at obedient.py:")
    assert "ann" not in death.cause
    assert capfd.readouterr().err == ""


def test_a_worker_ends_over_a_mistake_that_it_can_not_even_tell(
    pool: WorkerPool, make_task: Callable[..., Task]
) -> None:
    pool.submit(make_task(1, "mumble"))
    (death,) = events_of(pool, 1)
    assert isinstance(death, WorkerDied)
    assert death.cause == "exit code 1"


def await_request(pool: WorkerPool) -> None:
    """Poll until a worker has told of one."""
    until = time.monotonic() + 30
    while not any(worker.in_flight for worker in pool._workers) and time.monotonic() < until:
        list(pool.poll(0.1))


def test_a_worker_that_can_take_no_task_ends_with_those_it_has(make_task: Callable[..., Task]) -> None:
    pool = WorkerPool(1, serve_obediently, "fine")
    pool.submit(make_task(1, "hold_the_last_thread"))
    await_request(pool)
    pool.submit(make_task(2, "a"))
    (death,) = events_of(pool, 1)
    assert isinstance(death, WorkerDied)
    assert [task.number for task in death.tasks] == [1, 2]
    assert death.cause.startswith("internal error: RuntimeError at ")
    pool.close()


def test_what_fails_in_who_watches_is_not_taken_for_the_end_of_a_worker(
    make_task: Callable[..., Task],
) -> None:
    def fail(_requests: int) -> None:
        raise OSError("the disk of the log is full")

    pool = WorkerPool(1, serve_obediently, "fine", watch=fail)
    pool.submit(make_task(1, "wait"))
    with pytest.raises(OSError, match="the disk of the log is full"):
        events_of(pool, 1)
    pool.close()


def silent_for(pool: WorkerPool, clock: ManualClock, seconds: float) -> list[Result | WorkerDied]:
    """What the pool tells while so many seconds pass for the parent."""
    events: list[Result | WorkerDied] = []
    for _ in range(int(seconds)):
        clock.advance(1)
        events += pool.poll(0.002)
    return events


@pytest.mark.parametrize(
    ("key", "attempt", "files", "patience"),
    [
        ("stick", 0, 1, PATIENCE),
        ("stick_in_c", 0, 1, PATIENCE),
        ("stick", 1, 1, PATIENCE_ALONE),
        ("stick", 1, 2, PATIENCE_AGAIN),
    ],
)
def test_a_worker_without_a_sign_of_life_is_killed_and_its_tasks_come_back(
    make_task: Callable[..., Task], key: str, attempt: int, files: int, patience: float
) -> None:
    clock = ManualClock(datetime(2026, 11, 24, tzinfo=UTC))
    pool = WorkerPool(1, serve_obediently, "fine", clock=clock)
    pool.submit(make_task(1, "a"))
    (settled,) = events_of(pool, 1)
    assert isinstance(settled, Settlement)
    pool.submit(make_task(2, key, attempt, files))
    assert silent_for(pool, clock, patience - 10) == []
    clock.advance(20 * patience)  # the parent was away, or its machine was
    assert list(pool.poll(0.002)) == []
    events = silent_for(pool, clock, 30)
    (death,) = events or events_of(pool, 1)
    assert isinstance(death, WorkerDied)
    assert [task.number for task in death.tasks] == [2]
    assert death.cause == f"no sign of life for {patience:g} s"
    pool.close()


def test_a_worker_that_waits_for_others_is_left_alone(make_task: Callable[..., Task]) -> None:
    clock = ManualClock(datetime(2026, 11, 24, tzinfo=UTC))
    pool = WorkerPool(1, serve_obediently, "fine", clock=clock)
    pool.submit(make_task(1, "wait"))
    await_request(pool)
    for _ in range(3 * int(PATIENCE)):
        clock.advance(1)
        list(pool.poll(0.002))
        time.sleep(0.001)
    pool.stop()
    (settled,) = events_of(pool, 1)
    assert isinstance(settled, Settlement)
    pool.close()
