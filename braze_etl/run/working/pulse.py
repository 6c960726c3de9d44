"""A worker's pulse: how many requests it has under way, and that it is alive; and who gives no sign of life.

A file may hold the reading thread for ever, in a loop or in a call that keeps the interpreter to itself. So
signs of life are what that thread *does*: steps (a block, a piece of a file), and waits for others, which may
be long: for Amplitude, which throttles, for the budget, for the next task. Another thread tells the parent of
them, and has nothing to tell of a reader that is stuck; or it can't tell, because the reader is in C.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar

from braze_etl.clock import Clock

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE: Final = 300.0
"""Seconds without a sign of life after which a worker is given up; the largest sound block takes a few."""
PATIENCE_ALONE: Final = 120.0
"""The same of a worker that has a single file, because one died over it."""
SOON_SILENT: Final = 15.0
"""Seconds without one that cast a doubt: signs come three times as often."""
_EVERY = 0.25
_SIGN_EVERY = 5.0
_LONGEST_LOOK = 1.0
"""Seconds that count between two looks: that a parent was away for longer is not the worker's fault."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """Requests that a worker has under way at the moment. Each is a sign of life."""

    in_flight: int


class Heart:
    """Sends a pulse when it is asked to beat, but at most every *every* seconds."""

    def __init__(self, send: Callable[[Pulse], None], clock: Clock, every: float = _EVERY) -> None:
        self._send = send
        self._clock = clock
        self._every = every
        self._last: float | None = None

    def beat(self, in_flight: int) -> None:
        """Tell how many are under way, unless that was told just now."""
        now = self._clock.monotonic()
        if self._last is None or now - self._last >= self._every:
            self._last = now
            self._send(Pulse(in_flight))


class Life:
    """What the reading thread does, told by it; another thread asks whether it gets on."""

    def __init__(self) -> None:
        self._steps = 0
        self._seen = -1
        self._waits = False

    def step(self) -> None:
        """One more piece of work is done."""
        self._steps += 1

    def wait(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Do *work*, which waits for somebody else for as long as that takes."""
        self._waits = True
        try:
            return work(*arguments, **named)
        finally:
            self.step()
            self._waits = False

    def gets_on(self) -> bool:
        """Whether it waits, or has done something since this was asked last."""
        before, self._seen = self._seen, self._steps
        return self._waits or self._seen != before

    def give_signs(self, tell: Callable[[], None], clock: Clock) -> None:
        """Go on for ever: *tell* every few seconds, while it gets on."""
        while True:
            clock.wait(_SIGN_EVERY)
            if self.gets_on():
                tell()


class Silence:
    """How long a worker has given no sign of life, in seconds of a parent that was there to hear it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked = clock.monotonic()
        self.seconds = 0.0

    def end(self) -> None:
        """There was a sign, or there is nothing to do for it."""
        self.seconds = 0.0

    def look(self) -> float:
        """Count what has passed since the last look, and give the whole."""
        now = self._clock.monotonic()
        self.seconds += min(now - self._looked, _LONGEST_LOOK)
        self._looked = now
        return self.seconds
