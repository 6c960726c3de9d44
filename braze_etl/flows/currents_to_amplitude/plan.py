"""What a run would do, counted from a listing and the ledger, or exactly by reading; what to confirm first.

Nothing is written.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from braze_etl.clock import Clock, iso
from braze_etl.config.loading import Config
from braze_etl.engine.budget import Account, Spending
from braze_etl.engine.due import DueFile
from braze_etl.engine.executors.workers import Workers
from braze_etl.engine.flow import WorkerParts
from braze_etl.engine.forecast import Density, Rate, recent_reports
from braze_etl.engine.inspection import Inspector, Killed
from braze_etl.engine.source_health import Recognition
from braze_etl.engine.tasks import Unavailable
from braze_etl.engine.worker import Life, blocks_of
from braze_etl.engine.worklists.listed import restore_command
from braze_etl.errors import (
    FileUnavailableError,
    SourceError,
    SourceGoneError,
    UnreadableFileError,
    UsageError,
)
from braze_etl.flows.currents_to_amplitude.mapping import load_mapping
from braze_etl.flows.currents_to_amplitude.person_counts import STANDARD_ERROR, BusyIds, Users
from braze_etl.flows.currents_to_amplitude.remapped import plan_changes
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.currents_to_amplitude.source import Scope, ScopeOf, due_now
from braze_etl.flows.currents_to_amplitude.worker import executor_to_read
from braze_etl.flows.pipeline import ledger_to_read, open_state
from braze_etl.mapping.mapping import EventMapping
from braze_etl.model import Damage, Event, FileRef, Outcome, Reason, ReasonCounts, Verdict
from braze_etl.state.ledger import BacklogLine, Ledger, LedgerMissingError, never_create

PROJECT_LIMIT: Final = 100_000.0
"""Events a second that a project may send to the batch endpoint by default (amplitude.md 1.2)."""


@dataclass(slots=True)
class Plan:
    """Files, bytes and events by type. `users` are counted only by reading; reasons say what is not sent."""

    max_events: int
    exact: bool
    rate: Rate = field(default_factory=Rate)
    limit: float = PROJECT_LIMIT
    files: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    to_send: Counter[str] = field(default_factory=Counter)
    reasons: ReasonCounts = field(default_factory=Counter)
    users: Users = field(default_factory=Users)
    busy_ids: BusyIds | None = None
    """Ids with very many events; None where nothing asks for them."""
    oldest: FileRef | None = None
    newest: FileRef | None = None
    archived: BacklogLine = field(default_factory=BacklogLine)
    restore: str | None = None
    """The command that makes archived files readable."""
    unfamiliar: int = 0
    """Files that the ledger should know, where it knows none of them (see `Familiarity`)."""
    refusal: SourceError | None = None
    """Why `run` would send nothing, until somebody accepts the source."""
    unavailable: Unavailable = field(default_factory=Unavailable)
    """Files that could not be read, and stay due: their records are not in the plan."""
    account: Account | None = None
    """How the budget stands; None where neither bounds nor a price are configured."""

    @property
    def requests(self) -> int:
        """Requests for what is to be sent."""
        return math.ceil(self.to_send.total() / self.max_events)

    @property
    def seconds(self) -> float | None:
        """How long runs need for these bytes at the rate they have measured; None when none has."""
        per_second = self.rate.bytes_per_second
        return None if not per_second else round(self.bytes.total() / per_second, 1)

    @property
    def seconds_at_limit(self) -> float:
        """How long it takes at least: at Amplitude's default limit, or at `amplitude.rate`."""
        return round(self.to_send.total() / self.limit, 1)

    @property
    def spending(self) -> Spending | None:
        """What this would spend, against what is left."""
        return Spending.of(self.account, self.to_send) if self.account else None

    def not_sent(self, outcome: Outcome, event_type: str | None = None) -> int:
        """How many records end so without being sent, of one type or of all."""
        return sum(
            records
            for (of_type, reason), records in self.reasons.items()
            if reason.outcome is outcome and event_type in (None, of_type)
        )

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON values; `users` are None in an estimate, times are in seconds."""
        users = self.users.total
        return {
            "estimated": not self.exact,
            "files": self.files.total(),
            "bytes": self.bytes.total(),
            "events": self.events.total(),
            "to_send": self.to_send.total(),
            "filtered": self.not_sent(Outcome.FILTERED),
            "quarantined": self.not_sent(Outcome.QUARANTINED),
            "users": users.count if self.exact else None,
            "users_error": (0.0 if users.exact else round(STANDARD_ERROR, 4)) if self.exact else None,
            "requests": self.requests,
            "seconds": self.seconds,
            "seconds_at_limit": self.seconds_at_limit,
            "unfamiliar_files": self.unfamiliar,
            "refusal": self.refusal.as_dict() if self.refusal else None,
            "unavailable": self.unavailable.as_dict(),
            "archived": {
                "files": self.archived.files,
                "bytes": self.archived.bytes,
                "restore": self.restore,
            },
            "oldest_hour": iso(self.oldest.hour) if self.oldest else None,
            "newest_hour": iso(self.newest.hour) if self.newest else None,
            "by_event_type": {event_type: self._line(event_type) for event_type in sorted(self.files)},
            **({"budget": spending.as_dict()} if (spending := self.spending) else {}),
            **({"busy_ids": self.busy_ids.as_dict()} if self.busy_ids else {}),
        }

    def _line(self, event_type: str) -> dict[str, Any]:
        return {
            "files": self.files[event_type],
            "bytes": self.bytes[event_type],
            "events": self.events[event_type],
            "to_send": self.to_send[event_type],
            "filtered": self.not_sent(Outcome.FILTERED, event_type),
            "quarantined": self.not_sent(Outcome.QUARANTINED, event_type),
            "users": self.users.by_event_type[event_type].count if self.exact else None,
            "reasons": {r.value: n for (of_type, r), n in self.reasons.items() if of_type == event_type},
        }

    def merge(self, other: Plan) -> None:
        """Take over what *other* has for later files."""
        self.files.update(other.files)
        self.bytes.update(other.bytes)
        self.events.update(other.events)
        self.to_send.update(other.to_send)
        self.reasons.update(other.reasons)
        self.users.merge(other.users)
        if self.busy_ids and other.busy_ids:
            self.busy_ids.merge(other.busy_ids)
        self.oldest = self.oldest or other.oldest
        self.newest = other.newest or self.newest
        self.unavailable.add(other.unavailable)

    def take(self, file: DueFile) -> None:
        """Count a file; its records are for the one who knows about them."""
        ref = file.ref
        self.files[ref.event_type] += 1
        self.bytes[ref.event_type] += ref.size if file.whole else file.weight
        self.oldest = self.oldest or ref
        self.newest = ref

    def send(self, event_type: str, events: int = 1) -> None:
        """Records that would be sent."""
        self.events[event_type] += events
        self.to_send[event_type] += events

    def count(self, event_type: str, day: date, outcome: Event | Verdict) -> None:
        """A record of a UTC day that was read, and what became of it."""
        if isinstance(outcome, Verdict):
            self.refuse(event_type, outcome.reason)
            return
        self.send(event_type)
        self.users.add(event_type, outcome)
        if self.busy_ids:
            self.busy_ids.add(day, outcome)

    def refuse(self, event_type: str, reason: Reason, records: int = 1) -> None:
        """Records that would not be sent."""
        self.events[event_type] += records
        self.reasons[event_type, reason] += records


def estimate(due: Iterable[DueFile], plan: Plan, density: Density, mapping: EventMapping) -> Plan:
    """Plan for these files by their sizes alone; of the filters only those for whole types are foreseen."""
    whole: Counter[tuple[str, str]] = Counter()
    left_open: Counter[str] = Counter()
    for file in due:
        plan.take(file)
        event_type = file.ref.event_type
        if file.whole:
            whole[event_type, "files"] += 1
            whole[event_type, "bytes"] += file.ref.size
        else:
            left_open[event_type] += sum(1 for _ in file.places())
    for event_type in plan.files:
        line = BacklogLine(whole[event_type, "files"], whole[event_type, "bytes"])
        records = density.events(event_type, line) + left_open[event_type]
        withheld = mapping.plan(event_type).withheld
        if withheld is None:
            plan.send(event_type, records)
        else:
            plan.refuse(event_type, withheld, records)
    return plan


@dataclass(frozen=True, slots=True)
class ExactPlanner:
    """Asks workers what exactly would become of the records of due files: a plan for these alone."""

    flag_above: int | None

    def __call__(self, files: Sequence[DueFile], parts: WorkerParts, life: Life) -> Plan:
        """See `Question`."""
        plan = self.empty()
        for file in files:
            plan.take(file)
            try:
                self._read(file, parts, life, plan)
            except UnreadableFileError:
                plan.refuse(file.ref.event_type, Reason.UNREADABLE_FILE)
            except SourceGoneError:
                plan.refuse(file.ref.event_type, Reason.SOURCE_GONE)
            except FileUnavailableError as error:
                plan.unavailable.note(error)
        return plan

    def empty(self, max_events: int = 1) -> Plan:
        """A plan for no file."""
        busy_ids = None if self.flag_above is None else BusyIds(self.flag_above)
        return Plan(max_events, exact=True, busy_ids=busy_ids)

    def without(self, file: DueFile) -> Plan:
        """The plan for a file that nobody can read."""
        plan = self.empty()
        plan.take(file)
        plan.refuse(file.ref.event_type, Reason.UNREADABLE_FILE)
        return plan

    def _read(self, file: DueFile, parts: WorkerParts, life: Life, plan: Plan) -> None:
        event_type, day = file.ref.event_type, file.ref.hour.date()
        for block, records in blocks_of(file, parts.store, parts.reader, life):
            if isinstance(block, Damage):
                plan.refuse(event_type, Reason.DAMAGED_BLOCK)
                continue
            for number, outcome in enumerate(block.outcomes):
                if records is None or number in records:
                    plan.count(event_type, day, outcome)


def plan_exactly(due: Iterable[DueFile], plan: Plan, inspector: Inspector) -> Plan:
    """Plan for these files by reading them."""
    planner = ExactPlanner(plan.busy_ids.bound if plan.busy_ids else None)
    for files, part in inspector.answers(due, planner):
        plan.merge(planner.without(files[0]) if isinstance(part, Killed) else part)
    return plan


def make_plan(
    config: Config[Settings],
    scope: Scope | None,
    *,
    exact: bool,
    clock: Clock,
    resend: bool = False,
    workers: Workers | None = None,
) -> Plan:
    """Plan a `run`, or with *scope* a `backfill`; nothing is sent, and nothing is written anywhere."""
    settings = config.settings
    with closing(ledger_to_read(settings, clock)) as ledger:
        reports, terms = recent_reports(ledger), settings.terms
        plan = _empty(settings, reports, exact=exact)
        plan.account = Account.read(ledger, terms, clock.now()) if terms.configured else None
        due, listed = due_now(settings.source, ledger, scope, clock.now(), resend=resend)
        if exact:
            with closing(executor_to_read(config, workers)) as executor:
                plan_exactly(due, plan, Inspector(executor))
        else:
            estimate(due, plan, Density.of(reports), load_mapping(settings))
        seen, recognition = due.familiarity, Recognition(ledger, settings.source.uri)
        plan.unfamiliar = seen.strangers
        plan.refusal = recognition.judge(listed, seen, complete=True, covers_all=scope is None).refusal
    plan.archived = due.archived
    plan.restore = restore_command(settings.source.uri, plan.archived)
    return plan


def _empty(settings: Settings, reports: list[dict[str, Any]], *, exact: bool) -> Plan:
    amplitude = settings.amplitude
    limit = min(PROJECT_LIMIT, amplitude.rate or PROJECT_LIMIT)
    bound = settings.mapping.identity.flag_above
    busy_ids = BusyIds(bound) if exact and bound is not None else None
    return Plan(amplitude.max_events, exact, Rate.of(reports), limit, busy_ids=busy_ids)


@dataclass(frozen=True)
class Intent:
    """What a run covers (None: all that is due, as `run` does), and what has not been confirmed yet."""

    scope: ScopeOf | None = None
    resend: bool = False
    changed_only: bool = False
    workers: Workers | None = None
    asks_budget: bool = False
    asks_first_run: bool = False


def admit(config: Config[Settings], intent: Intent, clock: Clock) -> None:
    """Raise `UsageError` where the estimate of `plan` is more than is left, or than a first run may send.

    The source is listed for that only where the configuration sets such a bound. Nothing is written.
    `ConfigError` where the ledger is missing and may not be made: a lost one is no first run to confirm.
    """
    settings = config.settings
    asks_budget = intent.asks_budget and settings.terms.bounded
    asks_first_run = intent.asks_first_run and settings.budget.first_run_events is not None
    if not asks_budget and not asks_first_run:
        return
    with closing(_ledger(settings, clock)) as ledger:
        asks_first_run = asks_first_run and ledger.summary().last_delivery is None
        scope = intent.scope(settings.source, ledger) if intent.scope else None
    if not asks_budget and not asks_first_run:
        return
    if intent.changed_only:
        if asks_budget and intent.scope:
            _refuse_changes(config, intent.scope, intent.workers, clock)
        return
    plan = make_plan(config, scope, exact=False, clock=clock, resend=intent.resend)
    if asks_first_run:
        _refuse_large_first_run(settings, plan)
    if asks_budget and plan.spending is not None:
        plan.spending.refuse_overrun()


def _ledger(settings: Settings, clock: Clock) -> Ledger:
    if settings.state.create == "auto":
        return ledger_to_read(settings, clock)
    try:
        return open_state(settings, clock, read_only=True)
    except LedgerMissingError:
        raise never_create(settings.state.uri) from None


def _refuse_changes(config: Config[Settings], scope: ScopeOf, workers: Workers | None, clock: Clock) -> None:
    spending = plan_changes(config, scope, clock, workers=workers).spending
    if spending is not None:
        spending.refuse_overrun(estimated=False)


def _refuse_large_first_run(settings: Settings, plan: Plan) -> None:
    most, events = settings.budget.first_run_events, plan.to_send.total()
    if most is None or events <= most:
        return
    project = settings.amplitude.project
    raise UsageError(
        f"this first run against the project {project!r} would send about {events:,} events (an estimate) of "
        f"{plan.files.total():,} files, and budget.first_run_events is {most:,}",
        remedy="Look at `plan` first; set source.start_at later or choose fewer event types, or give "
        "--confirm-first-run if this is what you want.",
    )
