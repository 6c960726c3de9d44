"""The files before `source.start_at`: counted once in a ledger's life, a long history in parts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from braze_etl.checkpoint import Ledger
from braze_etl.clock import Clock, iso
from braze_etl.run.finding.walk import Hours, Walk

_NOTE = "before_start"
_EVER = datetime(2000, 1, 1, tzinfo=UTC)
"""Before Braze was founded."""
_BUDGET = timedelta(minutes=1)


class BeforeStart:
    """Counts for about a minute of a run, and goes on in the next where it left off."""

    def __init__(self, ledger: Ledger, hours: Hours, clock: Clock, budget: timedelta = _BUDGET) -> None:
        self._ledger = ledger
        self._hours = hours
        self._clock = clock
        self._budget = budget

    def count(self, should_stop: Callable[[], bool]) -> int | None:
        """Give the number of files, or None when it is not known yet."""
        fact = self._ledger.recall(_NOTE)
        since = hour = datetime.fromisoformat(fact["next"]) if fact else _EVER
        before, of_hour = int(fact.get("files", 0)), 0
        walk = Walk(self._hours, since, self._ledger.start_at)
        for ref in walk.files(self._clock, self._budget, should_stop):
            if ref.hour > hour:
                before, of_hour, hour = before + of_hour, 0, ref.hour
            of_hour += 1
        if walk.next is None:
            return before + of_hour
        whole = before + of_hour if walk.next > hour else before
        self._ledger.remember(_NOTE, {"next": iso(walk.next), "files": whole})
        return None
