"""What has to be confirmed before anything is touched: to exceed the budget, and a large first run."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from braze_etl.clock import Clock
from braze_etl.commands.plan.planning import Plan, make_plan
from braze_etl.errors import UsageError
from braze_etl.flows.currents_to_amplitude.flow import ScopeOf, budget_terms
from braze_etl.flows.currents_to_amplitude.remapped import plan_changes
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.pipeline import ledger_to_read, open_state
from braze_etl.state.ledger import Ledger, LedgerMissingError
from braze_etl.state.rules import never_create


@dataclass(frozen=True)
class Intent:
    """What a pass covers (None: all that is due, as `run` does), and what has not been confirmed yet."""

    scope: ScopeOf | None = None
    resend: bool = False
    changed_only: bool = False
    asks_budget: bool = False
    asks_first_run: bool = False


def admit(settings: Settings, intent: Intent, clock: Clock) -> None:
    """Raise `UsageError` where the estimate of `plan` is more than is left, or than a first run may send.

    The source is listed for that only where the configuration sets such a bound. Nothing is written.
    `ConfigError` where the ledger is missing and may not be made: a lost one is no first run to confirm.
    """
    asks_budget = intent.asks_budget and budget_terms(settings).bounded
    asks_first_run = intent.asks_first_run and settings.budget.first_run_events is not None
    if not asks_budget and not asks_first_run:
        return
    with closing(_ledger(settings, clock)) as ledger:
        asks_first_run = asks_first_run and ledger.summary().last_delivery is None
        scope = intent.scope(settings, ledger) if intent.scope else None
    if not asks_budget and not asks_first_run:
        return
    if intent.changed_only:
        if asks_budget and intent.scope:
            _refuse_changes(settings, intent.scope, clock)
        return
    plan = make_plan(settings, scope, exact=False, clock=clock, resend=intent.resend)
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


def _refuse_changes(settings: Settings, scope: ScopeOf, clock: Clock) -> None:
    spending = plan_changes(settings, scope, clock).spending
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
