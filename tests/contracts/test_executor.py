"""What every executor does with tasks, whatever its workers are and wherever they run.

A new executor is a line in `EXECUTORS`: how one of so many processes is made, whose workers do what the keys
of their files say (tests/engine/executors/obedient.py). `inline` has threads for processes; `dask` has two
machines of one process each, and one of them where one process is wanted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import pytest
from pydantic import BaseModel

from braze_etl.config.unresolved import Unresolved
from braze_etl.engine.due import DueFile
from braze_etl.engine.executors.dask import Cluster
from braze_etl.engine.executors.local import WorkerPool
from braze_etl.engine.executors.machines import DaskPool
from braze_etl.engine.executors.shipment import Shipment
from braze_etl.engine.flow import Executor
from braze_etl.engine.tasks import Findings, Inspection, Result, Settlement, Task, WorkerDied
from braze_etl.model import FileRef, FileState
from tests.cluster import DaskCluster, await_machines
from tests.engine.executors.inline import Inline, Run
from tests.engine.executors.obedient import obedient, prove_fine, serve_fine, serve_obediently

Open: TypeAlias = Callable[[int], Executor]
MakeTask: TypeAlias = Callable[..., Task]


def mortal(stop: threading.Event) -> Run:
    def die() -> None:
        raise MemoryError

    return obedient(stop, die=die)


def on_machines(cluster: DaskCluster, processes: int) -> DaskPool:
    settings = Unresolved(BaseModel, {}, "")
    shipment = Shipment.of(serve_fine, prove_fine, serve_fine.__module__, settings)
    pool = DaskPool(Cluster(cluster.scheduler), shipment, most=processes)
    await_machines(pool, processes)
    return pool


EXECUTORS: dict[str, Callable[[pytest.FixtureRequest, int], Executor]] = {
    "inline": lambda _, processes: Inline(processes, mortal),
    "local": lambda _, processes: WorkerPool(processes, serve_obediently, "fine"),
    "dask": lambda request, processes: on_machines(request.getfixturevalue("dask_cluster"), processes),
}
GROUPS = {"dask": [pytest.mark.xdist_group("dask")]}


@pytest.fixture(params=[pytest.param(name, marks=GROUPS.get(name, [])) for name in EXECUTORS])
def open_executor(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Makes executors, which are killed afterwards unless they were closed."""
    opened: list[Executor] = []

    def make(processes: int) -> Executor:
        opened.append(EXECUTORS[request.param](request, processes))
        return opened[-1]

    yield make
    for executor in opened:
        executor.kill()


@pytest.fixture
def make_task(make_ref: Callable[..., FileRef]) -> MakeTask:
    def make(number: int, key: str, attempt: int = 0, *, trial: bool = False) -> Task:
        return Task(number, (DueFile(make_ref(key)),), attempt, trial=trial)

    return make


def events_of(executor: Executor, wanted: int) -> list[Result | WorkerDied]:
    """The next events: so many, or those of half a minute."""
    events: list[Result | WorkerDied] = []
    until = time.monotonic() + 30
    while len(events) < wanted and time.monotonic() < until:
        events += executor.poll(1.0)
    return events


def settled(events: list[Result | WorkerDied]) -> list[int]:
    return sorted(event.task for event in events if isinstance(event, Settlement))


def dead(events: list[Result | WorkerDied]) -> list[int]:
    return sorted(task.number for event in events if isinstance(event, WorkerDied) for task in event.tasks)


def test_tasks_come_back_settled(open_executor: Open, make_task: MakeTask) -> None:
    executor = open_executor(2)
    assert executor.submit(make_task(1, "a"))
    assert executor.submit(make_task(2, "b"))
    assert executor.busy
    assert settled(events_of(executor, 2)) == [1, 2]
    assert not executor.busy


def test_a_process_holds_two_tasks_at_most(open_executor: Open, make_task: MakeTask) -> None:
    executor = open_executor(2)
    taken = [executor.submit(make_task(number, "hold")) for number in range(5)]
    assert taken == [True, True, True, True, False]
    executor.stop()
    assert settled(events_of(executor, 4)) == [0, 1, 2, 3]
    assert executor.submit(make_task(4, "a"))


@pytest.mark.parametrize("again", [{"attempt": 1}, {"trial": True}], ids=["tried again", "on trial"])
def test_a_task_that_is_tried_again_runs_alone(
    open_executor: Open, make_task: MakeTask, again: dict[str, int]
) -> None:
    executor = open_executor(2)
    assert executor.submit(make_task(1, "hold", **again))
    assert executor.submit(make_task(2, "hold", **again))
    assert not executor.submit(make_task(3, "hold"))
    executor.stop()
    assert settled(events_of(executor, 2)) == [1, 2]


def test_a_task_that_has_to_run_alone_finds_no_room_beside_another(
    open_executor: Open, make_task: MakeTask
) -> None:
    executor = open_executor(1)
    assert executor.submit(make_task(1, "hold"))
    assert not executor.submit(make_task(2, "hold", 1))


def test_a_death_names_the_tasks_of_that_process_and_no_other(
    open_executor: Open, make_task: MakeTask
) -> None:
    executor = open_executor(2)
    # The least busy process gets the next one: 1 and 3 share a process, and so do 2 and 4.
    for number, key in enumerate(["hold", "hold", "hold", "die"], 1):
        assert executor.submit(make_task(number, key))
    (death,) = events_of(executor, 1)
    assert isinstance(death, WorkerDied)
    assert (dead([death]), death.error) == ([2, 4], None)
    assert death.cause
    executor.stop()
    assert settled(events_of(executor, 2)) == [1, 3]


def test_after_a_death_it_goes_on(open_executor: Open, make_task: MakeTask) -> None:
    executor = open_executor(1)
    executor.submit(make_task(1, "die"))
    assert dead(events_of(executor, 1)) == [1]
    assert executor.submit(make_task(2, "a"))
    assert settled(events_of(executor, 1)) == [2]


def test_what_is_stopped_comes_back_without_a_claim(open_executor: Open, make_task: MakeTask) -> None:
    executor = open_executor(1)
    executor.submit(make_task(1, "a"))
    executor.submit(make_task(2, "hold"))
    executor.stop()
    states = {
        event.task: [each.state for each in event.files]
        for event in events_of(executor, 2)
        if isinstance(event, Settlement)
    }
    assert states == {1: [FileState.DONE], 2: [None]}


@pytest.mark.parametrize("key", ["hold", "stick"])
def test_a_killed_one_names_what_it_held_and_holds_nothing(
    open_executor: Open, make_task: MakeTask, key: str
) -> None:
    executor = open_executor(1)
    executor.submit(make_task(1, "a"))
    events_of(executor, 1)
    executor.submit(make_task(2, key))
    assert dead(list(executor.kill())) == [2]
    assert not executor.busy


def keys(files: Sequence[DueFile], _parts: object, _life: object) -> list[str]:
    """A question about files: which they are."""
    return [due.ref.key for due in files]


@pytest.fixture
def make_inspection(make_ref: Callable[..., FileRef]) -> Callable[..., Inspection]:
    def make(number: int, *names: str, attempt: int = 0) -> Inspection:
        return Inspection(number, tuple(DueFile(make_ref(name)) for name in names), keys, attempt)

    return make


def test_an_inspection_comes_back_with_its_answer_also_beside_a_task(
    open_executor: Open, make_task: MakeTask, make_inspection: Callable[..., Inspection]
) -> None:
    executor = open_executor(1)
    assert executor.submit(make_inspection(1, "a", "b"))
    assert executor.submit(make_task(2, "c"))
    assert executor.busy
    events = events_of(executor, 2)
    assert [(each.task, each.answer) for each in events if isinstance(each, Findings)] == [(1, ["a", "b"])]
    assert settled(events) == [2]
    assert not executor.busy


def test_an_inspection_takes_the_room_of_a_task_and_one_that_is_tried_again_is_alone(
    open_executor: Open, make_task: MakeTask, make_inspection: Callable[..., Inspection]
) -> None:
    executor = open_executor(1)
    assert executor.submit(make_inspection(1, "hold"))
    assert not executor.submit(make_inspection(2, "a", attempt=1))
    assert executor.submit(make_task(3, "hold"))
    assert not executor.submit(make_inspection(4, "a"))
    executor.stop()
    events = events_of(executor, 2)
    assert [(each.task, each.answer) for each in events if isinstance(each, Findings)] == [(1, None)]
    assert executor.submit(make_inspection(2, "a", attempt=1))


def test_an_inspection_that_kills_its_process_comes_back_with_what_else_that_held(
    open_executor: Open, make_task: MakeTask, make_inspection: Callable[..., Inspection]
) -> None:
    executor = open_executor(1)
    assert executor.submit(make_task(1, "hold"))
    assert executor.submit(make_inspection(2, "die", "b"))
    assert dead(events_of(executor, 1)) == [1, 2]
    assert executor.submit(make_inspection(3, "b"))
    assert [each.task for each in events_of(executor, 1) if isinstance(each, Findings)] == [3]


def test_one_that_was_closed_may_be_closed_again(open_executor: Open, make_task: MakeTask) -> None:
    executor = open_executor(1)
    executor.submit(make_task(1, "a"))
    events_of(executor, 1)
    executor.close()
    executor.close()
    assert not executor.busy
