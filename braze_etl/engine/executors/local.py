"""Processes of this machine: each takes whole tasks over a pipe; the parent knows which tasks die with one.

First the parent's side, then what runs in a worker (see `serve`).
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias

from braze_etl.clock import Clock, SystemClock
from braze_etl.deadline import WATCH, Halt
from braze_etl.delivery.batches import Trouble
from braze_etl.engine.executors.fork_server import changed_environ, start_fork_server, worker_context
from braze_etl.engine.executors.shares import Shares
from braze_etl.engine.flow import WorkerSpec
from braze_etl.engine.meter import Asking
from braze_etl.engine.tasks import (
    LOOK_ABOVE,
    TASKS_A_PROCESS,
    Ask,
    Findings,
    Grant,
    Inspection,
    Result,
    Settlement,
    Share,
    Task,
    Work,
    WorkerDied,
)
from braze_etl.engine.worker import open_runner
from braze_etl.errors import BrazeEtlError, FatalError

PATIENCE: Final = 300.0
"""Seconds without a sign of life after which a worker is given up; the largest sound block takes a few."""
PATIENCE_ALONE: Final = 120.0
"""The same of a worker that has a single file, because one died over it."""
PATIENCE_AGAIN: Final = 60.0
"""The same of a worker that has several files, because one died over them: none of them will be blamed."""
SOON_SILENT: Final = 15.0
"""Seconds without one that cast a doubt: signs come three times as often."""
_EVERY = 0.25
_FRAMES = 3
"""Places that a worker names of a mistake, the innermost first."""
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


def give_signs(gets_on: Callable[[], bool], report: Callable[[], None], clock: Clock) -> None:
    """Go on for ever: *report* every few seconds, while the work *gets_on*."""
    while True:
        clock.wait(_SIGN_EVERY)
        if gets_on():
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


Message = Result | Ask | Pulse | Share | Trouble | BrazeEtlError | str
"""What a worker says."""

Serve = Callable[[Connection, Any], None]
"""A worker's main function: serves tasks that arrive on the pipe until `QUIT`, built by a `WorkerSpec`."""

READY = "ready"
"""What a worker says first, when it has all it needs."""
STOP = "stop"
"""Begin nothing new; settle what is in flight."""
QUIT = "quit"
"""Leave when all is settled."""
_START_AGAIN_AFTER = (0.05, 0.5)
"""Seconds before the second and third attempt to start a process."""


class Child:
    """A process from the fork server in which *serve* runs over *spec*, and the pipe to it."""

    def __init__(self, serve: Serve, spec: object) -> None:
        context: Any = worker_context()
        self.pipe, theirs = context.Pipe()
        self.process = _started(
            lambda: context.Process(target=_main, args=(serve, theirs, spec, changed_environ()), daemon=True)
        )
        theirs.close()

    def ended(self) -> str:
        """With what it ended."""
        self.process.join()
        code = self.process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def close(self) -> None:
        """End it, if it has not ended."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


class _Worker(Child):
    def __init__(self, serve: Serve, spec: object, clock: Clock) -> None:
        super().__init__(serve, spec)
        self.ready = False
        self.tasks: dict[int, Work] = {}
        self.in_flight = 0
        self.silence = Silence(clock)
        self.given_up: str | None = None
        self.told: str | None = None
        """Why it ends, in its own words: it could not open what it works with, or made a mistake."""

    def watch(self) -> None:
        """Kill it when it has had work, and given no sign of life, for longer than any sound file takes."""
        if not self.tasks:
            self.silence.end()
        patience = min(map(_patience, self.tasks.values()), default=PATIENCE)
        if self.silence.measure() >= patience and self.given_up is None:
            self.given_up = f"no sign of life for {patience:g} s"
            self.process.kill()

    def room_for(self, task: Work) -> bool:
        if task.exclusive or any(held.exclusive for held in self.tasks.values()):
            return not self.tasks
        return len(self.tasks) < TASKS_A_PROCESS

    def send(self, message: object) -> None:
        try:
            self.pipe.send(message)
        except (BrokenPipeError, ConnectionResetError):
            return  # it has died; its sentinel tells

    def messages(self) -> Iterator[Message]:
        """All that it has said so far. Errors of who takes a message are not taken for its death."""
        try:
            while self.pipe.poll():
                yield self.pipe.recv()
        except (EOFError, OSError):  # OSError: it was killed in the middle of a message
            self.process.join()


class WorkerPool:
    """An `Executor` of up to *processes* processes, started as tasks come; one owner, one thread.

    *module* is imported before the first is started. While it is polled, *answer* is called for a worker that
    asks what it may send (None: `grant` answers later), *watch* is told how many requests all workers have
    under way, and *troubled* of requests that failed; and a worker that gives no sign of life is killed.

    Whoever polls waits no longer once there is something to read on *wake*.

    The limits are shared over the processes that are ready; or, where those of other pools count as well, as
    *shares* are given.
    """

    def __init__(
        self,
        processes: int,
        serve: Serve,
        spec: object,
        *,
        module: str = __name__,
        answer: Callable[[Ask], Grant | None] = lambda ask: Grant(ask.events),
        watch: Callable[[int], None] = lambda _: None,
        troubled: Callable[[Trouble], None] = lambda _: None,
        clock: Clock | None = None,
        shares: Shares | None = None,
        wake: Connection | None = None,
    ) -> None:
        start_fork_server(module)
        self._wake = wake
        self.processes = processes
        self._serve = serve
        self._spec = spec
        self._answer = answer
        self._watch = watch
        self._clock = clock or SystemClock()
        self._troubled = troubled
        self._shares = shares or Shares()
        self._workers: list[_Worker] = []

    @property
    def busy(self) -> bool:
        """See `Executor`."""
        return any(worker.tasks for worker in self._workers)

    def submit(self, task: Work) -> bool:
        """See `Executor`: the least busy process gets it."""
        candidates = [worker for worker in self._workers if worker.room_for(task)]
        idle = [worker for worker in candidates if not worker.tasks]
        if not idle and len(self._workers) < self.processes:
            idle = [_Worker(self._serve, self._spec, self._clock)]
            self._workers += idle
        if not idle and not candidates:
            return False
        worker = min(idle or candidates, key=lambda candidate: len(candidate.tasks))
        worker.tasks[task.number] = task
        worker.send(task)
        return True

    def poll(self, timeout: float) -> Iterator[Result | WorkerDied]:
        """See `Executor`."""
        by_handle: dict[object, _Worker] = {}
        for worker in self._workers:
            by_handle[worker.pipe] = worker
            by_handle[worker.process.sentinel] = worker
        handles: Any = [*by_handle, *([self._wake] if self._wake else [])]
        ready = wait(handles, timeout) if handles else []
        for worker in {id(each): each for handle in ready if (each := by_handle.get(handle))}.values():
            yield from self._receive(worker)
        for worker in self._workers:
            worker.watch()

    def grant(self, task: int, grant: Grant) -> None:
        """Answer what a worker asked for a task, if it still has that."""
        for worker in self._workers:
            if task in worker.tasks:
                worker.send(grant)

    def stop(self) -> None:
        """See `Executor`."""
        for worker in self._workers:
            worker.send(STOP)

    def close(self, timeout: float = 5.0) -> None:
        """See `Executor`: a process that has not left within *timeout* seconds is killed."""
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

    def kill(self) -> list[WorkerDied]:
        """See `Executor`."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
        deaths = [_death(worker) for worker in self._workers]
        self.close()
        return deaths

    def _receive(self, worker: _Worker) -> Iterator[Result | WorkerDied]:
        for message in worker.messages():
            worker.silence.end()
            if isinstance(message, Settlement | Findings):
                del worker.tasks[message.task]
                if not worker.tasks:
                    self._take_sign(worker, Pulse(0))
                yield message
            else:
                self._take_sign(worker, message)
        if not worker.process.is_alive():
            self._workers.remove(worker)
            worker.pipe.close()
            self._shares.leave(worker)
            yield _death(worker)

    def _take_sign(
        self, worker: _Worker, message: Ask | Pulse | Share | Trouble | BrazeEtlError | str
    ) -> None:
        if isinstance(message, Ask):
            if grant := self._answer(message):
                worker.send(grant)
        elif isinstance(message, Share):
            self._shares.confirm(worker)
        elif isinstance(message, Pulse):
            worker.in_flight = message.in_flight
            self._watch(sum(each.in_flight for each in self._workers))
        elif isinstance(message, Trouble):
            self._troubled(message)
        elif isinstance(message, BrazeEtlError):
            worker.told = message.message
        elif message == READY:
            worker.ready = True
            self._shares.join(worker, worker.send)


def _patience(task: Work) -> float:
    if not task.attempt:
        return PATIENCE
    return PATIENCE_AGAIN if len(task.files) > 1 else PATIENCE_ALONE


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


def _death(worker: _Worker) -> WorkerDied:
    cause = worker.given_up or worker.told or worker.ended()
    error = None if worker.ready else f"a worker process could not start ({cause})"
    silent = worker.silence.seconds >= SOON_SILENT
    return WorkerDied(tuple(worker.tasks.values()), cause, error, silent=silent)


def _main(serve: Serve, pipe: Connection, spec: object, environ: Mapping[str, str | None]) -> None:
    # The parent decides when to stop; a Ctrl-C reaches the whole process group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for name, value in environ.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    serve(pipe, spec)


TakeShare: TypeAlias = Callable[[Share, Callable[[], None]], None]
"""What a worker does with a share; it calls the second when it keeps to it (see `TaskRunner.share`)."""


def _kept_at_once(_share: Share, kept: Callable[[], None]) -> None:
    kept()


class Link:
    """A worker's end of the pipe. `stop` is set when the parent says so; `ask` waits for a grant of it.

    1. The main thread listens. Each task gets one of two threads, so that one reads while the other waits.
       None begins before the worker has a share of the limits (see `shares`), unless the run has to stop.
    2. A message to the parent is whole, whichever thread sends it.
    3. A stop sets `stop`, and then wakes the thread that waits for a grant: the parent may answer no more.
    4. When the parent is gone, nothing more is posted, for nobody would know of it: the process ends at once.
       So it does after a mistake in any thread. It would never end otherwise, nor let the run end.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._speaking = threading.Lock()
        self.stop = threading.Event()
        self.ask = Asking(self.send, self.stop)

    def send(self, message: Message) -> None:
        """Tell the parent."""
        try:
            with self._speaking:
                self._pipe.send(message)
        except (BrokenPipeError, ConnectionResetError):
            os._exit(1)

    def serve(self, run: Callable[[Work], Result], share: TakeShare = _kept_at_once) -> None:
        """Have each task and inspection *run* that comes, until `QUIT`; all of them are done then."""
        with ThreadPoolExecutor(TASKS_A_PROCESS, thread_name_prefix="task") as threads:
            try:
                self._listen(lambda task: threads.submit(self._settle, run, task), share)
            except BaseException as error:  # noqa: BLE001 - see 4
                self.end(error)

    def _listen(self, begin: Callable[[Work], object], take: TakeShare) -> None:
        waiting, shares = deque[Work](), False
        while (message := self._receive()) != QUIT:
            if isinstance(message, Grant):
                self.ask.receive(message)
            elif isinstance(message, Share):
                take(message, partial(self.send, message))
                shares = True
            elif isinstance(message, Task | Inspection):
                waiting.append(message)
            else:
                self.stop.set()
                self.ask.receive(None)
            while waiting and (shares or self.stop.is_set()):
                begin(waiting.popleft())

    def _receive(self) -> Work | Grant | Share | str:
        try:
            message: Work | Grant | Share | str = self._pipe.recv()
        except (EOFError, OSError):
            os._exit(1)
        return message

    def end(self, error: BaseException) -> NoReturn:
        """End over a mistake: its words may quote a record, so the parent is told its kind and place."""
        try:
            frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
            places = " in ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
            self.send(BrazeEtlError(f"internal error: {type(error).__name__} at {places}"))
        finally:
            os._exit(1)  # also where there is no memory to tell

    def _settle(self, run: Callable[[Work], Result], task: Work) -> None:
        try:
            self.send(run(task))
        except BaseException as error:  # noqa: BLE001 - see 4
            self.end(error)


def serve(pipe: Connection, spec: WorkerSpec) -> None:
    """The main function of a worker process: a `TaskRunner` over what the flow has it open."""
    gc.freeze()  # a visit of the collector would copy what the fork shares with the other processes
    link = Link(pipe)
    try:
        _serve(link, spec)
    except BrazeEtlError as error:
        link.send(error)
    except Exception as error:  # noqa: BLE001 - see `Link`, 4
        link.end(error)


def _serve(link: Link, spec: WorkerSpec) -> None:
    parts = spec.open()
    beat = Heart(link.send, parts.clock).beat
    with (
        WATCH.obeying(lambda: Halt.YIELD if link.stop.is_set() else Halt.NONE),
        open_runner(parts, link.stop, ask=link.ask, beat=beat, troubled=link.send) as runner,
    ):
        link.send(READY)
        signs = (runner.gets_on, lambda: link.send(Pulse(runner.in_flight)), parts.clock)
        threading.Thread(target=give_signs, args=signs, daemon=True).start()
        link.serve(runner.run, runner.share)
