"""Real processes, as in a run."""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import pytest

from braze_etl.model import FileRef, FileSettlement, FileState
from braze_etl.run.finding.due import DueFile
from braze_etl.run.working.pool import QUIT, READY, STOP, Died, WorkerPool
from braze_etl.run.working.tasks import Settlement, Task


def obedient(pipe: Connection, blueprint: str) -> None:
    """A worker whose files tell it what to do."""
    if blueprint == "broken":
        os._exit(3)
    pipe.send(READY)
    held: list[Task] = []
    while (message := pipe.recv()) != QUIT:
        if message == STOP:
            for task in held:
                pipe.send(Settlement(task.number, [FileSettlement(due.ref, None) for due in task.files]))
            held.clear()
            continue
        key = message.files[0].ref.key
        if key == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif key == "break off":
            os.write(pipe.fileno(), struct.pack("!i", 1000) + b"the beginning of a settlement")
            os.kill(os.getpid(), signal.SIGKILL)
        elif key == "hold":
            held.append(message)
        else:
            pipe.send(Settlement(message.number, [FileSettlement(message.files[0].ref, FileState.DONE)]))


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(2, obedient, "fine")
    yield pool
    pool.close()


@pytest.fixture
def make_task(make_ref: Callable[..., FileRef]) -> Callable[..., Task]:
    def make(number: int, key: str, attempt: int = 0) -> Task:
        return Task(number, (DueFile(make_ref(key)),), attempt)

    return make


def events_of(pool: WorkerPool, wanted: int) -> list[Settlement | Died]:
    events: list[Settlement | Died] = []
    guard = time.monotonic() + 30
    while len(events) < wanted and time.monotonic() < guard:
        events += pool.poll(1.0)
    return events


def test_tasks_come_back_settled(pool: WorkerPool, make_task: Callable[..., Task]) -> None:
    assert pool.submit(make_task(1, "a"))
    assert pool.submit(make_task(2, "b"))
    events = events_of(pool, 2)
    assert sorted(event.task for event in events if isinstance(event, Settlement)) == [1, 2]
    assert not pool.busy


def test_a_worker_holds_two_tasks_at_most(pool: WorkerPool, make_task: Callable[..., Task]) -> None:
    taken = [pool.submit(make_task(number, "hold")) for number in range(5)]
    assert taken == [True, True, True, True, False]
    pool.stop()
    assert len(events_of(pool, 4)) == 4


def test_the_parent_learns_which_tasks_died_and_goes_on(
    pool: WorkerPool, make_task: Callable[..., Task]
) -> None:
    pool.submit(make_task(1, "die"))
    (death,) = events_of(pool, 1)
    assert isinstance(death, Died)
    assert ([task.number for task in death.tasks], death.cause, death.error) == ([1], "SIGKILL", None)
    pool.submit(make_task(2, "a"))
    (settled,) = events_of(pool, 1)
    assert isinstance(settled, Settlement)


def test_a_task_that_is_tried_again_runs_alone(pool: WorkerPool, make_task: Callable[..., Task]) -> None:
    assert pool.submit(make_task(1, "hold", 1))
    assert pool.submit(make_task(2, "hold", 1))
    assert not pool.submit(make_task(3, "hold"))
    pool.stop()
    events_of(pool, 2)


def test_a_worker_that_never_comes_up_is_told_apart(make_task: Callable[..., Task]) -> None:
    pool = WorkerPool(1, obedient, "broken")
    pool.submit(make_task(1, "a"))
    (death,) = events_of(pool, 1)
    assert isinstance(death, Died)
    assert death.error == "a worker process could not start (exit code 3)"
    pool.close()


def test_a_worker_that_is_killed_in_the_middle_of_a_settlement_has_died(
    pool: WorkerPool, make_task: Callable[..., Task]
) -> None:
    pool.submit(make_task(1, "break off"))
    (death,) = events_of(pool, 1)
    assert isinstance(death, Died)
    assert [task.number for task in death.tasks] == [1]
    assert death.cause == "SIGKILL"
