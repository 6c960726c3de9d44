"""Dispatch: tasks to worker processes, settlements back, and what happens when a worker dies."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator

from braze_etl.errors import FatalError
from braze_etl.model import Reason, Verdict
from braze_etl.run.books import TaskBooks
from braze_etl.run.pool import Died, WorkerPool
from braze_etl.run.tasks import Settlement, Task, one_by_one

_POLL = 0.25
_MAX_DEATHS = 20
"""More dead workers than this in one pass are no file's fault: memory limit, broken installation."""


class Dispatcher:
    """Iterates over settlements until every task is settled, or until *should_stop* and all in flight is."""

    def __init__(self, pool: WorkerPool, tasks: Iterator[Task], should_stop: Callable[[], bool]) -> None:
        self._pool = pool
        self._tasks = tasks
        self._should_stop = should_stop
        self._stopping = False
        self._again: deque[Task] = deque()
        self._deaths = 0
        self._numbers = itertools.count(-1, -1)  # of retried tasks; the others count upwards

    def __iter__(self) -> Iterator[Settlement]:
        waiting: Task | None = None
        while True:
            if self._should_stop():
                self._stop()
            while not self._stopping:
                waiting = waiting or self._next_task()
                if waiting is None or not self._pool.submit(waiting):
                    break
                waiting = None
            if not self._pool.busy:
                return
            for event in self._pool.poll(_POLL):
                yield from self._handle(event)

    def _next_task(self) -> Task | None:
        return self._again.popleft() if self._again else next(self._tasks, None)

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._pool.stop()

    def _handle(self, event: Settlement | Died) -> Iterator[Settlement]:
        if isinstance(event, Settlement):
            if event.fatal:
                self._stop()
            yield event
            return
        self._deaths += bool(event.tasks)
        if event.error is not None or self._deaths > _MAX_DEATHS:
            self._stop()
            words = event.error or f"{self._deaths} worker processes died, the last with {event.cause}"
            raise FatalError(
                words, remedy="Look at the log above; give the job more memory or fewer workers."
            )
        for task in event.tasks:
            yield from self._after_death(task, event.cause)

    def _after_death(self, task: Task, cause: str) -> Iterator[Settlement]:
        if task.attempt:
            yield _killer(task, cause)
            return
        self._again.extend(one_by_one(task, self._numbers))


def _killer(task: Task, cause: str) -> Settlement:
    """Set aside the one file of a task that ended two workers."""
    books = TaskBooks(task)
    words = f"reading it ended a worker process twice (the last with {cause})"
    books.failed(0, Verdict(Reason.UNREADABLE_FILE, words))
    books.read_to_end(0)
    return books.settlement()
