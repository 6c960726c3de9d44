"""The worker's side of a budget: nothing is sent that was not granted, and what is not granted is held.

A grant is a number that travels like a task does, so that a worker on another machine can be given one too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from braze_etl.model import Event
from braze_etl.run.working.books import Tag, TaskBooks


@dataclass(frozen=True, slots=True)
class Ask:
    """A worker wants to send so many events for a task; `stops`: those that are not granted are held."""

    task: int
    events: int
    stops: bool


@dataclass(frozen=True, slots=True)
class Grant:
    """What a worker may send, or more; with less than it asked for, which bound grants no more until when."""

    events: int
    words: str = ""
    until: datetime | None = None


class Allowance:
    """Lets events through as far as the budget reaches.

    *stops* knows the event types that a bound stops; *ask* gets a `Grant`, or None once the run has to stop.
    """

    def __init__(self, stops: Callable[[str], bool], ask: Callable[[Ask], Grant | None]) -> None:
        self._stops = stops
        self._ask = ask
        self._task: int | None = None
        self._left = 0
        self._last = Grant(0)

    def admit(
        self, books: TaskBooks, file: int, events: list[Event], tags: list[Tag]
    ) -> tuple[list[Event], list[Tag]]:
        """Give those that may be sent; the others are entered into the books. From one on, all of a file."""
        count = self._count(books, file, len(events))
        if count is None:
            books.never_sent(file)
            return [], []
        if tags[count:]:
            assert self._last.until is not None
            books.hold(file, tags[count:], self._last.words, self._last.until)
        return events[:count], tags[:count]

    def _count(self, books: TaskBooks, file: int, wanted: int) -> int | None:
        """How many of so many may be sent; None when the run has to stop."""
        if books.held(file):
            return 0
        if books.task.number != self._task:
            # What is left of the last task's grants is given back when that is settled.
            self._task, self._left = books.task.number, 0
        if wanted > self._left:
            event_type = books.task.files[file].ref.event_type
            grant = self._ask(Ask(books.task.number, wanted - self._left, self._stops(event_type)))
            if grant is None:
                return None
            self._left += grant.events
            self._last = grant if grant.until else self._last
        count = min(wanted, self._left)
        self._left -= count
        return count
