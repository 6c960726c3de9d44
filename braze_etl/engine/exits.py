"""When a run has to stop, and the exit code it ends with (CONTRACT.md, exit codes)."""

from __future__ import annotations

import math
from collections.abc import Collection
from datetime import timedelta
from typing import Final

from braze_etl.clock import Clock, SystemClock
from braze_etl.deadline import Halt
from braze_etl.engine.report import RunReport
from braze_etl.errors import AbandonedError

EXIT_CODES: Final = {
    0: "everything due was delivered; of other commands: done",
    1: "failed: nothing further could be done (key refused, source or state unreachable, Amplitude failing);"
    " a check of `doctor` failed",
    2: "bad usage or bad configuration; nothing was touched",
    3: "finished, and records or files were newly set aside; of `mapping check --strict`: something differs",
    4: "stopped with work left for the next run",
    5: "`status` only: the window is at risk, the source was never listed, or it has gone quiet",
    6: "`verify` only: something is missing",
    11: "another run holds the lease",
    130: "interrupted (SIGINT), after a clean stop",
    143: "terminated (SIGTERM), after a clean stop",
}
"""What each code means, in the words of the reference."""


GRACE: Final = 2.0
"""Seconds for a stop, on top of those for the requests that are under way."""
_POOL_GOES: Final = GRACE - 1.3
_PEERS_GO: Final = GRACE - 0.9
_ALL_GOES: Final = GRACE - 0.5


class Stop:
    """A request to stop cleanly, made once: by a signal, or by the end of `--max-runtime`.

    *timeout* is how long a request to Amplitude may take. What is under way by then is settled; for the rest
    there are `GRACE` seconds. They go in steps, so that each leaves time to end well.
    """

    def __init__(
        self, clock: Clock | None = None, *, max_runtime: timedelta | None = None, timeout: float = 20.0
    ) -> None:
        self._clock = clock or SystemClock()
        self._timeout = timeout
        self.max_runtime = max_runtime
        limit = None if max_runtime is None else max_runtime.total_seconds()
        self._ends = None if limit is None else self._clock.monotonic() + limit
        self._signalled: float | None = None
        self.signum: int | None = None

    def request(self, signum: int) -> None:
        """Remember the first signal."""
        if self.signum is None:
            self._signalled = self._clock.monotonic()
            self.signum = signum

    @property
    def asked(self) -> bool:
        """Whether nothing new may begin."""
        return self.signum is not None or self._since() >= 0

    @property
    def time_is_over(self) -> bool:
        """Whether `--max-runtime` is over."""
        return self._ends is not None and self._clock.monotonic() >= self._ends

    @property
    def gives_up_workers(self) -> bool:
        """Whether workers that have not settled by now are not waited for any longer."""
        return self._since() >= self._timeout + _POOL_GOES

    @property
    def is_over(self) -> bool:
        """Whether the process has to end as it is."""
        return self._since() >= self._timeout + _ALL_GOES

    def halt(self) -> Halt:
        """Which exchanges have to make way."""
        if not self.asked:
            return Halt.NONE
        return Halt.ALL if self._since() >= self._timeout + _PEERS_GO else Halt.YIELD

    def _since(self) -> float:
        """Seconds since it was time to stop; negative before that."""
        moments = [moment for moment in (self._signalled, self._ends) if moment is not None]
        return self._clock.monotonic() - min(moments) if moments else -math.inf


def exit_code(report: RunReport, stop: Stop) -> int:
    """The first of the documented codes that applies."""
    abandoned = isinstance(report.error, AbandonedError)  # by the stop, and no failure
    if report.error is not None and not abandoned:
        return report.error.exit_code
    if stop.signum is not None:
        return 128 + stop.signum
    if report.remaining or report.events.deferred or report.cut_short or abandoned:
        return 4
    return 3 if report.newly_set_aside else 0


def softened(code: int, accepted: Collection[int]) -> int:
    """The code for a scheduler that knows only red and green: 0 for those that `--ok-exit` names."""
    return 0 if code in accepted else code
