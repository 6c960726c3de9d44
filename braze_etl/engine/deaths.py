"""What becomes of the files that a dead worker held, or a lost machine: they are read again, in halves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from braze_etl.engine.tasks import LOOK_ABOVE, Inspection, Task, WorkerDied
from braze_etl.errors import FatalError
from braze_etl.logs import get_logger

W = TypeVar("W", Task, Inspection)

_log = get_logger(__name__)

_MAX_DEATHS: Final = 20
"""With more dead workers in a row, no file is at fault: a limit of memory, a broken installation."""
_MAX_LOST: Final = 3
"""Machines lost with a task after which it may well be at fault: then it is taken for a death."""


class Deaths:
    """Counts the workers that died in a row; says what is handed out again, with the next of *numbers*."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers
        self.in_a_row = 0
        """Set to 0 when something was done in between."""

    def after(self, event: WorkerDied, held: Sequence[W]) -> Iterator[tuple[W, list[W]]]:
        """For each of the tasks that were *held*, give what is handed out instead: nothing for a killer.

        That is a single file that has ended two workers. Raises `FatalError` where no file is at fault.
        """
        if event.machine:
            words = "a machine was lost; its files are read again"
        else:
            words = "a worker process died; its files are read again"
            self._count(event)
        if held:
            _log.warning(words, cause=event.cause, files=sum(len(task.files) for task in held))
        return ((task, self._again(task, event)) for task in held)

    def _count(self, event: WorkerDied) -> None:
        self.in_a_row += bool(event.tasks)
        if event.error is not None or self.in_a_row > _MAX_DEATHS:
            words = event.error or f"{self.in_a_row} worker processes died, the last with {event.cause}"
            raise FatalError(words, remedy=LOOK_ABOVE)

    def _again(self, task: W, event: WorkerDied) -> list[W]:
        if event.machine:
            task = replace(task, lost=task.lost + 1)
            if task.lost < _MAX_LOST:
                return [replace(task, number=next(self._numbers))]
        if task.attempt and len(task.files) == 1:
            return []
        return halves(task, self._numbers)


def halves(task: W, numbers: Iterator[int]) -> list[W]:
    """Split the task of a worker that died, so that the file that kills is found, and the others go on.

    Of 500 files one is found in 9 steps. A single file is one task again, with no machine lost yet.
    """
    middle = (len(task.files) + 1) // 2
    parts = (files for files in (task.files[:middle], task.files[middle:]) if files)
    return [
        replace(
            task,
            number=next(numbers),
            files=files,
            attempt=task.attempt + 1,
            lost=task.lost if files[1:] else 0,
        )
        for files in parts
    ]


def killed_by(task: Task | Inspection, event: WorkerDied) -> str:
    """Say of a killer what reading it has done."""
    times = "twice" if task.attempt == 1 else f"{task.attempt + 1} times"
    ended = "machine after machine" if event.machine else f"a worker process {times}"
    return f"reading it ended {ended} (the last with {event.cause})"
