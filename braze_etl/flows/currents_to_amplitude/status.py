"""How a pipeline stands, from its state alone: what `status` shows."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

from braze_etl.clock import Clock, iso
from braze_etl.engine import quarantine_stop as bound
from braze_etl.engine.budget import Account, Spent
from braze_etl.engine.due import BacklogTally, by_age
from braze_etl.engine.forecast import RECENT_RUNS, Density, Forecast, Rate, Window, forecast
from braze_etl.engine.report import succeeded
from braze_etl.engine.source_health import Freshness
from braze_etl.errors import BrazeEtlError
from braze_etl.flows.currents_to_amplitude.drift import field_words, past_drift
from braze_etl.flows.currents_to_amplitude.mapping import load_mapping
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.pipeline import open_quarantine, open_state
from braze_etl.model import Reason
from braze_etl.monitoring import verification
from braze_etl.state.ledger import (
    Backlog,
    BacklogLine,
    LeaseHolder,
    Ledger,
    LedgerMissingError,
    LedgerSummary,
    RunRecord,
    never_create,
)

_ENTRIES_READ: Final = 100_000
"""Half a second's worth; behind that, the quarantine is counted from a listing, and not by reason."""
_OPEN_FILES_READ: Final = 20_000


@dataclass(frozen=True, slots=True)
class QuarantineDepth:
    """What is in the quarantine; `by_reason` is None where reading all of it would take too long."""

    entries: int
    by_reason: Counter[Reason] | None


@dataclass(frozen=True, slots=True)
class Deferred:
    """Open records of one reason; `earliest` is None where there are too many open files to look at."""

    records: int
    earliest: datetime | None

    def as_dict(self) -> dict[str, Any]:
        return {"records": self.records, "earliest": _iso(self.earliest)}


@dataclass(frozen=True)
class PipelineStatus:
    """The facts of CONTRACT.md's `status`; `summary` is None while there is no ledger, and `no_ledger` tells.

    `backlog` is what the ledger has on its books, or what a listing has just found (`listed`).
    """

    pipeline: str
    now: datetime
    window: Window
    source: Freshness
    set_aside: QuarantineDepth
    backlog: Backlog = field(default_factory=Backlog)
    listed: bool = False
    summary: LedgerSummary | None = None
    no_ledger: BrazeEtlError | None = None
    start_at: datetime | None = None
    deferred: dict[Reason, Deferred] = field(default_factory=dict)
    holder: LeaseHolder | None = None
    runs: list[RunRecord] = field(default_factory=list)
    unknown_types: dict[str, int] = field(default_factory=dict)
    """Event types that nobody knows yet, with the records of them that the last runs read."""
    drift: dict[str, dict[str, Any]] = field(default_factory=lambda: past_drift(()))
    """What the last runs found in known event types, by kind."""
    account: Account | None = None
    """How the budget stands; None where neither bounds nor a price are configured."""
    quarantine_stop: dict[str, Any] = field(default_factory=dict)
    """Which run was stopped by `quarantine.stop_at`, while that stands."""
    verification: dict[str, Any] = field(default_factory=dict)
    """What the newest verification found; empty before the first."""

    @property
    def at_risk(self) -> bool:
        return self.window.at_risk(self.now)

    @property
    def exit_code(self) -> int:
        """The exit code of `status`: the source may have gone quiet, too."""
        return 5 if self.at_risk or self.source.is_stale(self.now) else 0

    @property
    def forecast(self) -> Forecast:
        """Whether the backlog is cleared in time, at the rate of the last runs."""
        rate = Rate.of([run.report for run in self.runs])
        return forecast(self.backlog, rate, objective=self.window.objective, now=self.now)

    @property
    def stop_words(self) -> str:
        """Why nothing is sent, and what ends that; for a status with a `quarantine_stop`."""
        return f"{bound.stop_words(self.quarantine_stop)}; `run --allow-quarantine` goes on"

    @property
    def drift_words(self) -> str:
        """What changed in known event types, in a few words; empty if nothing did."""
        return field_words(self.drift)

    def estimated_events(self) -> dict[str, int]:
        """About how many events the backlog of each type holds."""
        density = Density.of(run.report for run in self.runs)
        return {name: density.events(name, line) for name, line in self.backlog.by_event_type.items()}

    def as_dict(self) -> dict[str, Any]:
        summary = self.summary
        return {
            "pipeline": self.pipeline,
            "exit_code": self.exit_code,
            "window": {
                "objective_hours": self.window.objective.total_seconds() / 3600,
                **self.window.as_dict(self.now),
                "at_risk": self.at_risk,
            },
            "source": self.source.as_dict(self.now),
            **({"no_ledger": self.no_ledger.as_dict()} if self.no_ledger else {}),
            "last_delivery": _iso(summary.last_delivery if summary else None),
            "last_delivery_age_hours": hours_since(summary.last_delivery if summary else None, self.now),
            "last_listing": _iso(summary.last_listing if summary else None),
            "backlog": self._backlog(),
            "forecast": self.forecast.as_dict(),
            "start_at": _iso(self.start_at),
            "before_start": {"files": summary.before_start if summary else None},
            "deferred": sum(each.records for each in self.deferred.values()),
            "deferred_by_reason": {reason.value: each.as_dict() for reason, each in self.deferred.items()},
            "quarantined": self.set_aside.entries,
            "quarantined_by_reason": _by_reason(self.set_aside),
            "quarantine_stop": self.quarantine_stop or None,
            "verification": self.verification or None,
            "drift": {**self.drift, "unknown_event_types": self.unknown_types},
            **({"budget": self._budget(self.account)} if self.account else {}),
            "lease": str(self.holder) if self.holder else None,
            "runs": [_run(run) for run in self.runs],
        }

    def _budget(self, account: Account) -> dict[str, Any]:
        """The account, with the types of the backlog that are held as long as a bound is used up."""
        used_up, types = account.used_up is not None, sorted(self.backlog.by_event_type)
        stopped = [name for name in types if used_up and account.terms.stops(name)]
        return {**account.as_dict(), "stopped": stopped}

    def _backlog(self) -> dict[str, Any]:
        backlog, events = self.backlog, self.estimated_events()
        # Which types an hour holds is not kept, so that every hour gets its share of all events by its bytes.
        per_byte = sum(events.values()) / backlog.bytes if backlog.bytes else 0.0
        return {
            "listed_now": self.listed,
            **_line(BacklogLine(backlog.files, backlog.bytes), sum(events.values())),
            "by_event_type": {
                name: _line(line, events[name]) for name, line in backlog.by_event_type.items()
            },
            "by_age": {
                name: _line(line, round(line.bytes * per_byte))
                for name, line in by_age(backlog, self.now).items()
            },
        }


def pipeline_status(settings: Settings, clock: Clock, *, refresh: bool = False) -> PipelineStatus:
    """Read the state, and with *refresh* list the source; nothing is written, and no lease is taken."""
    set_aside = _set_aside(settings)
    try:
        ledger = _ledger(settings, clock, even_new=refresh)
    except LedgerMissingError as error:
        return _without_ledger(settings, clock.now(), set_aside, error)
    with closing(ledger):
        summary, now = ledger.summary(), clock.now()
        source = Freshness.read(ledger, settings.window.source_stale_after)
        backlog = summary.backlog
        if refresh:
            backlog, newest_hour = _list(settings, ledger, now)
            source = source.seeing(newest_hour)
        runs = ledger.runs(RECENT_RUNS)
        drift = past_drift(run.report for run in runs)
        return PipelineStatus(
            pipeline=settings.pipeline,
            now=now,
            window=_window(settings, backlog.oldest_hour, summary.last_listing),
            source=source,
            set_aside=set_aside,
            backlog=backlog,
            listed=refresh,
            summary=summary,
            start_at=ledger.start_at,
            deferred=_deferred(ledger, summary),
            holder=ledger.holder(),
            runs=runs,
            unknown_types=_unknown_types(settings, backlog, runs, drift),
            drift=drift,
            account=_account(settings, ledger, now),
            quarantine_stop=ledger.get_note(bound.NOTE),
            verification=ledger.get_note(verification.NOTE),
        )


def _without_ledger(
    settings: Settings, now: datetime, set_aside: QuarantineDepth, missing: LedgerMissingError
) -> PipelineStatus:
    """Never listed; whether that is the first day or a loss, the configuration tells."""
    return PipelineStatus(
        settings.pipeline,
        now,
        _window(settings, None, None),
        Freshness(settings.window.source_stale_after),
        set_aside,
        no_ledger=never_create(settings.state.uri) if settings.state.create == "never" else missing,
        account=_account(settings, None, now),
    )


def _window(settings: Settings, oldest: datetime | None, last_listing: datetime | None) -> Window:
    return Window(settings.window.objective, settings.window.warn_at, oldest, last_listing)


def _account(settings: Settings, ledger: Ledger | None, now: datetime) -> Account | None:
    terms = settings.terms
    if not terms.configured:
        return None
    return Account.read(ledger, terms, now) if ledger else Account(terms, Spent.nothing(now))


def _ledger(settings: Settings, clock: Clock, *, even_new: bool) -> Ledger:
    if not even_new:
        return open_state(settings, clock, read_only=True)
    from braze_etl.flows.pipeline import ledger_to_read

    return ledger_to_read(settings, clock)


def _list(settings: Settings, ledger: Ledger, now: datetime) -> tuple[Backlog, datetime | None]:
    """List what is due, and the newest hour; the job's own last listing is what its window is measured by."""
    from braze_etl.flows.currents_to_amplitude.source import due_now

    due, _ = due_now(settings.source, ledger, None, now)
    tally = BacklogTally()
    for file in due:
        tally.discovered(file.ref)
    return tally.backlog(), due.newest_hour


def _set_aside(settings: Settings) -> QuarantineDepth:
    quarantine = open_quarantine(settings)
    entries = quarantine.depth()
    if entries > _ENTRIES_READ:
        return QuarantineDepth(entries, None)
    by_reason: Counter[Reason] = Counter()
    for (_, reason), count in quarantine.counts().items():
        by_reason[reason] += count
    return QuarantineDepth(by_reason.total(), by_reason)


def _deferred(ledger: Ledger, summary: LedgerSummary) -> dict[Reason, Deferred]:
    if not summary.deferred:
        return {}
    earliest: dict[Reason, datetime] = {}
    looked_at = 0
    for file in islice(ledger.open_files(), _OPEN_FILES_READ + 1):
        looked_at += 1
        for part in file.open:
            earliest[part.reason] = min(earliest.get(part.reason, part.not_before), part.not_before)
    if looked_at > _OPEN_FILES_READ:
        earliest.clear()
    return {
        reason: Deferred(records, earliest.get(reason))
        for reason, records in sorted(summary.deferred.items())
    }


def _unknown_types(
    settings: Settings, backlog: Backlog, runs: list[RunRecord], drift: dict[str, dict[str, Any]]
) -> dict[str, int]:
    """Types that the mapping does not list, even those of the backlog; and those that the runs report."""
    read = Counter(dict.fromkeys(backlog.by_event_type, 0))
    for run in runs:
        for event_type, books in run.report.get("by_event_type", {}).items():
            read[event_type] += books["read"]
    mapping = load_mapping(settings)
    plans = [mapping.plan(event_type) for event_type in sorted(read)]
    return {
        plan.event_type: read[plan.event_type]
        for plan in plans
        if (not plan.listed or plan.event_type in drift["unknown_event_types"])
        and plan.withheld is not Reason.NOT_IN_NATIVE
    }


def hours_since(moment: datetime | None, now: datetime) -> float | None:
    """The age of something in hours; None for what never was."""
    return None if moment is None else round((now - moment) / timedelta(hours=1), 2)


def _line(line: BacklogLine, events: int) -> dict[str, int]:
    return {"files": line.files, "bytes": line.bytes, "estimated_events": events}


def _by_reason(set_aside: QuarantineDepth) -> dict[str, int] | None:
    if set_aside.by_reason is None:
        return None
    return {reason.value: entries for reason, entries in set_aside.by_reason.most_common()}


def _run(run: RunRecord) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "command": run.command,
        "started_at": iso(run.started_at),
        "finished_at": _iso(run.finished_at),
        "seconds": run.report.get("seconds"),
        "exit_code": run.exit_code,
        "succeeded": succeeded(run),
        "events": run.report.get("events"),
        "files": run.report.get("files"),
    }


def _iso(moment: datetime | None) -> str | None:
    return iso(moment) if moment else None
