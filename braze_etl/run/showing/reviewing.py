"""What `report` shows: the history of a pipeline, and how it stands now. Reads the state, writes nothing."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta
from typing import Any, Final

from braze_etl.checkpoint import Ledger, LedgerMissingError, RunRecord
from braze_etl.clock import Clock, iso
from braze_etl.config import Settings
from braze_etl.run.assembly import open_state
from braze_etl.run.showing.history import History
from braze_etl.run.showing.standing import standing

_HOUR: Final = timedelta(hours=1)
_AT_FIRST: Final = 500


def review(settings: Settings, clock: Clock, *, days: int) -> dict[str, Any]:
    """The last *days* of a pipeline as JSON values; `now` is what `status` says. Empty without a ledger."""
    found = standing(settings, clock)
    now = found.as_dict()
    del now["exit_code"], now["runs"]
    runs = _runs(settings, clock, found.now - timedelta(days=days))
    at_work = found.holder.owner.run_id if found.holder else None
    history = History.of(runs, found.now, days, found.window.objective, at_work)
    return {
        "pipeline": settings.pipeline,
        "generated_at": iso(found.now),
        "objective_hours": settings.window.objective / _HOUR,
        "warn_at_hours": settings.window.warn_at / _HOUR,
        "now": now,
        **history.as_dict(),
    }


def _runs(settings: Settings, clock: Clock, since: datetime) -> list[RunRecord]:
    try:
        ledger = open_state(settings, clock, read_only=True)
    except LedgerMissingError:
        return []
    with closing(ledger):
        return _back_to(ledger, since)


def _back_to(ledger: Ledger, since: datetime) -> list[RunRecord]:
    """All runs from *since* on; the ledger gives the last so many, and how many that takes is not known."""
    limit = _AT_FIRST
    while len(runs := ledger.runs(limit)) == limit and runs[-1].started_at >= since:
        limit *= 4
    return runs
