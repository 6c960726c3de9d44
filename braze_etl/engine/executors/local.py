"""Processes of this machine: each takes whole tasks over a pipe; the parent knows which tasks die with one.

First the parent's side, then what runs in a worker (see `serve`).
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from random import Random
from typing import Any, Final

from braze_etl.clock import Clock, SystemClock
from braze_etl.deadline import WATCH, Halt
from braze_etl.delivery.batches import BatchBuilder, Trouble
from braze_etl.delivery.sender import Sender
from braze_etl.engine.books import Tag
from braze_etl.engine.executors.fork_server import changed_environ, start_fork_server, worker_context
from braze_etl.engine.flow import WorkerParts, WorkerSpec
from braze_etl.engine.meter import Allowance, Asking
from braze_etl.engine.tasks import Ask, Grant, Settlement, Task
from braze_etl.engine.worker import NEWS, QUIT, Inbox, Life, Payloads, TaskRunner
from braze_etl.errors import BrazeEtlError, FatalError
from braze_etl.model import FileRef

PATIENCE: Final = 300.0
"""Seconds without a sign of life after which a worker is given up; the largest sound block takes a few."""
PATIENCE_ALONE: Final = 120.0
"""The same of a worker that has a single file, because one died over it."""
SOON_SILENT: Final = 15.0
"""Seconds without one that cast a doubt: signs come three times as often."""
_EVERY = 0.25
_SIGN_EVERY = 5.0
_LONGEST_LOOK = 1.0
"""Seconds that count between two looks: that a parent was away for longer is not the worker's fault."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """Requests that a worker has under way at the moment. Each is a sign of life."""

    in_flight: int


class Heart:
    """Sends a pulse when it is asked to beat, but at most every *every* seconds."""

    def __init__(self, send: Callable[[Pulse], None], clock: Clock, every: float = _EVERY) -> None:
        self._send = send
        self._clock = clock
        self._every = every
        self._last: float | None = None

    def beat(self, in_flight: int) -> None:
        """Tell how many are under way, unless that was told just now."""
        now = self._clock.monotonic()
        if self._last is None or now - self._last >= self._every:
            self._last = now
            self._send(Pulse(in_flight))


def give_signs(life: Life, report: Callable[[], None], clock: Clock) -> None:
    """Go on for ever: *report* every few seconds, while it gets on."""
    while True:
        clock.wait(_SIGN_EVERY)
        if life.gets_on():
            report()


class Silence:
    """How long a worker has given no sign of life, in seconds of a parent that was there to hear it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked = clock.monotonic()
        self.seconds = 0.0

    def end(self) -> None:
        """There was a sign, or there is nothing to do for it."""
        self.seconds = 0.0

    def measure(self) -> float:
        """Count what has passed since the last look, and give the whole."""
        now = self._clock.monotonic()
        self.seconds += min(now - self._looked, _LONGEST_LOOK)
        self._looked = now
        return self.seconds


Message = Settlement | Ask | Pulse | Trouble | BrazeEtlError | str
"""What a worker says."""

Serve = Callable[[Connection, Any], None]
"""A worker's main function: serves tasks that arrive on the pipe until `QUIT`, built by a `WorkerSpec`."""

READY = "ready"
"""What a worker says first, when it has all it needs."""
STOP = "stop"
"""Begin nothing new; settle what is in flight."""
_DEPTH = 2
"""Tasks a worker holds: it reads the second while the last requests of the first are on their way."""
_START_AGAIN_AFTER = (0.05, 0.5)
"""Seconds before the second and third attempt to start a process."""
LOOK_ABOVE = "Look at the log above; give the job more memory or fewer workers."


@dataclass(frozen=True, slots=True)
class Died:
    """A worker ended without being asked to, or was killed; *tasks* are what it had not settled.

    `error` is set when it never came up: then no file is to blame.
    """

    tasks: tuple[Task, ...]
    cause: str
    error: str | None = None


class _Worker:
    def __init__(self, context: Any, serve: Serve, spec: object, clock: Clock) -> None:
        self.pipe, theirs = context.Pipe()
        self.process = _started(
            lambda: context.Process(target=_main, args=(serve, theirs, spec, changed_environ()), daemon=True)
        )
        theirs.close()
        self.ready = False
        self.tasks: dict[int, Task] = {}
        self.in_flight = 0
        self.silence = Silence(clock)
        self.given_up: str | None = None
        self.unfit: str | None = None
        """Why it could not open what it works with, in its own words."""

    def watch(self) -> None:
        """Kill it when it has had work, and given no sign of life, for longer than any sound file takes."""
        if not self.tasks:
            self.silence.end()
        alone = any(task.attempt for task in self.tasks.values())
        patience = PATIENCE_ALONE if alone else PATIENCE
        if self.silence.measure() >= patience and self.given_up is None:
            self.given_up = f"no sign of life for {patience:g} s"
            self.process.kill()

    def room_for(self, task: Task) -> bool:
        # A task that is tried again runs alone, so that a second death is surely its own doing.
        if task.attempt or any(held.attempt for held in self.tasks.values()):
            return not self.tasks
        return len(self.tasks) < _DEPTH

    def send(self, message: object) -> None:
        try:
            self.pipe.send(message)
        except (BrokenPipeError, ConnectionResetError):
            return  # it has died; its sentinel tells


class WorkerPool:
    """Up to *size* processes, started as tasks come; one owner, one thread.

    *module* is imported before the first is started. While it is polled, *answer* is called for a worker that
    asks what it may send, *watch* is told how many requests all workers have under way, and *troubled* of
    requests that failed; and a worker that gives no sign of life is killed.
    """

    def __init__(
        self,
        size: int,
        serve: Serve,
        spec: object,
        *,
        module: str = __name__,
        answer: Callable[[Ask], Grant] = lambda ask: Grant(ask.events),
        watch: Callable[[int], None] = lambda _: None,
        troubled: Callable[[Trouble], None] = lambda _: None,
        clock: Clock | None = None,
    ) -> None:
        start_fork_server(module)
        self._context: Any = worker_context()
        self._size = size
        self._serve = serve
        self._spec = spec
        self._answer = answer
        self._watch = watch
        self._clock = clock or SystemClock()
        self._troubled = troubled
        self._workers: list[_Worker] = []

    @property
    def busy(self) -> bool:
        """Whether any task is unsettled."""
        return any(worker.tasks for worker in self._workers)

    @property
    def tasks(self) -> list[Task]:
        """The unsettled tasks."""
        return [task for worker in self._workers for task in worker.tasks.values()]

    @property
    def silent(self) -> list[Task]:
        """The unsettled tasks of workers that should have given a sign of life, and did not."""
        workers = (worker for worker in self._workers if worker.silence.seconds >= SOON_SILENT)
        return [task for worker in workers for task in worker.tasks.values()]

    @property
    def room(self) -> int:
        """About how many tasks more would be taken now."""
        held = sum(
            _DEPTH if any(task.attempt for task in worker.tasks.values()) else len(worker.tasks)
            for worker in self._workers
        )
        return _DEPTH * self._size - held

    def submit(self, task: Task) -> bool:
        """Give the task to the least busy worker; False when none has room for it."""
        candidates = [worker for worker in self._workers if worker.room_for(task)]
        idle = [worker for worker in candidates if not worker.tasks]
        if not idle and len(self._workers) < self._size:
            idle = [_Worker(self._context, self._serve, self._spec, self._clock)]
            self._workers += idle
        if not idle and not candidates:
            return False
        worker = min(idle or candidates, key=lambda candidate: len(candidate.tasks))
        worker.tasks[task.number] = task
        worker.send(task)
        return True

    def poll(self, timeout: float) -> Iterator[Settlement | Died]:
        """Wait up to *timeout* seconds for settlements and deaths, and yield them."""
        by_handle: dict[object, _Worker] = {}
        for worker in self._workers:
            by_handle[worker.pipe] = worker
            by_handle[worker.process.sentinel] = worker
        ready = wait(list(by_handle), timeout) if by_handle else []  # type: ignore[arg-type]  # handles are mixed
        for worker in {id(by_handle[handle]): by_handle[handle] for handle in ready}.values():
            yield from self._receive(worker)
        for worker in self._workers:
            worker.watch()

    def stop(self) -> None:
        """Ask every worker to begin nothing new and to settle what is in flight."""
        for worker in self._workers:
            worker.send(STOP)

    def close(self, timeout: float = 5.0) -> None:
        """Let the workers leave; one that does not within *timeout* seconds is killed."""
        if self.busy:
            self.stop()
        for worker in self._workers:
            worker.send(QUIT)
        for worker in self._workers:
            worker.process.join(timeout)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()
        self._workers.clear()

    def kill(self) -> None:
        """End every worker at once."""
        for worker in self._workers:
            worker.process.kill()
        self.close()

    def _receive(self, worker: _Worker) -> Iterator[Settlement | Died]:
        try:
            while worker.pipe.poll():
                message: Message = worker.pipe.recv()
                worker.silence.end()
                if isinstance(message, Settlement):
                    del worker.tasks[message.task]
                    if not worker.tasks:
                        self._take_sign(worker, Pulse(0))
                    yield message
                else:
                    self._take_sign(worker, message)
        except (EOFError, OSError):  # OSError: it was killed in the middle of a message
            worker.process.join()
        if not worker.process.is_alive():
            self._workers.remove(worker)
            worker.pipe.close()
            yield _death(worker)

    def _take_sign(self, worker: _Worker, message: Ask | Pulse | Trouble | BrazeEtlError | str) -> None:
        if isinstance(message, Ask):
            worker.send(self._answer(message))
        elif isinstance(message, Pulse):
            worker.in_flight = message.in_flight
            self._watch(sum(each.in_flight for each in self._workers))
        elif isinstance(message, Trouble):
            self._troubled(message)
        elif isinstance(message, BrazeEtlError):
            worker.unfit = message.message
        else:
            worker.ready = message == READY


def _started(new_process: Callable[[], Any]) -> Any:
    """Start a process. A fork server that has just been killed may not show yet: it is given time to."""
    for pause in (*_START_AGAIN_AFTER, None):
        process = new_process()
        try:
            process.start()
        except (EOFError, OSError) as error:
            if pause is None:
                words = f"a worker process could not start ({error or type(error).__name__})"
                raise FatalError(words, remedy=LOOK_ABOVE) from error
            time.sleep(pause)
        else:
            break
    return process


def _death(worker: _Worker) -> Died:
    code = worker.process.exitcode or 0
    cause = worker.given_up or (signal.Signals(-code).name if code < 0 else f"exit code {code}")
    error = None if worker.ready else f"a worker process could not start ({worker.unfit or cause})"
    return Died(tuple(worker.tasks.values()), cause, error)


def _main(serve: Serve, pipe: Connection, spec: object, environ: Mapping[str, str | None]) -> None:
    # The parent decides when to stop; a Ctrl-C reaches the whole process group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for name, value in environ.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    serve(pipe, spec)


def serve(pipe: Connection, spec: WorkerSpec) -> None:
    """The main function of a worker process: a `TaskRunner` over what the flow has it open."""
    inbox: Inbox = queue.SimpleQueue()
    report = partial(_report, pipe)
    try:
        parts = spec.open()
    except BrazeEtlError as error:
        report(error)
        return
    stop, life = threading.Event(), Life()
    destination, clock = parts.destination, parts.clock
    transport = destination.connect(clock)
    sender: Sender[Tag] = Sender(
        transport,
        destination,
        clock,
        Random(),  # noqa: S311 - spreads back-offs, keeps no secret
        stop,
        notify=lambda: inbox.put(NEWS),
        on_failure=lambda kind, words: report(Trouble(kind, destination.address, words)),
    )
    asking = Asking(report, stop)
    listening = (pipe, inbox, stop, parts.store.expect, asking.receive)
    threading.Thread(target=_listen, args=listening, daemon=True).start()
    report(READY)
    signs = (life, lambda: report(Pulse(sender.in_flight)), clock)
    threading.Thread(target=give_signs, args=signs, daemon=True).start()
    with WATCH.obeying(lambda: Halt.YIELD if stop.is_set() else Halt.NONE), sender:
        _task_runner(parts, sender, stop, report=report, asking=asking, life=life).serve(inbox)
    parts.store.close()
    transport.close()


def _task_runner(
    parts: WorkerParts,
    sender: Sender[Tag],
    stop: threading.Event,
    *,
    report: Callable[[Settlement | Pulse], None],
    asking: Asking,
    life: Life,
) -> TaskRunner:
    keep = parts.keeps_payloads
    return TaskRunner(
        store=parts.store,
        reader=parts.reader,
        payloads=Payloads(parts.lasting, parts.reader, parts.quarantine, parts.clock, keep=keep),
        sender=sender,
        builder=BatchBuilder(parts.destination.limits),
        send=report,
        stop=stop,
        allowance=parts.stops and Allowance(parts.stops, lambda ask: life.wait(asking, ask)),
        mapping=parts.judged_by,
        beat=Heart(report, parts.clock).beat,
        life=life,
    )


_SPEAKING = threading.Lock()
"""A message to the parent is whole, whichever thread sends it."""


def _report(pipe: Connection, message: Message) -> None:
    """Send to the parent; when it is gone, leave as quietly as `_listen` does."""
    try:
        with _SPEAKING:
            pipe.send(message)
    except (BrokenPipeError, ConnectionResetError):
        os._exit(1)


def _listen(
    pipe: Connection,
    inbox: Inbox,
    stop: threading.Event,
    expect: Callable[[Iterable[FileRef]], None],
    receive: Callable[[Grant | None], None],
) -> None:
    """Pass on what the parent says. When the parent is gone, post nothing more: nobody would know of it."""
    try:
        while (message := pipe.recv()) != QUIT:
            if isinstance(message, Grant):
                receive(message)
                continue
            if message == STOP:
                stop.set()
                receive(None)
            inbox.put(NEWS if message == STOP else message)
            if isinstance(message, Task):
                expect(message.whole_files())
    except (EOFError, OSError):
        os._exit(1)
    except BaseException:  # noqa: BLE001 - a worker that hears nothing would never end, nor let the run end
        traceback.print_exc()
        os._exit(1)
    inbox.put(QUIT)
