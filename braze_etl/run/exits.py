"""When a pass has to stop, and the exit code it ends with (CONTRACT.md, exit codes)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from braze_etl.run.report import RunReport

EXIT_CODES: Final = {
    0: "everything due was delivered; of other commands: done",
    1: "failed: nothing further could be done (key refused, source or state unreachable, Amplitude failing);"
    " a check of `doctor` failed",
    2: "bad usage or bad configuration; nothing was touched",
    3: "finished, and records or files were newly set aside; of `mapping check --strict`: something differs",
    4: "stopped with work left for the next run",
    5: "`status` only: the window is at risk, the source was never listed, or it has gone quiet",
    11: "another run holds the lease",
    130: "interrupted (SIGINT), after a clean stop",
    143: "terminated (SIGTERM), after a clean stop",
}
"""What each code means, in the words of the reference."""


class Stop:
    """A request to stop cleanly, made once, by a signal."""

    def __init__(self) -> None:
        self.signum: int | None = None

    def request(self, signum: int) -> None:
        """Remember the first signal."""
        self.signum = self.signum or signum


def exit_code(report: RunReport, stop: Stop) -> int:
    """The first of the documented codes that applies."""
    if report.error is not None:
        return report.error.exit_code
    if stop.signum is not None:
        return 128 + stop.signum
    if report.remaining or report.events.deferred or report.cut_short:
        return 4
    return 3 if report.newly_set_aside else 0


def softened(code: int, accepted: Collection[int]) -> int:
    """The code for a scheduler that knows only red and green: 0 for those that `--ok-exit` names."""
    return 0 if code in accepted else code
