"""Executors without processes: a worker is a runner in threads of the test, or in its only thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor as Threads
from random import Random
from typing import Any, TypeAlias, cast

from pydantic import SecretStr

from braze_etl.amplitude.destination import BatchApi
from braze_etl.amplitude.settings import Amplitude
from braze_etl.clock import Clock, SystemClock
from braze_etl.delivery.destination import Destination
from braze_etl.delivery.http import Transport
from braze_etl.delivery.sender import Sender
from braze_etl.engine.books import Tag
from braze_etl.engine.flow import SharedExecutor, WorkerParts
from braze_etl.engine.inspection import Inspector
from braze_etl.engine.tasks import TASKS_A_PROCESS, Result, Work, WorkerDied
from braze_etl.engine.worker import TaskRunner
from braze_etl.model import FileRef
from braze_etl.storage.read_ahead import ReadAhead
from tests.posting import AtOnce

Run: TypeAlias = Callable[[Work], Result]


class _NothingAhead:
    """A store that is asked for a file only when it is opened."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def expect(self, files: Iterable[FileRef]) -> None: ...


def runner_over(
    wire: Transport,
    destination: Destination,
    clock: Clock,
    *,
    store: Any,
    reader: Any,
    quarantine: Any = None,
    judged_by: str = "",
    stop: threading.Event | None = None,
    threads: Threads | None = None,
) -> TaskRunner:
    """A runner that posts over *wire*, at once unless *threads* are given; no payloads are kept."""
    parts = WorkerParts(
        clock=clock,
        store=cast("ReadAhead", _NothingAhead(store)),
        lasting=store,
        reader=reader,
        destination=destination,
        quarantine=quarantine,
        keeps_payloads=False,
        stops=None,
        judged_by=judged_by,
    )
    stop = stop or threading.Event()
    sender: Sender[Tag] = Sender(wire, destination, clock, Random(1), stop, executor=threads or AtOnce())
    return TaskRunner(parts, sender, stop)


class Direct:
    """An executor of one worker, which works on a task within `submit`."""

    processes = 500
    """So many are told that all tasks come back together."""

    def __init__(self, run: Run, stop: threading.Event | None = None) -> None:
        self._run = run
        self._stop = stop or threading.Event()
        self._settled: list[Result] = []

    @property
    def busy(self) -> bool:
        return bool(self._settled)

    def submit(self, task: Work) -> bool:
        self._settled.append(self._run(task))
        return True

    def poll(self, timeout: float) -> Iterator[Result | WorkerDied]:
        while self._settled:
            yield self._settled.pop(0)

    def stop(self) -> None:
        self._stop.set()

    def close(self) -> None: ...

    def kill(self) -> list[WorkerDied]:
        self._settled.clear()
        return []


class _Worker:
    def __init__(self, open_worker: Callable[[threading.Event], Run]) -> None:
        self.stop = threading.Event()
        self.run = open_worker(self.stop)
        self.tasks: dict[int, Work] = {}

    def room_for(self, task: Work) -> bool:
        if task.exclusive or any(held.exclusive for held in self.tasks.values()):
            return not self.tasks
        return len(self.tasks) < TASKS_A_PROCESS


class Inline:
    """An executor whose workers are threads of this process; one that raises has died.

    *open_worker* gives what a worker does with a task; it gets the event that is set when all has to stop.
    """

    def __init__(self, processes: int, open_worker: Callable[[threading.Event], Run]) -> None:
        self.processes = processes
        self._workers = [_Worker(open_worker) for _ in range(processes)]
        self._open_worker = open_worker
        self._come: queue.SimpleQueue[tuple[_Worker, Result | Exception]] = queue.SimpleQueue()

    @property
    def busy(self) -> bool:
        return any(worker.tasks for worker in self._workers)

    def submit(self, task: Work) -> bool:
        least = sorted(self._workers, key=lambda worker: len(worker.tasks))
        worker = next((each for each in least if each.room_for(task)), None)
        if worker is None:
            return False
        worker.tasks[task.number] = task
        threading.Thread(target=self._work, args=(worker, task), daemon=True).start()
        return True

    def poll(self, timeout: float) -> Iterator[Result | WorkerDied]:
        try:
            worker, came = self._come.get(timeout=timeout)
        except queue.Empty:
            return
        if worker not in self._workers:
            return  # what a dead worker says counts no more
        if not isinstance(came, Exception):
            del worker.tasks[came.task]
            yield came
            return
        self._workers[self._workers.index(worker)] = _Worker(self._open_worker)
        yield WorkerDied(tuple(worker.tasks.values()), type(came).__name__)

    def stop(self) -> None:
        for worker in self._workers:
            worker.stop.set()

    def close(self) -> None:
        self.stop()
        self._workers = []

    def kill(self) -> list[WorkerDied]:
        deaths = [WorkerDied(tuple(worker.tasks.values()), "killed") for worker in self._workers]
        self.close()
        return deaths

    def _work(self, worker: _Worker, task: Work) -> None:
        try:
            self._come.put((worker, worker.run(task)))
        except Exception as error:  # noqa: BLE001 - whatever it was, it is the death of the worker
            self._come.put((worker, error))


def inspector_over(store: Any, reader: Any) -> Inspector:
    """Has questions answered by one such worker, over that store."""

    def open_worker(stop: threading.Event) -> Run:
        service = BatchApi(Amplitude(region="US", api_key=SecretStr("k")))
        wire = cast("Transport", None)  # nothing is sent
        return runner_over(wire, service, SystemClock(), store=store, reader=reader, stop=stop).run

    return Inspector(SharedExecutor(lambda: Inline(1, open_worker)))
