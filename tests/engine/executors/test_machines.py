"""Machines as an executor: who is fit, who is not, and what is heard of whom; the rest is in contracts/."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from braze_etl.clock import ManualClock, SystemClock
from braze_etl.config.unresolved import Unresolved
from braze_etl.delivery.batches import Trouble
from braze_etl.engine.due import DueFile
from braze_etl.engine.executors.dask import Came, Cluster, Gone, Happened, Joined, Left
from braze_etl.engine.executors.machine import PUT_DOWN, STOP, Begin, Machine
from braze_etl.engine.executors.machines import PATIENCE, DaskPool, survey
from braze_etl.engine.executors.shipment import Shipment, Software, Unfit
from braze_etl.engine.executors.workers import Scheduler
from braze_etl.engine.tasks import Ask, Grant, Result, Settlement, Task, WorkerDied
from braze_etl.errors import FatalError
from braze_etl.model import FileRef
from tests.cluster import DaskCluster, Proxy, await_machines, dask_at_work
from tests.engine.executors.obedient import (
    DENIED,
    prove_badly,
    prove_fine,
    prove_unfit,
    serve_broken,
    serve_fine,
)
from tests.faults.processes import wait_until, workers

pytestmark = pytest.mark.xdist_group("dask")
MakeTask = Callable[..., Task]
Event = Result | WorkerDied


@pytest.fixture
def make_task(make_ref: Callable[..., FileRef]) -> MakeTask:
    return lambda number, key: Task(number, (DueFile(make_ref(key)),))


def shipment(
    serve: Callable[[Connection], None] = serve_fine, prove: Callable[[Any], Unfit | None] = prove_fine
) -> Shipment:
    return Shipment.of(serve, prove, serve_fine.__module__, Unresolved(BaseModel, {}, ""))


@pytest.fixture
def open_pool(dask_cluster: DaskCluster) -> Iterator[Callable[..., DaskPool]]:
    opened: list[DaskPool] = []

    def make(shipped: Shipment | None = None, *, most: int = 2, **options: Any) -> DaskPool:
        opened.append(DaskPool(Cluster(dask_cluster.scheduler), shipped or shipment(), most=most, **options))
        return opened[-1]

    yield make
    for pool in opened:
        pool.kill()


def events_of(pool: DaskPool, happened: Callable[[list[Event]], bool]) -> list[Event]:
    events: list[Event] = []

    def look() -> bool:
        events.extend(pool.poll(0.1))
        return happened(events)

    wait_until(look, "the machines do their work")
    return events


def end_of_patience(pool: DaskPool, clock: ManualClock, task: Task) -> FatalError:
    """What a pool ends with when time passes and no machine works."""
    assert not pool.submit(task)
    for _ in range(5 * int(PATIENCE)):
        assert pool.busy
        clock.advance(0.5)
        try:
            list(pool.poll(0.02))
        except FatalError as error:
            return error
    pytest.fail("it goes on waiting")


@pytest.mark.parametrize(
    ("shipped", "cause"),
    [
        (shipment(prove=prove_unfit), "it has no legs to stand on"),
        (
            shipment(prove=prove_badly),
            r"a worker process ended while it proved what it reaches \(exit code 4\)",
        ),
    ],
    ids=["unfit", "ends"],
)
def test_a_pass_without_a_fit_machine_ends_and_names_each_with_its_cause(
    open_pool: Callable[..., DaskPool],
    make_task: MakeTask,
    shipped: Shipment,
    cause: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock(datetime(2026, 11, 24, tzinfo=UTC))
    pool = open_pool(shipped, clock=clock)
    assert not pool.submit(make_task(1, "a"))
    wait_until(lambda: not list(pool.poll(0.1)) and len(pool._causes) == 2, "both have proven nothing")
    error = end_of_patience(pool, clock, make_task(1, "a"))
    assert error.exit_code == 1
    assert len(re.findall(rf"127.0.0.1:\d+: {cause}", error.message)) == 2
    assert len([each for each in caplog.records if "not fit" in each.getMessage()]) == 2


def test_what_a_worker_asks_and_tells_reaches_the_command(
    open_pool: Callable[..., DaskPool], make_task: MakeTask
) -> None:
    asked, troubles, under_way = list[Ask](), list[Trouble](), list[int]()

    def answer(ask: Ask) -> Grant:
        asked.append(ask)
        return Grant(ask.events + 2)

    pool = open_pool(most=1, answer=answer, troubled=troubles.append, watch=under_way.append)
    await_machines(pool, 1)
    assert pool.submit(make_task(1, "ask"))
    events_of(pool, lambda events: len(events) == 1)
    assert [ask.events for ask in asked] == [5]
    assert [trouble.words for trouble in troubles] == ["it may send 7"]
    pool.submit(make_task(2, "wait"))
    events_of(pool, lambda _: 1 in under_way)


def test_a_machine_on_which_no_process_comes_up_is_unfit_and_its_task_is_not_to_blame(
    open_pool: Callable[..., DaskPool], make_task: MakeTask
) -> None:
    pool = open_pool(shipment(serve_broken), most=1)
    await_machines(pool, 1)
    task = make_task(1, "a")
    assert pool.submit(task)
    (lost,) = events_of(pool, lambda events: len(events) == 1)
    assert isinstance(lost, WorkerDied)
    assert (lost.tasks, lost.machine, lost.error) == ((task,), True, None)
    assert "a worker process could not start (exit code 3)" in lost.cause


def test_a_machine_that_the_command_gives_up_ends_its_processes_within_a_second(
    open_pool: Callable[..., DaskPool], make_task: MakeTask, dask_cluster: DaskCluster
) -> None:
    def running() -> int:
        return sum(len(workers(machine.pid)) for machine in dask_cluster.workers)

    pool = open_pool(most=1)
    await_machines(pool, 1)
    pool.submit(make_task(1, "stick"))
    wait_until(lambda: running() == 1, "the process starts")
    clock = SystemClock()
    began = clock.monotonic()
    pool.kill()
    wait_until(lambda: running() == 0, "the process ends")
    assert clock.monotonic() - began < 3


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    with dask_at_work(tmp_path) as cluster:
        yield cluster


def test_a_pass_that_no_machine_joins_ends(cluster: DaskCluster, make_task: MakeTask) -> None:
    clock = ManualClock(datetime(2026, 11, 24, tzinfo=UTC))
    pool = DaskPool(Cluster(cluster.scheduler), shipment(), most=2, clock=clock)
    error = end_of_patience(pool, clock, make_task(1, "a"))
    assert f"the scheduler at {cluster.scheduler.address} knows none" in error.message
    assert not survey(Cluster(cluster.scheduler), shipment(), None, SystemClock(), seconds=30).machines
    pool.close()


def test_a_pass_ends_though_machines_come_again_and_again_and_never_get_fit(
    cluster: DaskCluster, make_task: MakeTask
) -> None:
    clock = ManualClock(datetime(2026, 11, 24, tzinfo=UTC))
    connected = Cluster(cluster.scheduler)
    pool = DaskPool(connected, shipment(), most=2, clock=clock)
    assert not pool.submit(make_task(1, "a"))

    def come_and_go() -> None:
        for _ in range(20):
            for happened in (Joined("tcp://127.0.0.1:9"), Left("tcp://127.0.0.1:9")):
                connected.happened.put(happened)
                assert not list(pool.poll(0))
            for _ in range(30):
                clock.advance(1)
                assert not list(pool.poll(0))

    with pytest.raises(FatalError, match="for 2 minutes there was no machine"):
        come_and_go()
    pool.close()


def test_a_machine_that_may_not_read_what_another_reads_is_unfit_and_the_other_gets_its_task(
    cluster: DaskCluster, make_task: MakeTask
) -> None:
    cluster.add_worker({DENIED: "1"})
    cluster.add_worker()
    pool = DaskPool(Cluster(cluster.scheduler), shipment(), most=2)
    await_machines(pool, 2)
    for number in range(1, 3):
        assert pool.submit(make_task(number, "a"))
    events_of(pool, lambda events: len(events) == 2)
    for number in range(3, 5):
        assert pool.submit(make_task(number, "secret"))
    events = events_of(pool, lambda events: len(events) == 2)
    (lost,) = (event for event in events if isinstance(event, WorkerDied))
    (done,) = (event for event in events if isinstance(event, Settlement))
    assert {done.task, *(task.number for task in lost.tasks)} == {3, 4}
    assert lost.machine
    assert "it may not read what other machines read: it may not be read" in lost.cause
    assert pool.ready == 1
    pool.kill()


def test_a_machine_that_comes_back_at_its_address_is_another_one(
    cluster: DaskCluster, make_task: MakeTask
) -> None:
    lost = cluster.add_worker(port=18790)
    pool = DaskPool(Cluster(cluster.scheduler), shipment(), most=1)
    await_machines(pool, 1)
    pool.submit(make_task(1, "hold"))
    lost.send_signal(signal.SIGKILL)
    lost.wait()
    (death,) = events_of(pool, lambda events: len(events) == 1)
    assert isinstance(death, WorkerDied)
    assert [task.number for task in death.tasks] == [1]
    cluster.add_worker(port=18790)
    assert not pool.submit(make_task(2, "a"))
    wait_until(lambda: not list(pool.poll(0.1)) and pool.ready == 1, "the machine is there again")
    assert pool.submit(make_task(2, "a"))
    (settled,) = events_of(pool, lambda events: len(events) == 1)
    assert isinstance(settled, Settlement)
    assert settled.task == 2
    pool.close()


def test_what_came_before_the_end_of_the_scheduler_is_given_and_no_machine_is_blamed(
    cluster: DaskCluster, make_task: MakeTask, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.add_worker()
    connected = Cluster(cluster.scheduler)
    pool = DaskPool(connected, shipment(), most=1)
    await_machines(pool, 1)
    assert pool.submit(make_task(1, "hold"))
    assert pool.submit(make_task(2, "a"))
    seen: list[Happened] = []

    def has_come() -> bool:
        seen.append(connected.happened.get(timeout=60))
        return isinstance(seen[-1], Came)

    wait_until(has_come, "the machine has done the second task")
    assert cluster.scheduler_process is not None
    cluster.scheduler_process.kill()
    while not isinstance(seen[-1], Gone):
        seen.append(connected.happened.get(timeout=60))
    for each in seen:
        connected.happened.put(each)
    (settled,) = pool.poll(0)
    assert isinstance(settled, Settlement)
    assert settled.task == 2
    with pytest.raises(FatalError, match=r"^the Dask scheduler at .* is gone"):
        list(pool.poll(0))
    assert "not fit" not in caplog.text
    pool.close()


def test_a_machine_hears_what_it_is_told_though_a_connection_breaks_on_the_way(
    cluster: DaskCluster, make_task: MakeTask
) -> None:
    cluster.add_worker()
    proxy = Proxy(cluster.port)
    pool = DaskPool(Cluster(Scheduler("127.0.0.1", proxy.port, tls=False)), shipment(), most=1)
    await_machines(pool, 1)
    assert pool.submit(make_task(2, "a"))
    events_of(pool, lambda events: len(events) == 1)
    proxy.forget_later_ones()
    assert pool.submit(make_task(1, "ask"))
    (settled,) = events_of(pool, lambda events: len(events) == 1)
    assert isinstance(settled, Settlement)
    pool.kill()
    proxy.close()


def test_what_a_machine_is_told_twice_counts_once() -> None:
    told = Machine(None, "key", shipment())
    told.tell(0, [Begin(1), STOP])
    told.tell(0, [Begin(1), STOP])
    told.tell(2, [PUT_DOWN])
    heard = [told._inbox.get_nowait() for _ in range(told._inbox.qsize())]
    assert heard == [Begin(1), STOP, PUT_DOWN]


def test_a_survey_has_each_machine_prove_itself(dask_cluster: DaskCluster) -> None:
    def found(shipped: Shipment) -> list[int | Unfit]:
        surveyed = survey(Cluster(dask_cluster.scheduler), shipped, None, SystemClock(), seconds=60)
        return [*surveyed.machines.values()]

    dask_cluster.await_workers(2)
    assert found(shipment()) == [1, 1]
    assert found(shipment(prove=prove_unfit)) == [Unfit("it has no legs to stand on", "Give it legs.")] * 2


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"version": "0.0.9"}, "it has braze-etl 0.0.9, and the command "),
        ({"sources": "0"}, "it has another build of braze-etl"),
        ({"python": "3.9"}, "it has Python 3.9, and the command 3."),
        ({"dask": "2026.1.0"}, "it has Dask 2026.1.0, and the command 2026."),
    ],
)
def test_a_machine_with_other_software_is_unfit(change: dict[str, str], cause: str) -> None:
    here = Software.here()
    unfit = here._replace(**change).differs_from(here)
    assert unfit is not None
    assert unfit.cause.startswith(cause)
    assert here.differs_from(here) is None


def test_no_scheduler_is_told_in_words(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("braze_etl.engine.executors.dask.CONNECT", 1.0)
    pool = DaskPool(Cluster(Scheduler("127.0.0.1", 9, tls=False)), shipment(), most=1)
    pool.submit(make_task(1, "a"))
    with pytest.raises(FatalError, match="no Dask scheduler answers at tcp://"):
        events_of(pool, lambda _: False)
    pool.close()
