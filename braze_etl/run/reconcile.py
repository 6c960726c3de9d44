"""The sweep: hours that the listing of a run no longer covers are listed again, now and then, for late files.

A listing goes back by `source.lookback`; what comes later than that, or changes, is found here. It runs after
delivery, within a budget of time, and goes on in the next run where it left off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from braze_etl.checkpoint import BacklogLine, Ledger
from braze_etl.clock import Clock, iso
from braze_etl.model import FileRef
from braze_etl.run.due import DueFile, DueFiles

_NOTE = "reconcile"

Hours = Callable[[datetime, datetime], Iterable[FileRef]]
"""Lists the files of the hours from the first (inclusive) to the second (exclusive), oldest first."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a sweep begins, and how much time of one run it may take."""

    every: timedelta
    budget: timedelta


class Reconcile:
    """One run's part of a sweep. `complete` is whether it came to its end."""

    def __init__(self, ledger: Ledger, hours: Hours, pace: Pace, clock: Clock) -> None:
        self._ledger = ledger
        self._hours = hours
        self._pace = pace
        self._clock = clock
        self._reached: datetime | None = None
        self.complete = False
        self.archived = BacklogLine()
        self.changed = 0

    def due(self, until: datetime, should_stop: Callable[[], bool]) -> Iterator[DueFile]:
        """Give what is due in the hours from the ledger's start to *until*, as far as the budget allows.

        Nothing when the last sweep is younger than `every`.
        """
        since = self._since()
        if since is None or since >= until:
            return
        self._reached = since
        due = DueFiles(self._swept(since, until, should_stop), self._ledger, now=self._clock.now())
        try:
            yield from due
        finally:
            self.archived, self.changed = due.archived, due.changed

    def note(self) -> None:
        """Remember how far it came; to be called when what it found is on the ledger's books."""
        if self._reached is None:
            return
        fact = {"finished_at": iso(self._clock.now())} if self.complete else {"next": iso(self._reached)}
        self._ledger.remember(_NOTE, fact)

    def _since(self) -> datetime | None:
        fact = self._ledger.recall(_NOTE)
        if "next" in fact:
            return datetime.fromisoformat(fact["next"])
        if (
            "finished_at" in fact
            and self._clock.now() - datetime.fromisoformat(fact["finished_at"]) < self._pace.every
        ):
            return None
        return self._ledger.start_at

    def _swept(self, since: datetime, until: datetime, should_stop: Callable[[], bool]) -> Iterator[FileRef]:
        end = self._clock.monotonic() + self._pace.budget.total_seconds()
        reached = since
        for ref in self._hours(since, until):
            if should_stop():
                return
            if ref.hour > reached:
                # Hours come in order, so that all before this one are done; the first always is.
                self._reached = ref.hour
                if reached > since and self._clock.monotonic() >= end:
                    return
                reached = ref.hour
            yield ref
        self.complete = True
