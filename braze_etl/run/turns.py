"""Taking turns: a backfill of days gives the lease back now and then, and a scheduled run waits for that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from braze_etl.checkpoint import LeaseOwner, Ledger
from braze_etl.clock import Clock
from braze_etl.errors import LeaseHeldError

GIVES_WAY: Final = "backfill"
TURN: Final = 120.0
"""Seconds that a backfill keeps the lease, and a little more: what is in flight is settled first."""
PATIENCE: Final = 300.0
"""Seconds that a run waits for a backfill to give way."""
_PAUSE: Final = 5.0
_GLANCE: Final = 1.0


class Turns:
    """The lease of a ledger as one pass holds it; use as a context manager.

    A backfill asks `is_over` between its tasks and, when its turn is over, calls `pass_on`. Any other pass
    that finds a backfill at work waits for that moment. Everybody else is told `LeaseHeldError` at once.
    """

    def __init__(
        self, ledger: Ledger, owner: LeaseOwner, clock: Clock, should_stop: Callable[[], bool]
    ) -> None:
        self._ledger = ledger
        self._owner = owner
        self._clock = clock
        self._should_stop = should_stop
        self._lease = ExitStack()
        self._ends = 0.0
        self.held = False
        self.passed_on = False

    def __enter__(self) -> Self:
        until = self._clock.monotonic() + PATIENCE
        while not self._taken():
            if not (self._is_giving_way() and self._clock.monotonic() < until) or self._should_stop():
                self._take()
                break
            self._clock.wait(_GLANCE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def is_over(self) -> bool:
        """Whether this is a backfill that has held the lease for long enough."""
        return self._owner.command == GIVES_WAY and self._clock.monotonic() >= self._ends

    def pass_on(self) -> None:
        """Give the lease back for a moment, and take it again when whoever took it is done.

        Ends without the lease (see `held`) when it is time to stop meanwhile.
        """
        self._leave()
        self.passed_on = True
        until = self._clock.monotonic() + _PAUSE
        while self._clock.monotonic() < until and not self._should_stop():
            self._clock.wait(_GLANCE)
        while not self._should_stop():
            if self._taken():
                return
            self._clock.wait(_GLANCE)

    def _taken(self) -> bool:
        try:
            self._take()
        except LeaseHeldError:
            return False
        return True

    def _take(self) -> None:
        self._lease.enter_context(self._ledger.lease(self._owner))
        self._ends = self._clock.monotonic() + TURN
        self.held = True

    def _leave(self) -> None:
        self.held = False
        self._lease.close()

    def _is_giving_way(self) -> bool:
        holder = self._ledger.holder()
        if holder is None:
            return True  # it has just left
        return holder.owner.command == GIVES_WAY != self._owner.command
