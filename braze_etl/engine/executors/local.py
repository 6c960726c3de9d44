"""Worker processes: each takes whole tasks over a pipe; the parent knows which tasks die with a worker."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from typing import Any, Final, ParamSpec, TypeVar

from braze_etl.clock import Clock, SystemClock
from braze_etl.delivery.batches import Trouble
from braze_etl.engine.meter import Ask, Grant
from braze_etl.engine.tasks import Settlement, Task
from braze_etl.errors import FatalError, UsageError

_PRELOADED = ["braze_etl.engine.worker"]
_IS_THERE = "forkserver" in multiprocessing.get_all_start_methods()


def worker_context() -> BaseContext:
    """The way in which workers are started here."""
    return multiprocessing.get_context("forkserver" if _IS_THERE else "spawn")


def start_fork_server() -> None:
    """Start it, unless it runs already (or this system has none).

    It is deaf to SIGTERM, which a scheduler may send to the whole process group: that would end the server,
    and with it all that is known of the workers. What is blocked here stays blocked in what is started here.

    Raises `UsageError` if the folder for temporary files does not take its socket.
    """
    if not _IS_THERE:
        return
    multiprocessing.set_forkserver_preload(_PRELOADED)
    resource_tracker.ensure_running()  # which would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        forkserver.ensure_running()
    except OSError as error:
        raise UsageError(
            f"no worker process can be started: the folder for temporary files takes no socket: {error}",
            remedy="Set TMPDIR to a folder that can be written, with a path of at most 70 characters.",
        ) from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


P = ParamSpec("P")
T = TypeVar("T")

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


class Life:
    """What the reading thread does, told by it; another thread asks whether it gets on."""

    def __init__(self) -> None:
        self._steps = 0
        self._seen = -1
        self._waits = False

    def step(self) -> None:
        """One more piece of work is done."""
        self._steps += 1

    def wait(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Do *work*, which waits for somebody else for as long as that takes."""
        self._waits = True
        try:
            return work(*arguments, **named)
        finally:
            self.step()
            self._waits = False

    def gets_on(self) -> bool:
        """Whether it waits, or has done something since this was asked last."""
        before, self._seen = self._seen, self._steps
        return self._waits or self._seen != before

    def give_signs(self, tell: Callable[[], None], clock: Clock) -> None:
        """Go on for ever: *tell* every few seconds, while it gets on."""
        while True:
            clock.wait(_SIGN_EVERY)
            if self.gets_on():
                tell()


class Silence:
    """How long a worker has given no sign of life, in seconds of a parent that was there to hear it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked = clock.monotonic()
        self.seconds = 0.0

    def end(self) -> None:
        """There was a sign, or there is nothing to do for it."""
        self.seconds = 0.0

    def look(self) -> float:
        """Count what has passed since the last look, and give the whole."""
        now = self._clock.monotonic()
        self.seconds += min(now - self._looked, _LONGEST_LOOK)
        self._looked = now
        return self.seconds


Serve = Callable[[Connection, Any], None]
"""A worker's main function: serves tasks that arrive on the pipe until `QUIT`, given the blueprint."""

READY = "ready"
"""What a worker says first, when it has all it needs."""
STOP = "stop"
"""Begin nothing new; settle what is in flight."""
QUIT = "quit"
"""Leave when all is settled."""
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
    def __init__(self, context: Any, serve: Serve, blueprint: object, clock: Clock) -> None:
        self.pipe, theirs = context.Pipe()
        self.process = _started(
            lambda: context.Process(target=_main, args=(serve, theirs, blueprint), daemon=True)
        )
        theirs.close()
        self.ready = False
        self.tasks: dict[int, Task] = {}
        self.in_flight = 0
        self.silence = Silence(clock)
        self.given_up: str | None = None

    def watch(self) -> None:
        """Kill it when it has had work, and given no sign of life, for longer than any sound file takes."""
        if not self.tasks:
            self.silence.end()
        alone = any(task.attempt for task in self.tasks.values())
        patience = PATIENCE_ALONE if alone else PATIENCE
        if self.silence.look() >= patience and self.given_up is None:
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

    While it is polled, *answer* is called for a worker that asks what it may send, and *watch* is told how
    many requests all workers have under way, *troubled* of requests that failed; and a worker that gives no
    sign of life is killed.
    """

    def __init__(
        self,
        size: int,
        serve: Serve,
        blueprint: object,
        *,
        answer: Callable[[Ask], Grant] = lambda ask: Grant(ask.events),
        watch: Callable[[int], None] = lambda _: None,
        troubled: Callable[[Trouble], None] = lambda _: None,
        clock: Clock | None = None,
    ) -> None:
        start_fork_server()
        self._context: Any = worker_context()
        self._size = size
        self._serve = serve
        self._blueprint = blueprint
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
            idle = [_Worker(self._context, self._serve, self._blueprint, self._clock)]
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
                message: Settlement | Ask | Pulse | Trouble | str = worker.pipe.recv()
                worker.silence.end()
                if isinstance(message, Settlement):
                    del worker.tasks[message.task]
                    if not worker.tasks:
                        self._hear(worker, Pulse(0))
                    yield message
                else:
                    self._hear(worker, message)
        except (EOFError, OSError):  # OSError: it was killed in the middle of a message
            worker.process.join()
        if not worker.process.is_alive():
            self._workers.remove(worker)
            worker.pipe.close()
            yield _death(worker)

    def _hear(self, worker: _Worker, message: Ask | Pulse | Trouble | str) -> None:
        if isinstance(message, Ask):
            worker.send(self._answer(message))
        elif isinstance(message, Pulse):
            worker.in_flight = message.in_flight
            self._watch(sum(each.in_flight for each in self._workers))
        elif isinstance(message, Trouble):
            self._troubled(message)
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
    error = None if worker.ready else f"a worker process could not start ({cause})"
    return Died(tuple(worker.tasks.values()), cause, error)


def _main(serve: Serve, pipe: Connection, blueprint: object) -> None:
    # The parent decides when to stop; a Ctrl-C reaches the whole process group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    serve(pipe, blueprint)
