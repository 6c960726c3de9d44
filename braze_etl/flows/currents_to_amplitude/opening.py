"""Opening a job: from settings and a command line to a `Job` that is ready to run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta

from braze_etl.braze.currents.listing import Listing
from braze_etl.clock import Clock, duration_text, iso
from braze_etl.commands.plan.admission import Intent, admit
from braze_etl.delivery.batches import Trouble
from braze_etl.delivery.destination import Probe
from braze_etl.engine.busy import BusyDays
from braze_etl.engine.clock_skew import Witnesses
from braze_etl.engine.executors.local import WorkerPool, serve
from braze_etl.engine.exits import Stop
from braze_etl.engine.forecast import RECENT_RUNS, SHORTER_PATIENCE, too_patient
from braze_etl.engine.meter import Meter
from braze_etl.engine.quarantine_stop import Bound
from braze_etl.engine.report import RunReport
from braze_etl.engine.run import Job, JobOptions, JobParts, Progress
from braze_etl.engine.worklists.listed import BeforeStart
from braze_etl.engine.worklists.replayed import Replay
from braze_etl.errors import BrazeEtlError, ConfigError
from braze_etl.flows.currents_to_amplitude.drift import Drift
from braze_etl.flows.currents_to_amplitude.flow import (
    Scope,
    ScopeOf,
    budget_terms,
    covering,
    hours,
    listing,
    live_scope,
    open_destination,
    open_mapping,
    source_lifetime,
    sweep,
    worker_count,
)
from braze_etl.flows.currents_to_amplitude.remapped import Mappings, changes_of
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.currents_to_amplitude.worker import worker_spec
from braze_etl.flows.pipeline import hear_stores, keeps_payloads, open_quarantine, open_state
from braze_etl.logs import get_logger
from braze_etl.monitoring.hooks import Aftermath, tell_of_no_beginning
from braze_etl.quarantine.entry import Selection as Entries
from braze_etl.state.ledger import Ledger

_log = get_logger(__name__)


@dataclass(frozen=True)
class Request:
    """What the command line asks for. `scope` may depend on the ledger, as that of `run` does.

    With `replay`, the due files come from these entries of the quarantine, whatever the scope.
    """

    command: str
    scope: ScopeOf = live_scope
    covers_all: bool = False
    workers: int | None = None
    max_runtime: timedelta | None = None
    resend: bool = False
    replay: Entries | None = None
    over_budget: bool = False
    """Whether events may be sent beyond the bounds of the budget; they are counted all the same."""
    confirm_first_run: bool = False
    accept_source: bool = False
    allow_quarantine: bool = False
    """Whether more may be set aside than `quarantine.stop_at`; it ends an earlier stop, too."""
    changed_only: bool = False
    """Whether nothing is due but what a change of the mapping lets through."""


@contextmanager
def open_job(
    settings: Settings, request: Request, *, clock: Clock, stop: Stop, progress: Progress
) -> Iterator[Job]:
    """Open the ledger and everything else that a pass needs; raises `ConfigError` or `StateError`.

    A scheduled run that fails before it holds the lease of its ledger tells the webhook.
    """
    report = RunReport("", settings.pipeline, request.command, clock.now())
    try:
        with _opened(settings, request, clock, stop, progress) as job:
            report = job.report
            yield job
    except BrazeEtlError as error:
        if report.finished_at is None:
            tell_of_no_beginning(settings, report, error, clock)
        raise


@contextmanager
def _opened(
    settings: Settings, request: Request, clock: Clock, stop: Stop, progress: Progress
) -> Iterator[Job]:
    if not settings.amplitude.api_key.get_secret_value():
        raise ConfigError(
            "amplitude.api_key is not set",
            remedy="Set it to ${AMPLITUDE_API_KEY}, and that in the environment.",
        )
    mapping = open_mapping(settings)
    admit(settings, _intent(request), clock)
    # Before the ledger, which a bad address must not bring into the world.
    quarantine, lifetime = open_quarantine(settings), source_lifetime(settings)
    probing = Probing(settings, clock, progress)
    witnesses = probing.witnesses
    ledger = open_state(settings, clock, witnesses=witnesses)
    try:
        hear_stores(settings, witnesses)
        _note_key(settings, ledger)
        _tell_of_a_new_ledger(settings, ledger)
        _tell_of_another_start(settings, ledger)
        _tell_of_long_patience(settings, request, ledger)
        mappings = Mappings(ledger, mapping)
        mappings.keep()
        scope = request.scope(settings, ledger)
        workers = worker_count(settings, request.workers)
        _tell_of_a_short_life(settings, lifetime)
        budget = Meter(ledger, budget_terms(settings), clock, workers=workers)
        rationed = budget.terms.enforced and not request.over_budget
        keeps = keeps_payloads(settings, lifetime)
        spec = worker_spec(settings, workers, keep_payloads=keeps, rationed=rationed)
        parts = JobParts(
            ledger=ledger,
            quarantine=quarantine,
            new_listing=lambda: _new_listing(settings, request, ledger, witnesses, clock),
            probe=probing,
            new_pool=lambda: WorkerPool(
                workers,
                serve,
                spec,
                module=spec.module,
                answer=budget.answer,
                watch=progress.in_flight,
                troubled=progress.troubled,
            ),
            clock=clock,
            stop=stop,
            progress=progress,
            aftermath=Aftermath(settings, ledger, quarantine, clock),
            replay=None if request.replay is None else Replay(quarantine, request.replay),
            changes=changes_of(settings, ledger, mappings, note=True) if request.changed_only else None,
            before_start=BeforeStart(ledger, hours(settings, clock), clock),
            sweep=sweep(settings, ledger, clock) if request.covers_all else None,
            bound=_bound(settings, request, ledger),
            budget=budget,
            busy=BusyDays(ledger, clock, settings.mapping.identity.flag_above),
            extras=Drift(),
            clock_differs=lambda: witnesses.differ,
        )
        yield Job(parts, _options(settings, request, scope, workers))
    finally:
        ledger.close()


def _bound(settings: Settings, request: Request, ledger: Ledger) -> Bound | None:
    if request.replay is not None:
        return None
    return Bound(ledger, settings.quarantine.stop_at, lifted=request.allow_quarantine)


def _intent(request: Request) -> Intent:
    """What has to be confirmed: a backfill over the budget, and a first run that is large."""
    sends = request.replay is None
    return Intent(
        scope=None if request.covers_all else request.scope,
        resend=request.resend,
        changed_only=request.changed_only,
        asks_budget=sends and request.command == "backfill" and not request.over_budget,
        asks_first_run=sends and not request.confirm_first_run,
    )


def _new_listing(
    settings: Settings, request: Request, ledger: Ledger, witnesses: Witnesses, clock: Clock
) -> Listing:
    if request.covers_all:
        doubted = settings.source.start_at is None and ledger.summary().last_delivery is None
        witnesses.refuse_future(ledger.start_at, doubted=doubted)
    return listing(settings, request.scope(settings, ledger), clock.now())


def _note_key(settings: Settings, ledger: Ledger) -> None:
    """A new key for the same project is fine, and worth a line; what is kept of it can't be turned back."""
    secret = settings.amplitude.api_key.get_secret_value()
    fingerprint = hashlib.sha256(f"braze_etl:{secret}".encode()).hexdigest()[:8]
    if ledger.note_key(fingerprint):
        _log.info("the API key is another than that of the last run", project=settings.amplitude.project)


def _tell_of_a_new_ledger(settings: Settings, ledger: Ledger) -> None:
    """A ledger may be new because the old one was lost: somebody should know at once."""
    if not ledger.runs(1):
        _log.warning(
            "this ledger is new: it knows of no file that was delivered",
            state=settings.state.uri,
            start_at=iso(ledger.start_at),
            remedy="if there was another, stop and restore it; Amplitude knows a repeat for 7 days",
        )


def _tell_of_another_start(settings: Settings, ledger: Ledger) -> None:
    asked = settings.source.start_at
    if asked is not None and asked != ledger.start_at:
        _log.warning(
            "source.start_at has no effect any more: the ledger began at another hour, for good",
            start_at=iso(asked),
            ledger=iso(ledger.start_at),
            remedy="older hours are sent by `backfill --from`",
        )


def _tell_of_long_patience(settings: Settings, request: Request, ledger: Ledger) -> None:
    if request.command != "run":
        return
    words = too_patient(settings.amplitude.give_up_after, ledger.runs(RECENT_RUNS), request.max_runtime)
    if words is not None:
        _log.warning("amplitude.give_up_after is longer than a run", cause=words, remedy=SHORTER_PATIENCE)


def _tell_of_a_short_life(settings: Settings, lifetime: timedelta | None) -> None:
    if lifetime is not None and lifetime <= settings.window.objective:
        _log.warning(
            "the source deletes or archives files by a lifecycle rule before they have to be delivered",
            after=duration_text(lifetime),
            objective=duration_text(settings.window.objective),
            remedy="let the rule wait for weeks: a file that is gone can't be delivered, nor replayed",
        )


def _options(settings: Settings, request: Request, scope: Scope, workers: int) -> JobOptions:
    return JobOptions(
        command=request.command,
        pipeline=settings.pipeline,
        objective=settings.window.objective,
        warn_at=settings.window.warn_at,
        workers=workers,
        covers_all=request.covers_all,
        covers=covering(settings, scope, covers_all=request.covers_all),
        resend=request.resend,
        source=settings.source.uri,
        accept_source=request.accept_source,
        source_stale_after=settings.window.source_stale_after,
        max_events=settings.amplitude.max_events,
    )


class Probing:
    """Asks Amplitude whether key and host are right; the answer brings its time for the *witnesses*, too."""

    def __init__(self, settings: Settings, clock: Clock, progress: Progress) -> None:
        self._settings = settings
        self._clock = clock
        self._progress = progress
        self._kept: Probe | None = None
        self.witnesses = Witnesses(clock, self._ask)

    def __call__(self) -> Probe:
        """What Amplitude says: now, or a moment ago, when it was asked for its time."""
        found, self._kept = self._ask(), None
        return found

    def _ask(self) -> Probe:
        if self._kept is None:
            self._kept = _probe(self._settings, self._clock, self._progress)
            self.witnesses.hear("Amplitude", self._kept.date)
        return self._kept


def _probe(settings: Settings, clock: Clock, progress: Progress) -> Probe:
    destination = open_destination(settings)
    with closing(destination.connect(clock, gives_way=True)) as transport:
        finding = destination.probe(transport)
    if finding.failure:
        progress.troubled(Trouble(finding.failure, destination.address, finding.words))
    return finding
