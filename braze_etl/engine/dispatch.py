"""Dispatch: tasks of the right size to an executor, settlements back, and what happens when a worker dies."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

from braze_etl.engine.books import TaskBooks
from braze_etl.engine.deaths import Deaths, killed_by
from braze_etl.engine.flow import Executor
from braze_etl.engine.tasks import TASK_BYTES, TASKS_A_PROCESS, Result, Settlement, Task, WorkerDied
from braze_etl.errors import FatalError
from braze_etl.model import Reason, Verdict

_POLL = 0.25
_TASK_SECONDS = 5.0
"""Of a process: so little is in flight when a round ends, or is sent again when a machine is lost."""
_LEAST_TASK_BYTES = 250_000
_MOST_TASK_BYTES = 24_000_000
"""What is set aside of a task is in memory until it is settled."""
_SMALL_TASK_BYTES = 1_000_000
_TASKS_A_WORKER = 4
"""What is left is split so that every worker has several tasks, but none too small for a process."""
_REMEMBERED = 0.8
"""How much of what was measured still counts with the next task."""


class Dispatcher:
    """Iterates over settlements until every task is settled, or until *should_stop* and all in flight is.

    They come in groups: all that arrived while the ones before were stored, at most two of each worker. Once
    *gives_up* says so, workers that have not settled are killed, and their tasks left; *stuck* is told those
    of workers that gave no sign of life.

    An iteration also ends when *should_pause* says so and nothing is in flight any more; another one goes on
    from there, if it `has_more`. *review* is asked for what is still to be done of a task when its time has
    come, None for nothing. What is handed out again gets one of *numbers*.

    No task is handed out before it is on record (see `suspects`): whoever stores a group of settlements notes
    with it what `take_begun` gives, and *note* is called where there is no settlement to go with.
    """

    def __init__(
        self,
        executor: Executor,
        tasks: Iterator[Task],
        should_stop: Callable[[], bool],
        *,
        should_pause: Callable[[], bool] = lambda: False,
        review: Callable[[Task], Task | None] = lambda task: task,
        gives_up: Callable[[], bool] = lambda: False,
        note: Callable[[list[Task]], None] = lambda _: None,
        passed: Callable[[Task], None] = lambda _: None,
        stuck: Callable[[list[Task]], None] = lambda _: None,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self._executor = executor
        self._tasks = tasks
        self._should_stop = should_stop
        self._should_pause = should_pause
        self._review = review
        self._gives_up = gives_up
        self._note = note
        self._passed = passed
        self._stuck = stuck
        self._drawn: deque[Task] = deque()
        self._held: dict[int, Task] = {}  # what the executor has of ours, by number
        self._on_record: set[int] = set()
        self.stopping = False
        self._next: deque[Task] = deque()  # before those that were never handed out
        self._numbers = numbers or itertools.count(-1, -1)
        self._deaths = Deaths(self._numbers)

    def __iter__(self) -> Iterator[list[Settlement]]:
        while True:
            if self._should_stop():
                self.stop()
            self._hand_out()
            if not self._executor.busy:
                return
            if self._gives_up():
                silent = [death for death in self._executor.kill() if death.silent]
                self._stuck([self._held[task.number] for death in silent for task in death.tasks])
                self._held.clear()
                return
            yield from self._take(list(self._executor.poll(_POLL)))

    def has_more(self) -> bool:
        """Whether another iteration would have something to do."""
        if not (self.stopping or self._drawn or self._next) and (task := next(self._tasks, None)) is not None:
            self._next.append(task)
        return not self.stopping and bool(self._drawn or self._next)

    def take_begun(self) -> list[Task]:
        """All that is in flight or about to be; the caller puts it on record before it goes on."""
        begun = [*self._held.values(), *self._drawn]
        self._on_record = {task.number for task in begun}
        return begun

    def _hand_out(self) -> None:
        """Give tasks to workers that have room, once they are on record."""
        self._draw()
        if self.stopping:
            return
        if any(task.number not in self._on_record for task in self._drawn):
            self._note(self.take_begun())
        while self._drawn and self._executor.submit(self._drawn[0]):
            task = self._drawn.popleft()
            self._held[task.number] = task

    def _draw(self, *, trials: bool = True) -> None:
        """Take as many tasks as workers have room for, and no trial without *trials*."""
        while len(self._drawn) < self._room() and not self.stopping:
            task = self._next_task()
            if task is None:
                return
            if (task.trial and not trials) or (task.alone and (self._held or self._drawn)):
                self._next.appendleft(task)
                return
            self._drawn.append(task)

    def _room(self) -> int:
        """About how many tasks more the executor would take now."""
        taken = sum(TASKS_A_PROCESS if task.exclusive else 1 for task in self._held.values())
        return TASKS_A_PROCESS * self._executor.processes - taken

    def _take(self, events: list[Result | WorkerDied]) -> Iterator[list[Settlement]]:
        """Give what was settled, and only then see to the dead: that may be the end of the run."""
        settled = [event for event in events if isinstance(event, Settlement)]
        deaths = [event for event in events if isinstance(event, WorkerDied)]
        if any(settlement.fatal for settlement in settled):
            self.stop()
        if settled:
            self._deaths.in_a_row = 0
        for settlement in settled:
            task = self._held.pop(settlement.task)
            if task.trial and not self.stopping:
                self._passed(task)
                self._next.appendleft(replace(task, number=next(self._numbers), attempt=0, trial=False))
        lost = [[self._held.pop(task.number) for task in death.tasks] for death in deaths]
        if settled:
            self._draw(trials=False)  # see `suspects`, point 1
            yield settled
        for death, held in zip(deaths, lost, strict=True):
            if killers := list(self._on_death(death, held)):
                yield killers

    def _next_task(self) -> Task | None:
        """The next task of which something is left; None when there is none, or it is time for a pause."""
        while not self._should_pause():
            task = self._next.popleft() if self._next else next(self._tasks, None)
            if task is None or (left := self._review(task)) is not None:
                return task and left
        return None

    def stop(self) -> None:
        """Begin nothing more; what is in flight still comes."""
        if not self.stopping:
            self.stopping = True
            self._executor.stop()

    def _on_death(self, event: WorkerDied, held: list[Task]) -> Iterator[Settlement]:
        try:
            after = self._deaths.after(event, held)
        except FatalError:
            self.stop()
            raise
        for task, again in after:
            self._next.extendleft(reversed(again))
            if not again:
                yield _killer(task, event)


def _killer(task: Task, event: WorkerDied) -> Settlement:
    """Set aside the one file of a task that ended worker after worker, or machine after machine."""
    books = TaskBooks(task)
    books.failed(0, Verdict(Reason.UNREADABLE_FILE, killed_by(task, event)))
    books.read_to_end(0)
    return books.settlement()


class TaskSizes:
    """How many bytes of files a task has: about five seconds of a process, at the rate that is reached."""

    def __init__(self) -> None:
        self._size = self._seconds = 0.0

    def note(self, settlement: Settlement) -> None:
        """Measure by what has come back; files that were read in part count whole."""
        size = sum(file.ref.size for file in settlement.files)
        self._size = _REMEMBERED * self._size + size
        self._seconds = _REMEMBERED * self._seconds + settlement.seconds

    @property
    def usual(self) -> int:
        """That of a task with many to come."""
        if not (self._size and self._seconds):
            return TASK_BYTES
        return int(min(_MOST_TASK_BYTES, max(_LEAST_TASK_BYTES, _TASK_SECONDS * self._size / self._seconds)))

    def targets(self, total: int, workers: int) -> Callable[[int], int]:
        """Targets for `group` that end *workers* together: ever smaller tasks near the end.

        *total* is the bytes of all tasks. A task is at most a quarter of a worker's share of what is left.
        """

        def target(before: int) -> int:
            share = (total - before) // (_TASKS_A_WORKER * workers)
            return min(self.usual, max(_SMALL_TASK_BYTES, share))

        return target
