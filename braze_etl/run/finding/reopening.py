"""Records that a run left open, scheduled again in the same run once their time has come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from braze_etl.checkpoint import Ledger
from braze_etl.clock import Clock
from braze_etl.model import FileState, Reason
from braze_etl.run.finding.due import DueFile, open_files
from braze_etl.run.working.tasks import Settlement, Task

_MOST = 10_000
_EVERY = 5.0


class Reopening:
    """Remembers the files that this run left open, at most `_MOST` of them; the next run finds the others.

    Nobody waits here: a file comes back while the run is at work on others anyway.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._left_open: set[str] = set()
        self._others: set[str] = set()
        self._looked = clock.monotonic()

    def began(self, task: Task) -> None:
        """Leave files alone in which earlier runs left records open that still wait: those count there."""
        self._others.update(due.ref.key for due in task.files if due.later)

    def note(self, settlement: Settlement) -> None:
        """Remember what a task left open."""
        for file in settlement.files:
            fresh = file.ref.key not in self._others and len(self._left_open) < _MOST
            if file.state is FileState.OPEN and fresh:
                self._left_open.add(file.ref.key)

    def ready(self) -> Iterator[DueFile]:
        """The remembered files with open records that may be tried now; looks every few seconds."""
        now = self._clock.monotonic()
        if not self._left_open or now - self._looked < _EVERY:
            return
        self._looked = now
        moment = self._clock.now()
        for due in open_files(self._ledger.open_files(ready_by=moment), now=moment):
            if due.ref.key in self._left_open:
                self._left_open.remove(due.ref.key)
                yield due


def deferred_in(due: DueFile) -> Counter[Reason]:
    """How many records of *due* are taken up again, by the reason that they were deferred for."""
    counts: Counter[Reason] = Counter()
    for part in due.open:
        counts[part.reason] += part.count
    return counts
