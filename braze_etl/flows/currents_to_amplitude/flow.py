"""The flow put together: from settings and a command line to a `Run` that is ready."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from braze_etl.amplitude.destination import BatchApi
from braze_etl.braze.currents.keys import hour_of_key
from braze_etl.braze.currents.listing import Listing
from braze_etl.clock import Clock, duration_text, iso
from braze_etl.config.loading import Config
from braze_etl.delivery.batches import Trouble
from braze_etl.delivery.destination import Probe
from braze_etl.engine.clock_skew import Witnesses
from braze_etl.engine.executors.workers import Workers
from braze_etl.engine.exits import Stop
from braze_etl.engine.flow import SharedExecutor, WorkList
from braze_etl.engine.forecast import RECENT_RUNS, SHORTER_PATIENCE, too_patient
from braze_etl.engine.inspection import Inspector
from braze_etl.engine.meter import Meter
from braze_etl.engine.quarantine_stop import QuarantineStop
from braze_etl.engine.report import RunReport
from braze_etl.engine.run import Flow, Run, RunOptions, Watcher
from braze_etl.engine.worklists.listed import BeforeStart, Listed
from braze_etl.engine.worklists.missing import Missing, MissingRecords
from braze_etl.engine.worklists.replayed import Replayed
from braze_etl.errors import BrazeEtlError, ConfigError
from braze_etl.flows.currents_to_amplitude.drift import Drift
from braze_etl.flows.currents_to_amplitude.mapping import open_mapping
from braze_etl.flows.currents_to_amplitude.plan import Intent, admit
from braze_etl.flows.currents_to_amplitude.remapped import Mappings, Remapped
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.currents_to_amplitude.source import (
    ScopeOf,
    covering,
    hours,
    listing,
    live_scope,
    source_lifetime,
    sweep,
)
from braze_etl.flows.currents_to_amplitude.worker import executor_opener_of
from braze_etl.flows.pipeline import keeps_payloads, open_quarantine, open_state, receive_store_times
from braze_etl.logs import get_logger
from braze_etl.monitoring.hooks import Hooks, notify_of_failed_start
from braze_etl.quarantine.entry import Selection as Entries
from braze_etl.quarantine.quarantine import Quarantine
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
    workers: Workers | None = None
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
    missing: Iterable[MissingRecords] | None = None
    """What a verification did not find, and nothing else is due."""


@dataclass(frozen=True)
class Observers:
    """Who sees a run from outside: its watchers, and who is told of requests while they are under way."""

    watchers: Sequence[Watcher] = ()
    in_flight: Callable[[int], None] = lambda _: None
    """How many there are, over all workers; a few times a second."""
    troubled: Callable[[Trouble], None] = lambda _: None
    """One has failed; each worker reports the first of each kind."""
    began: Callable[[RunReport], None] = lambda _: None
    """The run begins; its report is filled from now on."""
    doing: Callable[[str, int, int | None], None] = lambda *_: None
    """What is done before a run begins, how far that is, and of how much, where that is known."""


_NOBODY = Observers()
_OUT_OF_REACH = timedelta(days=7)
"""How far behind the look-back an hour lies of which files are pruned."""


@contextmanager
def open_run(
    config: Config[Settings],
    request: Request,
    clock: Clock,
    stop: Stop,
    observers: Observers = _NOBODY,
    *,
    run_id: str,
) -> Iterator[Run]:
    """Open the ledger and everything else that a run needs; raises `ConfigError` or `StateError`.

    What has to be confirmed first is a `UsageError`, and nothing is touched. A scheduled run that fails
    before it holds the lease of its ledger notifies the webhook.
    """
    settings = config.require("")
    report = RunReport(run_id, settings.pipeline, request.command, clock.now())
    try:
        with _opened(config, request, clock, stop, observers, run_id=run_id) as run:
            report = run.report
            yield run
    except BrazeEtlError as error:
        if report.finished_at is None:
            notify_of_failed_start(settings.notify, report, error, clock)
        raise


@contextmanager
def _opened(
    config: Config[Settings],
    request: Request,
    clock: Clock,
    stop: Stop,
    observers: Observers,
    *,
    run_id: str,
) -> Iterator[Run]:
    settings = config.settings
    if not settings.amplitude.api_key.get_secret_value():
        raise ConfigError(
            "amplitude.api_key is not set",
            remedy="Set it to ${AMPLITUDE_API_KEY}, and that in the environment.",
        )
    mapping = open_mapping(settings)
    admit(config, _intent(request), clock)
    # Before the ledger, which a bad address must not bring into the world.
    quarantine, lifetime = open_quarantine(settings), source_lifetime(settings.source)
    workers = settings.processes(request.workers)
    open_executor = executor_opener_of(
        config,
        request.workers,
        keep_payloads=keeps_payloads(settings, lifetime),
        rationed=settings.terms.enforced and not request.over_budget,
    )
    probing = Probing(settings, clock, observers.troubled)
    ledger = open_state(settings, clock, witnesses=probing.witnesses)
    try:
        receive_store_times(settings, probing.witnesses)
        _warn(settings, request, ledger, lifetime)
        mappings = Mappings(ledger, mapping)
        mappings.keep()
        budget = Meter(ledger, settings.terms, clock, workers=workers)
        executor = SharedExecutor(
            partial(
                open_executor,
                answer=budget.answer,
                watch=observers.in_flight,
                troubled=observers.troubled,
            )
        )
        flow = Flow(
            work=_work_list(
                settings,
                request,
                ledger=ledger,
                quarantine=quarantine,
                mappings=mappings,
                inspector=Inspector(
                    executor,
                    should_stop=lambda: stop.asked,
                    gives_up=lambda: stop.gives_up_workers,
                ),
                witnesses=probing.witnesses,
                clock=clock,
                run_id=run_id,
            ),
            probe=probing,
            executor=executor,
            extras=Drift(),
            clock_differs=lambda: probing.witnesses.differ,
        )
        hooks = Hooks(
            settings.pipeline,
            metrics=settings.metrics,
            notify=settings.notify,
            ledger=ledger,
            quarantine=quarantine,
            clock=clock,
        )
        yield Run(
            flow,
            ledger,
            quarantine,
            clock=clock,
            stop=stop,
            options=_options(settings, request, run_id, workers),
            watchers=(hooks, *observers.watchers),
            quarantine_stop=_quarantine_stop(settings, request, ledger),
            budget=budget,
        )
    finally:
        ledger.close()


def _intent(request: Request) -> Intent:
    """What has to be confirmed: a backfill over the budget, and a first run that is large."""
    sends = request.replay is None and request.missing is None
    return Intent(
        scope=None if request.covers_all else request.scope,
        resend=request.resend,
        changed_only=request.changed_only,
        workers=request.workers,
        asks_budget=sends and request.command == "backfill" and not request.over_budget,
        asks_first_run=sends and not request.confirm_first_run,
    )


def _quarantine_stop(settings: Settings, request: Request, ledger: Ledger) -> QuarantineStop | None:
    if request.replay is not None:
        return None
    return QuarantineStop(ledger, settings.quarantine.stop_at, lifted=request.allow_quarantine)


def _work_list(
    settings: Settings,
    request: Request,
    *,
    ledger: Ledger,
    quarantine: Quarantine,
    mappings: Mappings,
    inspector: Inspector,
    witnesses: Witnesses,
    clock: Clock,
    run_id: str,
) -> WorkList:
    """Where the due files come from: a verification, the quarantine, a new mapping, or the source."""

    def new_listing() -> Listing:
        return _new_listing(settings, request, ledger, witnesses, clock)

    if request.missing is not None:
        return Missing(request.missing, run_id)
    if request.replay is not None:
        return Replayed(quarantine, request.replay, hour_of_key)
    if request.changed_only:
        return Remapped(new_listing, mappings, inspector, sends=True, decoder=settings.decoder)
    scope, everything = request.scope(settings.source, ledger), request.covers_all
    return Listed(
        new_listing,
        settings.source.uri,
        covers_all=everything,
        covers=covering(settings.source, scope, covers_all=everything),
        accept_source=request.accept_source,
        resend=request.resend,
        stale_after=settings.window.source_stale_after,
        sweep=sweep(settings.source, ledger, clock) if everything else None,
        before_start=BeforeStart(ledger, hours(settings.source, clock), clock) if everything else None,
    )


def _new_listing(
    settings: Settings, request: Request, ledger: Ledger, witnesses: Witnesses, clock: Clock
) -> Listing:
    if request.covers_all:
        doubted = settings.source.start_at is None and ledger.summary().last_delivery is None
        witnesses.refuse_future(ledger.start_at, doubted=doubted)
    return listing(settings.source, request.scope(settings.source, ledger), clock.now())


def _warn(settings: Settings, request: Request, ledger: Ledger, lifetime: timedelta | None) -> None:
    """Say in the log what is odd about configuration and ledger, before anything is done."""
    _note_key(settings, ledger)
    _warn_of_a_new_ledger(settings, ledger)
    _warn_of_another_start(settings, ledger)
    _warn_of_long_patience(settings, request, ledger)
    _warn_of_a_short_life(settings, lifetime)


def _note_key(settings: Settings, ledger: Ledger) -> None:
    """A new key for the same project is fine, and worth a line; what is kept of it can't be turned back."""
    secret = settings.amplitude.api_key.get_secret_value()
    fingerprint = hashlib.sha256(f"braze_etl:{secret}".encode()).hexdigest()[:8]
    if ledger.note_key(fingerprint):
        _log.info("the API key is another than that of the last run", project=settings.amplitude.project)


def _warn_of_a_new_ledger(settings: Settings, ledger: Ledger) -> None:
    """A ledger may be new because the old one was lost: somebody should know at once."""
    if not ledger.runs(1):
        _log.warning(
            "this ledger is new: it knows of no file that was delivered",
            state=settings.state.uri,
            start_at=iso(ledger.start_at),
            remedy="if there was another, stop and restore it; Amplitude knows a repeat for 7 days",
        )


def _warn_of_another_start(settings: Settings, ledger: Ledger) -> None:
    asked = settings.source.start_at
    if asked is not None and asked != ledger.start_at:
        _log.warning(
            "source.start_at has no effect any more: the ledger began at another hour, for good",
            start_at=iso(asked),
            ledger=iso(ledger.start_at),
            remedy="older hours are sent by `backfill --from`",
        )


def _warn_of_long_patience(settings: Settings, request: Request, ledger: Ledger) -> None:
    if request.command != "run":
        return
    words = too_patient(settings.amplitude.give_up_after, ledger.runs(RECENT_RUNS), request.max_runtime)
    if words is not None:
        _log.warning("amplitude.give_up_after is longer than a run", cause=words, remedy=SHORTER_PATIENCE)


def _warn_of_a_short_life(settings: Settings, lifetime: timedelta | None) -> None:
    if lifetime is not None and lifetime <= settings.window.objective:
        _log.warning(
            "the source deletes or archives files by a lifecycle rule before they have to be delivered",
            after=duration_text(lifetime),
            objective=duration_text(settings.window.objective),
            remedy="let the rule wait for weeks: a file that is gone can't be delivered, nor replayed",
        )


def _options(settings: Settings, request: Request, run_id: str, workers: int) -> RunOptions:
    return RunOptions(
        run_id=run_id,
        command=request.command,
        pipeline=settings.pipeline,
        objective=settings.window.objective,
        warn_at=settings.window.warn_at,
        workers=workers,
        source_stale_after=settings.window.source_stale_after,
        keep=max(settings.state.keep, settings.source.lookback + _OUT_OF_REACH),
        max_events=settings.amplitude.max_events,
    )


class Probing:
    """Asks Amplitude whether key and host are right; the answer brings its time for the *witnesses*, too."""

    def __init__(self, settings: Settings, clock: Clock, troubled: Callable[[Trouble], None]) -> None:
        self._settings = settings
        self._clock = clock
        self._troubled = troubled
        self._kept: Probe | None = None
        self.witnesses = Witnesses(clock, self._ask)

    def __call__(self) -> Probe:
        """What Amplitude says: now, or a moment ago, when it was asked for its time."""
        found, self._kept = self._ask(), None
        return found

    def _ask(self) -> Probe:
        if self._kept is None:
            self._kept = _probe(self._settings, self._clock, self._troubled)
            self.witnesses.receive("Amplitude", self._kept.date)
        return self._kept


def _probe(settings: Settings, clock: Clock, troubled: Callable[[Trouble], None]) -> Probe:
    destination = BatchApi(settings.amplitude)
    with closing(destination.connect(clock, gives_way=True)) as transport:
        finding = destination.probe(transport)
    if finding.failure:
        troubled(Trouble(finding.failure, destination.address, finding.words))
    return finding
