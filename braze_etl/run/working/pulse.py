"""A worker's pulse: how many requests it has under way, told to whoever watches a few times a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from braze_etl.clock import Clock

_EVERY = 0.25


@dataclass(frozen=True, slots=True)
class Pulse:
    """Requests that a worker has under way at the moment."""

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
