"""The sweep: hours that the listing of a run no longer covers are listed again, now and then, for late files.

A listing goes back by `source.lookback`; what comes later than that, or changes, is found here. It runs after
delivery, within a budget of time, and goes on in the next run where it left off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from braze_etl.checkpoint import BacklogLine, Ledger
from braze_etl.clock import Clock, iso
from braze_etl.run.finding.due import DueFile, DueFiles
from braze_etl.run.finding.walk import Hours, Walk

_NOTE = "reconcile"


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a sweep begins, and how much time of one run it may take."""

    every: timedelta
    budget: timedelta


class Reconcile:
    """One run's part of a sweep, with what it came upon: see `DueFiles` for `archived` and `changed`."""

    def __init__(self, ledger: Ledger, hours: Hours, pace: Pace, clock: Clock) -> None:
        self._ledger = ledger
        self._hours = hours
        self._pace = pace
        self._clock = clock
        self._walk: Walk | None = None
        self.archived = BacklogLine()
        self.changed = 0

    def due(self, until: datetime, should_stop: Callable[[], bool]) -> Iterator[DueFile]:
        """Give what is due in the hours from the ledger's start to *until*, as far as the budget allows.

        Nothing when the last sweep is younger than `every`.
        """
        since = self._since()
        if since is None or since >= until:
            return
        walk = self._walk = Walk(self._hours, since, until)
        files = walk.files(self._clock, self._pace.budget, should_stop)
        due = DueFiles(files, self._ledger, now=self._clock.now())
        try:
            yield from due
        finally:
            self.archived, self.changed = due.archived, due.changed

    def note(self) -> None:
        """Remember how far it came; to be called when what it found is on the ledger's books."""
        if self._walk is None:
            return
        onward = self._walk.next
        fact = {"finished_at": iso(self._clock.now())} if onward is None else {"next": iso(onward)}
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
