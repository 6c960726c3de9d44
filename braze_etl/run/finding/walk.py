"""A walk over the files of many hours, as far as a run has time for it; another run goes on from there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import TypeAlias

from braze_etl.clock import Clock
from braze_etl.model import FileRef

Hours: TypeAlias = Callable[[datetime, datetime], Iterable[FileRef]]
"""Lists the files of the hours from the first (inclusive) to the second (exclusive), oldest first."""


class Walk:
    """Goes from hour to hour. `next` is the first hour that is not walked to its end; None when all are."""

    def __init__(self, hours: Hours, since: datetime, until: datetime) -> None:
        self._hours = hours
        self._since = since
        self._until = until
        self.next: datetime | None = since

    def files(self, clock: Clock, budget: timedelta, should_stop: Callable[[], bool]) -> Iterator[FileRef]:
        """Give the files until *budget* is used up, but those of one hour at least, or until a stop."""
        end = clock.monotonic() + budget.total_seconds()
        reached, walked = self._since, False
        for ref in self._hours(self._since, self._until):
            if ref.hour > reached:
                # Hours come in order: all before this one are done.
                self.next = reached = ref.hour
                if walked and clock.monotonic() >= end:
                    return
                walked = True
            if should_stop():
                return
            yield ref
        self.next = None
