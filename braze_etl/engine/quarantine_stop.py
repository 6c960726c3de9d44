"""The end of a run that sets too much aside (`quarantine.stop_at`): something is wrong with everything.

A run that exceeds it begins no further task, and a note in the ledger keeps the next ones from sending until
a person has looked: `run --allow-quarantine`. What the source had deleted is no such sign: it does not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from braze_etl.clock import iso
from braze_etl.engine.report import RunReport
from braze_etl.errors import QuarantineStopError
from braze_etl.model import Outcome, Reason
from braze_etl.state.ledger import Ledger

NOTE: Final = "quarantine_stop"
"""The name of the ledger's note that holds which run stopped, and by which numbers."""
LEAST: Final = 1_000
"""Records that a run must have read before a share says anything."""
_NO_SIGN: Final = frozenset({Reason.SOURCE_GONE})
REMEDY: Final = (
    "Look at `braze-etl quarantine list`, and mend what sets them aside (mapping, amplitude.min_id_length). "
    "Then `braze-etl run --allow-quarantine` goes on, and `braze-etl quarantine replay` sends what was set "
    "aside."
)


class QuarantineStop:
    """Asked at the beginning of a round and after each settlement, under the lease.

    *share* is `quarantine.stop_at`, None for no bound. *lifted*: this run may exceed it, and ends the stop
    of an earlier one. A replay has none: it neither obeys a stop nor ends one.
    """

    def __init__(self, ledger: Ledger, share: float | None, *, lifted: bool = False) -> None:
        self._ledger = ledger
        self._share = 1.0 if share is None else share
        self._lifted = lifted
        self.exceeded = False

    def admit(self) -> None:
        """Raise `QuarantineStopError` while an earlier stop stands; forget it where that was decided."""
        stopped = self._ledger.get_note(NOTE)
        if not stopped:
            return
        if not self._lifted and self._share < 1.0:
            raise QuarantineStopError(f"Nothing is sent: {stop_words(stopped)}.", remedy=REMEDY)
        self._ledger.put_note(NOTE, {})

    def check(self, report: RunReport, now: datetime) -> QuarantineStopError | None:
        """Give the error that ends the run when *report* exceeds the bound, and remember the stop."""
        read, set_aside = report.events.read, _counted(report)
        if self.exceeded or self._lifted or read < LEAST or set_aside / read <= self._share:
            return None
        self.exceeded = True
        share = f"{self._share * 100:g}%"
        stop = {"run_id": report.run_id, "at": iso(now), "set_aside": set_aside, "read": read, "share": share}
        self._ledger.put_note(NOTE, stop)
        return QuarantineStopError(f"The run stopped: {stop_words(stop)}.", remedy=REMEDY)


def stop_words(stop: Mapping[str, Any]) -> str:
    """Which run stopped, and by which numbers, in words."""
    part = stop["set_aside"] / stop["read"]
    return (
        f"{part:.1%} of the records that run {stop['run_id']} read were set aside ({stop['set_aside']:,} of "
        f"{stop['read']:,}), more than quarantine.stop_at ({stop['share']})"
    )


def _counted(report: RunReport) -> int:
    reasons = report.counts.by_reason.items()
    return sum(n for reason, n in reasons if reason.outcome is Outcome.QUARANTINED and reason not in _NO_SIGN)
