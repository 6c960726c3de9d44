"""How a pipeline stands, from its state alone: what `status` shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from braze_etl.checkpoint import LedgerMissingError, LedgerSummary, RunRecord
from braze_etl.clock import Clock, iso
from braze_etl.config import Settings
from braze_etl.run.assembly import open_quarantine, open_state
from braze_etl.run.window import Window

_RUNS = 10


@dataclass(frozen=True)
class Standing:
    """The facts of CONTRACT.md's `status`; `summary` is None while there is no ledger."""

    pipeline: str
    now: datetime
    window: Window
    summary: LedgerSummary | None
    start_at: datetime | None
    quarantined: int
    lease: str | None
    runs: list[RunRecord]

    @property
    def at_risk(self) -> bool:
        """Whether the exit code is 5."""
        return self.window.at_risk(self.now)

    def as_dict(self) -> dict[str, Any]:
        """The status as JSON values."""
        summary = self.summary
        backlog = summary.backlog if summary else None
        return {
            "pipeline": self.pipeline,
            "exit_code": 5 if self.at_risk else 0,
            "window": {
                "objective_hours": self.window.objective.total_seconds() / 3600,
                **self.window.as_dict(self.now),
                "at_risk": self.at_risk,
            },
            "last_delivery": _iso(summary.last_delivery if summary else None),
            "last_listing": _iso(summary.last_listing if summary else None),
            "backlog": {
                "files": backlog.files if backlog else 0,
                "bytes": backlog.bytes if backlog else 0,
                "by_event_type": {
                    event_type: {"files": line.files, "bytes": line.bytes}
                    for event_type, line in (backlog.by_event_type if backlog else {}).items()
                },
            },
            "start_at": _iso(self.start_at),
            "before_start": {"files": summary.before_start if summary else None},
            "deferred": sum(summary.deferred.values()) if summary else 0,
            "quarantined": self.quarantined,
            "lease": self.lease,
            "runs": [_run(run) for run in self.runs],
        }


def standing(settings: Settings, clock: Clock) -> Standing:
    """Read the state; nothing is listed, and nothing is created."""
    objective, warn_at = settings.window.objective, settings.window.warn_at
    quarantined = open_quarantine(settings).depth()
    try:
        ledger = open_state(settings, clock, read_only=True)
    except LedgerMissingError:
        window = Window(objective, warn_at, None, None)
        return Standing(settings.pipeline, clock.now(), window, None, None, quarantined, None, [])
    try:
        summary = ledger.summary()
        window = Window(objective, warn_at, summary.backlog.oldest_hour, summary.last_listing)
        holder = ledger.holder()
        return Standing(
            settings.pipeline,
            clock.now(),
            window,
            summary,
            ledger.start_at,
            quarantined,
            str(holder) if holder else None,
            ledger.runs(_RUNS),
        )
    finally:
        ledger.close()


def _run(run: RunRecord) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "command": run.command,
        "started_at": iso(run.started_at),
        "finished_at": _iso(run.finished_at),
        "exit_code": run.exit_code,
        "events": run.report.get("events"),
        "files": run.report.get("files"),
    }


def _iso(moment: datetime | None) -> str | None:
    return iso(moment) if moment else None
