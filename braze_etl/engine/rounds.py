"""Who holds the lease of a ledger, and for how long: a backfill makes way for the scheduled run.

1. A backfill works in rounds. After `ROUND` seconds it settles what is in flight and gives the lease back.
2. The lease is free for a moment. A run that found the backfill at work has waited for that, and takes it.
3. The backfill takes the lease when it is free again, asks the ledger anew, and goes on: first with the files
   that it left open itself, and of which a record may be tried again now.

Every other run is one round. Who meets a run that makes no way is told `LeaseHeldError` at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Final

from braze_etl.clock import Clock
from braze_etl.engine.due import DueFile, open_files
from braze_etl.engine.tasks import Task
from braze_etl.errors import FatalError, LeaseHeldError
from braze_etl.model import FileSettlement, FileState
from braze_etl.state.ledger import LeaseOwner, Ledger, OpenFile

GIVES_WAY: Final = "backfill"
ROUND: Final = 120.0
"""Seconds that a round of a backfill takes, and a little more: what is in flight is settled first."""
PATIENCE: Final = 300.0
"""Seconds that a run waits for a backfill to give way."""
_PAUSE: Final = 5.0
_GLANCE: Final = 1.0


class Rounds:
    """The rounds of one run, each with the lease of its ledger."""

    def __init__(
        self, ledger: Ledger, owner: LeaseOwner, clock: Clock, should_stop: Callable[[], bool]
    ) -> None:
        self._ledger = ledger
        self._owner = owner
        self._clock = clock
        self._should_stop = should_stop
        self._ends = math.inf
        self.number = 0
        self.failure: FatalError | None = None
        """Why the lease could not be had for another round; what the rounds before did stands."""

    @contextmanager
    def next(self) -> Iterator[bool]:
        """Hold the lease for the length of a round.

        The first raises `LeaseHeldError` when the lease can't be had. Between rounds others are waited for;
        False when it is time to stop before they are done, or with a `failure` of the ledger.
        """
        with ExitStack() as lease:
            held = self._retaken(lease) if self.number else self._taken_first(lease)
            self.number += 1
            if self._owner.command == GIVES_WAY:
                self._ends = self._clock.monotonic() + ROUND
            yield held

    def is_over(self) -> bool:
        """Whether this round has taken long enough."""
        return self._clock.monotonic() >= self._ends

    def _taken_first(self, lease: ExitStack) -> bool:
        until = self._clock.monotonic() + PATIENCE
        while not self._taken(lease):
            if not (self._is_giving_way() and self._clock.monotonic() < until) or self._should_stop():
                lease.enter_context(self._ledger.lease(self._owner))
                break
            self._clock.wait(_GLANCE)
        return True

    def _retaken(self, lease: ExitStack) -> bool:
        until = self._clock.monotonic() + _PAUSE
        try:
            while not self._should_stop():
                if self._clock.monotonic() >= until and self._taken(lease):
                    return True
                self._clock.wait(_GLANCE)
        except FatalError as error:
            self.failure = error
        return False

    def _taken(self, lease: ExitStack) -> bool:
        try:
            lease.enter_context(self._ledger.lease(self._owner))
        except LeaseHeldError:
            return False
        return True

    def _is_giving_way(self) -> bool:
        holder = self._ledger.holder()
        if holder is None:
            return True  # it has just left
        return holder.owner.command == GIVES_WAY != self._owner.command


_MOST: Final = 10_000


class LeftOpen:
    """The files that a run has left open, for its next round; beyond `_MOST`, they wait for a later run."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._others: set[str] = set()

    def began(self, task: Task) -> None:
        """Leave files alone in which earlier runs left records open that still wait: those count there."""
        self._others.update(due.ref.key for due in task.files if due.later)

    def settled(self, files: Iterable[FileSettlement]) -> None:
        """Remember what was left open."""
        for file in files:
            fresh = file.ref.key not in self._others and len(self._keys) < _MOST
            if file.state is FileState.OPEN and fresh:
                self._keys.add(file.ref.key)

    def ready(self, ledger: Ledger, now: datetime) -> list[DueFile]:
        """The remembered files with open records that may be tried now; each is given once."""
        ready = list(open_files(filter(self._is_ours, ledger.open_files(ready_by=now)), now=now))
        self._keys.difference_update(due.ref.key for due in ready)
        return ready

    def _is_ours(self, file: OpenFile) -> bool:
        return file.ref.key in self._keys
