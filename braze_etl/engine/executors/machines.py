"""The machines of a cluster as one executor: which are fit, what each of them has, and what is lost with one.

1. A worker of Dask's that joins is a machine once it has proven itself (see `machine`). One that has not, or
   fails later, is unfit: that is told once, and it gets no work.
2. A task has one machine. Only who hands tasks out has one run again; a result counts only from the machine
   that has the task.
3. A machine that is gone, or gives no sign of life, is given up: its tasks come back as `WorkerDied`, and
   nothing that it may still say is taken. When it joins again, it is another machine.
4. Limits are shared over the processes of all machines that are fit (see `shares`).
"""

from __future__ import annotations

import pickle
import queue
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from braze_etl.clock import Clock, SystemClock
from braze_etl.delivery.batches import Trouble
from braze_etl.engine.executors.dask import (
    Answered,
    Came,
    Cluster,
    Gone,
    Happened,
    Joined,
    Left,
    Proven,
    Said,
)
from braze_etl.engine.executors.local import Pulse, Silence
from braze_etl.engine.executors.machine import STOP, Begin, Granted, Word
from braze_etl.engine.executors.shares import Shares
from braze_etl.engine.executors.shipment import Shipment, Unfit
from braze_etl.engine.tasks import (
    TASKS_A_PROCESS,
    Ask,
    Grant,
    Result,
    Settlement,
    Share,
    Work,
    WorkerDied,
)
from braze_etl.errors import AccessDeniedError, FatalError
from braze_etl.logs import get_logger
from braze_etl.model import FileRef

_log = get_logger(__name__)

PATIENCE: Final = 120.0
"""Seconds without any fit machine after which a pass ends."""
LONGEST_PROOF: Final = 1800.0
"""Seconds in which a machine has to prove itself: it may have large lists and tables to copy."""
SILENT_AFTER: Final = 60.0
"""Seconds without a sign of life after which a machine is given up; it gives one every second."""
_PID_BITS: Final = 32
"""Process ids are smaller, and repeat from machine to machine."""
_GLANCE: Final = 0.2
_SAME_WIRE: Final = (
    "Start it, let this machine reach its port, use TLS on both sides or on neither, or correct `workers`."
)
_START_AGAIN: Final = "Start the scheduler again; the next run goes on from here."
_LOOK = "Start machines, or look into their logs; `braze-etl doctor` has each of them prove itself."


@dataclass(eq=False)
class _Machine:
    address: str
    key: str
    number: int
    silence: Silence
    processes: int = 0
    """How many it works with; 0 until it has proven itself, and while there are enough without it."""
    could: int = 0
    """How many it could work with."""
    tasks: dict[int, Work] = field(default_factory=dict)
    in_flight: int = 0
    reads: bool = False
    """Whether it has read a file to its end."""

    @property
    def name(self) -> str:
        return self.address.partition("://")[2]

    @property
    def load(self) -> float:
        return self._taken / self.processes

    @property
    def _taken(self) -> int:
        return sum(TASKS_A_PROCESS if task.exclusive else 1 for task in self.tasks.values())

    def room_for(self, task: Work) -> bool:
        wanted = TASKS_A_PROCESS if task.exclusive else 1
        return self._taken + wanted <= TASKS_A_PROCESS * self.processes


class Survey(NamedTuple):
    """What a scheduler runs, and its machines: with how many processes each could work, or why not."""

    scheduler: Answered
    machines: dict[str, int | Unfit]


def survey(
    cluster: Cluster, shipment: Shipment, file: FileRef | None, clock: Clock, *, seconds: float
) -> Survey:
    """Have all machines that are there prove themselves, in so many *seconds*, and none work.

    Raises `FatalError` when the scheduler does not answer.
    """
    late = Unfit(f"it has not proven itself in {seconds:g} s", "Look into its log: it may copy a large list.")
    names, found = dict[str, str](), dict[str, int | Unfit]()
    answered: Answered | None = None
    waiting, until = set[str](), clock.monotonic() + seconds
    try:
        while (answered is None or waiting) and clock.monotonic() < until:
            with suppress(queue.Empty):
                match cluster.happened.get(timeout=_GLANCE):
                    case Answered() as facts:
                        answered = facts
                    case Joined(address):
                        key = cluster.bring_up(address, pickle.dumps(shipment), pickle.dumps(file))
                        names[key] = address.partition("://")[2]
                        found[names[key]] = late
                        waiting.add(key)
                    case Proven(key, processes, unfit):
                        found[names[key]] = unfit or processes
                        waiting.discard(key)
                    case Gone(words):
                        raise FatalError(words, remedy=_SAME_WIRE)
    finally:
        for key in names:
            cluster.give_up(key)
        cluster.close()
    if answered is None:
        raise FatalError(f"the scheduler at {cluster.scheduler.address} falls silent", remedy=_SAME_WIRE)
    return Survey(answered, found)


class DaskPool:
    """An `Executor` over the machines of a *cluster*, with *most* processes together.

    Machines are asked for when the first task comes: its first file is what they have to read. For the rest
    see `WorkerPool`.
    """

    def __init__(
        self,
        cluster: Cluster,
        shipment: Shipment,
        *,
        most: int,
        answer: Callable[[Ask], Grant] = lambda ask: Grant(ask.events),
        watch: Callable[[int], None] = lambda _: None,
        troubled: Callable[[Trouble], None] = lambda _: None,
        clock: Clock | None = None,
    ) -> None:
        self._cluster = cluster
        self._shipment = pickle.dumps(shipment)
        self._most = most
        self._answer = answer
        self._watch = watch
        self._troubled = troubled
        self._clock = clock or SystemClock()
        self._addresses: list[str] = []
        self._machines: dict[str, _Machine] = {}
        self._count = 0
        self._file: bytes | None = None
        self._awaited = self._stopped = False
        self._shares = Shares()
        self._without = Silence(self._clock)
        self._gone: Gone | None = None
        self._causes: dict[str, Unfit] = {}

    @property
    def processes(self) -> int:
        """See `Executor`; 1 while none is ready, so that somebody has a task to wait with."""
        return self.ready or 1

    @property
    def ready(self) -> int:
        """How many processes there are on machines that are fit."""
        return sum(machine.processes for machine in self._machines.values())

    @property
    def busy(self) -> bool:
        """Whether a task is unsettled, or waits for the first machine."""
        return self._awaited or any(machine.tasks for machine in self._machines.values())

    def submit(self, task: Work) -> bool:
        """See `Executor`: the machine with the most room for its size gets it."""
        if self._file is None:
            self._file = pickle.dumps(getattr(task.files[0], "ref", task.files[0]))
            for address in self._addresses:
                self._bring_up(address)
        ready = [machine for machine in self._machines.values() if machine.processes]
        self._awaited = not ready and not self._stopped
        candidates = [machine for machine in ready if machine.room_for(task)]
        if not candidates:
            return False
        machine = min(candidates, key=lambda each: each.load)
        machine.tasks[task.number] = task
        self._cluster.hand_out(machine.address, machine.key, task.number, pickle.dumps(task))
        return True

    def poll(self, timeout: float) -> Iterator[Result | WorkerDied]:
        """See `Executor`. Raises `FatalError` when the scheduler, or for a while every machine, is gone.

        What came before the end of the scheduler is given first, for it is settled.
        """
        if self._gone:
            raise FatalError(self._gone.words, remedy=_START_AGAIN)
        happened = self._next(timeout)
        while happened is not None:
            yield from self._take(happened)
            happened = self._next(0)
        for machine in tuple(self._machines.values()):
            yield from self._watch_over(machine)
        self._see_whether_any_comes()

    def stop(self) -> None:
        """See `Executor`."""
        self._stopped, self._awaited = True, False
        for machine in self._machines.values():
            if machine.processes:
                self._cluster.tell(machine.address, machine.key, STOP)

    def close(self) -> None:
        """See `Executor`."""
        self._cluster.close([(machine.address, machine.key) for machine in self._machines.values()])
        self._machines.clear()
        self._awaited = False

    def kill(self) -> list[WorkerDied]:
        """See `Executor`."""
        machines = [*self._machines.values()]
        for machine in machines:
            self._cluster.give_up(machine.key)
        self._machines.clear()
        self.close()
        return [WorkerDied((*machine.tasks.values(),), "killed") for machine in machines]

    def _next(self, timeout: float) -> Happened | None:
        try:
            return (
                self._cluster.happened.get(timeout=timeout)
                if timeout
                else self._cluster.happened.get_nowait()
            )
        except queue.Empty:
            return None

    def _take(self, happened: Happened) -> Iterator[Result | WorkerDied]:
        match happened:
            case Joined(address):
                self._addresses.append(address)
                if self._file is not None and not self._stopped:
                    self._bring_up(address)
            case Left(address):
                self._addresses.remove(address)
                for machine in [each for each in self._machines.values() if each.address == address]:
                    yield from self._give_up(machine, f"the machine {machine.name} is gone")
            case Gone():
                self._gone = happened
            case Proven(key) | Said(key) | Came(key) if key in self._machines:
                machine = self._machines[key]
                machine.silence.end()
                yield from self._take_from(machine, happened)

    def _take_from(self, machine: _Machine, happened: Happened) -> Iterator[Result | WorkerDied]:
        match happened:
            case Proven(_, processes, unfit):
                machine.could = processes
                if unfit:
                    yield from self._find_unfit(machine, unfit)
                self._employ()
            case Said(_, Unfit() as unfit):
                yield from self._find_unfit(machine, unfit)
            case Said(_, word):
                self._hear(machine, word)
            case Came(_, number, result) if number in machine.tasks:
                yield from self._take_result(machine, number, result)

    def _bring_up(self, address: str) -> None:
        self._count += 1
        key = self._cluster.bring_up(address, self._shipment, self._file or b"")
        self._machines[key] = _Machine(address, key, self._count, Silence(self._clock))

    def _employ(self) -> None:
        """Have machines begin that have proven themselves, as far as more processes are of use."""
        left = self._most - self.ready
        for machine in self._machines.values():
            if machine.could and not machine.processes and left > 0 and not self._stopped:
                machine.processes = min(machine.could, left)
                left -= machine.processes
                tell = partial(self._cluster.tell, machine.address, machine.key)
                tell(Begin(machine.processes))
                self._shares.join(machine.key, tell, processes=machine.processes)
                self._awaited = False
                _log.info("a machine is ready", machine=machine.name, processes=machine.processes)

    def _hear(self, machine: _Machine, word: Word) -> None:
        if isinstance(word, Pulse):
            machine.in_flight = word.in_flight
            self._watch(sum(each.in_flight for each in self._machines.values()))
        elif isinstance(word, Ask):
            self._cluster.tell(machine.address, machine.key, Granted(word.task, self._answer(word)))
        elif isinstance(word, Share):
            self._shares.confirm(machine.key)
        elif isinstance(word, Trouble):
            self._troubled(word)

    def _take_result(self, machine: _Machine, number: int, packed: bytes) -> Iterator[Result | WorkerDied]:
        if not packed:
            yield from self._find_unfit(machine, Unfit("it does not work any more", "Look at its log."))
            return
        result: Result | WorkerDied = pickle.loads(packed)  # noqa: S301 - of our own machine
        if isinstance(result, WorkerDied):
            yield from self._take_death(machine, result)
        elif isinstance(result, Settlement) and self._is_out_of_reach(machine, result):
            error = result.unavailable.first[AccessDeniedError.kind]
            cause = f"it may not read what other machines read: {error.message}"
            yield from self._find_unfit(machine, Unfit(cause, error.remedy))
        else:
            del machine.tasks[number]
            if isinstance(result, Settlement):
                result.worker += machine.number << _PID_BITS
            yield result

    def _take_death(self, machine: _Machine, death: WorkerDied) -> Iterator[WorkerDied]:
        """A process has died; a machine on which none comes up is unfit, while others go on."""
        if death.error is not None:
            yield from self._find_unfit(machine, Unfit(death.error, _LOOK))
            return
        tasks = tuple(machine.tasks.pop(task.number) for task in death.tasks if task.number in machine.tasks)
        yield WorkerDied(tasks, f"{death.cause}, on the machine {machine.name}", silent=death.silent)

    def _is_out_of_reach(self, machine: _Machine, settlement: Settlement) -> bool:
        """Whether rights are missing on this machine alone: it could read no file, and another one reads."""
        denied = settlement.unavailable.files[AccessDeniedError.kind]
        if not denied:
            machine.reads = machine.reads or any(file.state is not None for file in settlement.files)
        others = (each.reads for each in self._machines.values() if each is not machine)
        return denied == len(machine.tasks[settlement.task].files) and any(others)

    def _find_unfit(self, machine: _Machine, unfit: Unfit) -> Iterator[WorkerDied]:
        self._causes[machine.name] = unfit
        _log.warning(
            "a machine is not fit for work, and gets none",
            machine=machine.name,
            cause=unfit.cause,
            remedy=unfit.remedy,
        )
        yield from self._give_up(machine, f"the machine {machine.name} is not fit for work: {unfit.cause}")

    def _give_up(self, machine: _Machine, cause: str) -> Iterator[WorkerDied]:
        """Take nothing from a machine any more; its tasks come back."""
        del self._machines[machine.key]
        self._cluster.give_up(machine.key)
        self._shares.leave(machine.key)
        self._employ()
        if machine.tasks:
            self._awaited = not (self.ready or self._stopped)
            yield WorkerDied((*machine.tasks.values(),), cause, machine=True)

    def _watch_over(self, machine: _Machine) -> Iterator[WorkerDied]:
        patience = SILENT_AFTER if machine.processes else LONGEST_PROOF
        if machine.could and not machine.processes:
            machine.silence.end()  # it waits for us
        if machine.silence.measure() >= patience:
            self._causes[machine.name] = Unfit(f"no sign of life for {patience:g} s", _LOOK)
            yield from self._give_up(machine, f"the machine {machine.name} gave no sign of life")

    def _see_whether_any_comes(self) -> None:
        """End the pass when nobody has come for long, or nobody of those who came can work."""
        if self.ready or not self._awaited:
            self._without.end()
        elif not self._machines and self._without.measure() >= PATIENCE:  # a proof takes its own time
            raise FatalError(
                f"for {PATIENCE / 60:g} minutes there was no machine that is fit for work: {self._why()}",
                remedy=" ".join(dict.fromkeys(unfit.remedy for unfit in self._causes.values())) or _LOOK,
            )

    def _why(self) -> str:
        causes = [f"{name}: {unfit.cause}" for name, unfit in self._causes.items()]
        return "; ".join(causes) or f"the scheduler at {self._cluster.scheduler.address} knows none"
