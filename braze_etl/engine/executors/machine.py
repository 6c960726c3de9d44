"""A machine of a cluster: in Dask's worker process, which only passes bytes on, a pool of worker processes.

1. Dask's threads and its event loop put messages into the inbox of a machine, and do nothing else with it.
2. One thread owns the pool: it takes the inbox, and answers whoever waits for a task with what came of it.
3. Four times a second it looks whether the command is still there (see `_is_given_up`). When it is not, all
   processes are killed at once: nobody would know what they send.
4. Whatever ends that thread, everybody who waits for a task is answered, with nothing.

`bring_up`, `work` and `receive` are called by Dask, which finds them by their names. All arguments are bytes
or plain values, for the scheduler takes apart whatever it passes on.
"""

from __future__ import annotations

import os
import pickle
import queue
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection, Pipe
from typing import Any, Final, TypeAlias

from braze_etl.clock import SystemClock
from braze_etl.config.unresolved import Unresolved
from braze_etl.delivery.batches import Trouble
from braze_etl.delivery.destination import Destination, Standing
from braze_etl.delivery.http import Kind
from braze_etl.engine.executors.cores import usable_cores
from braze_etl.engine.executors.fork_server import start_fork_server
from braze_etl.engine.executors.local import Child, Pulse, WorkerPool, serve
from braze_etl.engine.executors.shares import Shares
from braze_etl.engine.executors.shipment import Shipment, Software, Unfit
from braze_etl.engine.executors.workers import MOST_PROCESSES
from braze_etl.engine.flow import Reach, WorkerSpec
from braze_etl.engine.tasks import Ask, Findings, Grant, Inspection, Settlement, Share, Task, WorkerDied
from braze_etl.errors import AccessDeniedError, BrazeEtlError, FileError, StoreError
from braze_etl.logs import get_logger
from braze_etl.model import FileRef

_log = get_logger(__name__)

TOPIC: Final = "braze-etl"
"""That of all that machines say by themselves, each message with the key of who brought the machine up."""
PROCESSES: Final = "BRAZE_ETL_PROCESSES"
STOP: Final = "stop"
PUT_DOWN: Final = "put down"
_LOOK_EVERY = 0.25
_PULSE_EVERY = 1.0
_FIRST_BYTES = 4
_TRIES = (1.0, 4.0)
"""Seconds before the second and third attempt to reach the endpoint."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Work with so many processes."""

    processes: int


@dataclass(frozen=True, slots=True)
class Granted:
    """The answer to what a worker asked for a task."""

    task: int
    grant: Grant


Order: TypeAlias = Begin | Granted | Share | str
"""What a machine is told: these, `STOP` and `PUT_DOWN`."""
Word: TypeAlias = Ask | Pulse | Share | Trouble | Unfit
"""What a machine says by itself."""

_machines: dict[str, Machine] = {}
"""Those of this process, by the keys of who brought them up."""


class Machine:
    """The pool of one command, in a process of Dask's."""

    def __init__(self, dask_worker: Any, key: str, shipment: Shipment) -> None:
        self._dask = dask_worker
        self._key = key
        self._shipment = shipment
        self._clock = SystemClock()
        self._inbox: queue.SimpleQueue[Order | Task | Inspection] = queue.SimpleQueue()
        self._answers: dict[int, queue.SimpleQueue[bytes]] = {}
        self._wake, self._bell = Pipe(duplex=False)
        self._seen: set[int] = set()
        self._heard = 0
        self._backlog: deque[Task | Inspection] = deque()
        self._shares = Shares(given=True)
        self._unconfirmed: list[Share] = []
        self._stopping = self._over = False
        self._pulse, self._next_pulse, self._next_look = Pulse(0), 0.0, 0.0

    def start(self) -> None:
        """Begin to take messages; the pool is made when the first says with how many processes."""
        threading.Thread(target=self._own, name="braze-etl machine", daemon=True).start()

    def tell(self, before: int, orders: Sequence[Order]) -> None:
        """Take orders, which come after so many *before*; what was heard already counts once.

        The command tells again when it got no answer. Called in Dask's event loop alone.
        """
        for order in orders[self._heard - before :]:
            self._put(order)
        self._heard = before + len(orders)

    def carry_out(self, number: int, task: Task | Inspection) -> bytes:
        """Wait for what comes of a task; nothing when the machine has ended, or *number* came before.

        Dask calls again when it could not fetch a result. Only the command may have a task run again.
        """
        if number in self._seen:
            return b""
        self._seen.add(number)
        answer: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._answers[task.number] = answer
        self._put(task)
        if self._over:  # it may have ended before it could see this one
            return b""
        return answer.get()

    def _put(self, message: Order | Task | Inspection) -> None:
        self._inbox.put(message)
        with suppress(OSError):  # it has ended
            self._bell.send_bytes(b"")

    def _own(self) -> None:
        try:
            self._serve()
        except BrazeEtlError as error:
            self._say(Unfit(error.message, error.remedy))
        except Exception as error:  # noqa: BLE001 - see 4; whatever it was, the command is told
            _log.error("a machine failed", exc_info=error)
            self._say(Unfit(f"internal error: {type(error).__name__}", "Look at the log of the machine."))
        finally:
            self._over = True
            _machines.pop(self._key, None)
            for answer in tuple(self._answers.values()):
                answer.put(b"")
            self._wake.close()
            self._bell.close()

    def _serve(self) -> None:
        processes = self._awaited_processes()
        if not processes:
            return
        shipment = self._shipment
        pool = WorkerPool(
            processes,
            serve_shipped,
            shipment.serve,
            module=shipment.module,
            answer=self._ask,
            watch=self._note_in_flight,
            troubled=self._say,
            shares=self._shares,
            wake=self._wake,
        )
        with closing(pool):
            while self._work(pool):
                pass

    def _awaited_processes(self) -> int:
        """How many to work with, 0 when there is nothing to do any more."""
        while not self._looks_given_up():
            message = self._next_message(_LOOK_EVERY)
            if isinstance(message, Begin):
                return message.processes
            if isinstance(message, Task | Inspection):  # they come by another way, and may be faster
                self._backlog.append(message)
            if message == PUT_DOWN:
                break
        return 0

    def _work(self, pool: WorkerPool) -> bool:
        """Take what has come, from either side; False when it is over."""
        while self._wake.poll():
            self._wake.recv_bytes()
        message = self._next_message(0)
        while message is not None:
            if message == PUT_DOWN:
                return False
            self._take(pool, message)
            message = self._next_message(0)
        while self._backlog and pool.submit(self._backlog[0]):
            self._backlog.popleft()
            if self._stopping:
                pool.stop()
        for event in pool.poll(_LOOK_EVERY):
            self._answer(event)
        self._confirm_shares()
        self._beat()
        if self._looks_given_up():
            pool.kill()
            return False
        return True

    def _next_message(self, timeout: float) -> Order | Task | Inspection | None:
        try:
            return self._inbox.get(timeout=timeout) if timeout else self._inbox.get_nowait()
        except queue.Empty:
            return None

    def _take(self, pool: WorkerPool, message: Order | Task | Inspection) -> None:
        if isinstance(message, Task | Inspection):
            self._backlog.append(message)
        elif isinstance(message, Granted):
            pool.grant(message.task, message.grant)
        elif isinstance(message, Share):
            self._shares.give(message)
            self._unconfirmed.append(message)
        elif message == STOP:
            self._stopping = True
            pool.stop()

    def _answer(self, event: Settlement | Findings | WorkerDied) -> None:
        """Answer who waits for these tasks; each of those of a dead process is told of all."""
        numbers = [task.number for task in event.tasks] if isinstance(event, WorkerDied) else [event.task]
        for number in numbers:
            self._answers.pop(number).put(pickle.dumps(event))

    def _ask(self, ask: Ask) -> None:
        """Pass a question on; its answer comes as a message."""
        self._say(ask)

    def _confirm_shares(self) -> None:
        """Say that each share that was told is kept, once all processes keep to the last one."""
        if self._unconfirmed and self._shares.confirmed == self._unconfirmed[-1].processes:
            for share in self._unconfirmed:
                self._say(share)
            self._unconfirmed.clear()

    def _note_in_flight(self, in_flight: int) -> None:
        self._pulse = Pulse(in_flight)

    def _beat(self) -> None:
        if self._clock.monotonic() >= self._next_pulse:
            self._next_pulse = self._clock.monotonic() + _PULSE_EVERY
            self._say(self._pulse)

    def _say(self, word: Word) -> None:
        self._dask.log_event(TOPIC, [self._key, pickle.dumps(word)])

    def _looks_given_up(self) -> bool:
        if self._clock.monotonic() < self._next_look:
            return False
        self._next_look = self._clock.monotonic() + _LOOK_EVERY
        return _is_given_up(self._dask, self._key)


def _is_given_up(dask_worker: Any, key: str) -> bool:
    """Whether the command, or the scheduler, is gone, or has given this machine up.

    The one use of Dask's inner state. A command holds the result of `bring_up`: when it is gone, or has
    cancelled that, the scheduler has the worker forget it. A worker without its scheduler closes itself.
    """
    task = dask_worker.state.tasks.get(key)
    known = task is not None and task.state not in ("cancelled", "released", "forgotten")
    return not known or dask_worker.status.name not in ("running", "paused")


def bring_up(key: str, commands: tuple[str, ...], shipment: bytes, file: bytes) -> tuple[int, str, str]:
    """Prove that this machine may work for a command: how many processes it has, or 0, why, and the remedy.

    *key* is the key of this very task, *commands* the command's `Software`, *file* what is to be read first.
    """
    dask = _dask()
    dask.secede()
    if unfit := Software.here().differs_from(Software(*commands)):
        return 0, *unfit
    dask_worker, packed = dask.get_worker(), pickle.loads(shipment)  # noqa: S301 - of our own command
    machine = Machine(dask_worker, key, packed)
    try:
        processes = _processes(os.environ)
        if unfit := packed.unfit() or _proven(packed, file, dask_worker, key):
            return 0, *unfit
    except BrazeEtlError as error:
        return 0, error.message, error.remedy
    _machines[key] = machine
    machine.start()
    return processes, "", ""


def work(key: str, number: int, task: bytes) -> bytes:
    """What came of a task, pickled: a result, or the death of its process; nothing where it is not known."""
    _dask().secede()
    machine = _machines.get(key)
    return machine.carry_out(number, pickle.loads(task)) if machine else b""  # noqa: S301 - of our own command


def receive(key: str, before: int, orders: bytes) -> bool:
    """Tell a machine what its command says, see `Machine.tell`; in the event loop, so it must not wait."""
    if machine := _machines.get(key):
        machine.tell(before, pickle.loads(orders))  # noqa: S301 - of our own command
    return True


def _dask() -> Any:
    import distributed

    return distributed


def _processes(environ: Mapping[str, str]) -> int:
    text = environ.get(PROCESSES) or str(usable_cores())
    if not text.isdecimal() or not 1 <= int(text) <= MOST_PROCESSES:
        raise BrazeEtlError(
            f"{PROCESSES} is {text!r} there, which is no number of processes",
            remedy=f"Write a number from 1 to {MOST_PROCESSES}, or leave it out: one a core.",
        )
    return int(text)


def _proven(shipment: Shipment, file: bytes, dask_worker: Any, key: str) -> Unfit | None:
    """Have a worker process prove what it reaches; killed when the command is gone."""
    start_fork_server(shipment.module)
    with closing(Child(_prove_shipped, (shipment.prove, file))) as child:
        while not child.pipe.poll(_LOOK_EVERY):
            if _is_given_up(dask_worker, key):
                return Unfit("the command is gone", "")
        try:
            unfit: Unfit | None = child.pipe.recv()
        except (EOFError, OSError):
            return Unfit(f"a worker process ended while it proved what it reaches ({child.ended()})", "")
    return unfit


def serve_shipped(pipe: Connection, shipped: bytes) -> None:
    """The main function of a worker process: the one that was shipped."""
    pickle.loads(shipped)(pipe)  # noqa: S301 - of our own command


def _prove_shipped(pipe: Connection, shipped: tuple[bytes, bytes]) -> None:
    prove_there, file = map(pickle.loads, shipped)
    try:
        pipe.send(prove_there(file))
    except BrazeEtlError as error:
        pipe.send(Unfit(error.message, error.remedy))


def ship(spec: WorkerSpec, settings: Unresolved[Any], environ: Mapping[str, str] = os.environ) -> Shipment:
    """What machines need to work as *spec* says, which is over *settings*; see `Shipment.of`."""
    return Shipment.of(
        partial(serve_spec, spec), partial(prove, spec), spec.module, settings, environ=environ
    )


def serve_spec(spec: WorkerSpec, pipe: Connection) -> None:
    """What a worker process of a flow does."""
    serve(pipe, spec)


def prove(spec: WorkerSpec, file: FileRef | None) -> Unfit | None:
    """Why a worker process can't work here: it can't read *file*, or its key is not taken, or nothing opens.

    In that order. Lists and tables are copied with the last, which may take minutes; workers find the copies.
    """
    reach = spec.reach()
    unfit = file and _unread(reach, file)
    if not unfit and reach.destination is not None:
        unfit = _refused(reach.destination)
    if not unfit:
        spec.open().store.close()
    return unfit or None


def _unread(reach: Reach, file: FileRef) -> Unfit | None:
    store = reach.store
    try:
        with store.open(file.key, length=_FIRST_BYTES, etag=file.etag, size=file.size) as stream:
            stream.read()
    except (AccessDeniedError, StoreError) as error:
        return Unfit(f"it can't read the source: {error.message}", error.remedy)
    except FileError:  # gone or archived, it is so for everybody; where all is gone, it is another place
        if not any(page.objects for page in islice(store.pages(reach.prefix), 1)):
            remedy = "Have each machine reach the same place: a folder must be mounted there."
            return Unfit(f"it finds nothing at the source {store.uri}", remedy)
    return None


def _refused(destination: Destination) -> Unfit | None:
    """Why requests from here are in vain. A service that has other troubles has them for all machines."""
    clock = SystemClock()
    with closing(destination.connect(clock)) as wire:
        for pause in (*_TRIES, 0.0):
            found = destination.probe(wire)
            if found.standing is Standing.REFUSED:
                return Unfit(found.words, found.remedy)
            if found.failure not in tuple(Kind):
                return None
            clock.wait(pause)
    words = f"it can't reach {destination.address}: {found.words}"
    return Unfit(words, "Let machines reach that address, through the proxy if there is one.")
