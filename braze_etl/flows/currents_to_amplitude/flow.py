"""From settings to the parts of a run: the one place that knows which setting reaches which room."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from braze_etl.amplitude.destination import BatchApi
from braze_etl.braze.currents.listing import Listing, Selection
from braze_etl.clock import Clock, hour_of
from braze_etl.config.loading import Config
from braze_etl.engine.budget import Terms
from braze_etl.engine.executors.cores import usable_cores
from braze_etl.engine.worklists.listed import Covers, DueFiles, Hours, Reconcile
from braze_etl.errors import StoreError
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.mapping.groups import expand_types
from braze_etl.mapping.identity import People
from braze_etl.mapping.limits import mend_event
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.people import load_people
from braze_etl.mapping.vocabulary import differences, mistakes, unknown_types
from braze_etl.state.ledger import Ledger, OpenFile
from braze_etl.storage.opening import open_store
from braze_etl.storage.read_ahead import NOTHING_AHEAD, ReadAhead
from braze_etl.storage.store import Store
from braze_etl.uri import is_in_s3


@dataclass(frozen=True, slots=True)
class Scope:
    """Which part of the source a run covers: hours from *since* (inclusive) to *until* (exclusive)."""

    since: datetime
    until: datetime | None = None
    event_types: tuple[str, ...] = ()

    def __contains__(self, hour: datetime) -> bool:
        return self.since <= hour and (self.until is None or hour < self.until)


ScopeOf: TypeAlias = Callable[[Settings, Ledger], Scope]
"""What a run covers may depend on its ledger."""


def stated_scope(scope: Scope) -> ScopeOf:
    """A scope that does not."""
    return lambda _settings, _ledger: scope


def open_source(settings: Settings, *, gives_way: bool = True) -> tuple[Store, str]:
    """The store with the Currents files, which gives way to a stop, and their prefix in it."""
    access = settings.source.access()
    return open_store(settings.source.uri, access=access, gives_way=gives_way)


def open_source_ahead(settings: Settings) -> ReadAhead:
    """The store with the Currents files, for a worker: small files are read ahead, if it is no folder."""
    store, _ = open_source(settings)
    return ReadAhead(store) if is_in_s3(settings.source.uri) else ReadAhead(store, NOTHING_AHEAD)


def source_lifetime(settings: Settings) -> timedelta | None:
    """How long the source's files can be read before it deletes or archives them itself, if that is known."""
    store, prefix = open_source(settings)
    with suppress(StoreError):  # few jobs have the right to read the rules, and none depends on it
        return store.lifetime(prefix)
    return None


def selection(settings: Settings, event_types: tuple[str, ...] = ()) -> Selection:
    """What is selected: the source's globs, narrowed by those of the command line."""
    return Selection(
        integrations=settings.source.integrations,
        event_types=settings.source.event_types,
        narrowed_to=event_types,
    )


def listing(settings: Settings, scope: Scope, now: datetime) -> Listing:
    """A listing of the selected files in *scope* that are settled by *now*."""
    store, prefix = open_source(settings)
    # Without a settling time, clocks that disagree must not make a file look too young.
    settle = settings.source.settle
    return Listing(
        store,
        prefix,
        selection(settings, scope.event_types),
        since=scope.since,
        until=scope.until,
        settled_before=now - settle if settle else None,
    )


def live_scope(settings: Settings, ledger: Ledger) -> Scope:
    """What `run` lists: all that may have come since the last complete listing, up to a look-back late.

    And all that the runs before left undelivered, however old: only a listing finds it again.
    """
    summary = ledger.summary()
    if summary.last_listing is None:
        return Scope(since=ledger.start_at)
    since = hour_of(summary.last_listing - settings.source.lookback)
    return Scope(since=max(ledger.start_at, min(since, summary.backlog.oldest_hour or since)))


def hours(settings: Settings, clock: Clock) -> Hours:
    """Lists the selected files of a range of hours."""
    return lambda since, until: listing(settings, Scope(since, until), clock.now())


def sweep(settings: Settings, ledger: Ledger, clock: Clock) -> Reconcile:
    """The sweep of the hours that `live_scope` leaves out."""
    every, budget = settings.source.reconcile_every, settings.source.reconcile_for
    return Reconcile(ledger, hours(settings, clock), clock, every=every, budget=budget)


def mapping_mistakes(settings: Settings) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The words for types and fields that stand for nothing, each with its path in the configuration."""
    for path, words in mistakes(settings.mapping):
        yield ("mapping", *path), words
    for number, words in unknown_types(settings.mapping, settings.budget.stop):
        yield ("budget", "stop", number), f"budget.stop: {words}"


def failed_tests(config: Config[Settings]) -> list[str]:
    """Run the tests that stand in the mapping; a line for each that fails."""
    mapping, section = load_mapping(config.settings), config.settings.mapping
    failed = []
    for number, example in enumerate(section.tests):
        if found := differences(example, mapping):
            name = example.test or example.event_type
            failed.append(f"  {config.places['mapping', 'tests', number]}: {name}: {'; '.join(found)}")
    return failed


def load_mapping(settings: Settings, people: People | None = None) -> EventMapping:
    """The mapping in force by its rules alone: for whoever only asks what becomes of a type."""
    return EventMapping.load(settings.mapping, people, min_id_length=settings.amplitude.min_id_length)


def open_mapping(settings: Settings) -> EventMapping:
    """The mapping in force with its lists and tables of people: for whoever judges records.

    Errors are those of `load_people`.
    """
    people = load_people(settings.mapping, settings.source.access())
    return load_mapping(settings, people)


def open_destination(settings: Settings, workers: int = 1) -> BatchApi:
    """Amplitude, as one of *workers* processes sends events to it."""
    return BatchApi(settings.amplitude, mend_event, processes=workers)


def budget_terms(settings: Settings) -> Terms:
    """What may be sent, and what it costs; the groups of event types in `budget.stop` give way to globs."""
    stop = expand_types(settings.budget.stop)
    return Terms(settings.budget.model_copy(update={"stop": stop}), settings.cost)


def worker_count(settings: Settings, asked: int | None = None) -> int:
    """How many processes: as asked, as configured, or one for each core that may be used (see `cores`)."""
    wanted = asked or settings.workers
    return min(usable_cores() if wanted == "auto" else wanted, settings.amplitude.in_flight)


def due_now(
    settings: Settings, ledger: Ledger, scope: Scope | None, now: datetime, *, resend: bool = False
) -> tuple[DueFiles, Listing]:
    """List what a `run` would find due, or with *scope* a `backfill`, which may *resend*.

    The due files can be iterated over once, oldest hour first; both say more when that is done.
    """
    chosen, covers_all = scope or live_scope(settings, ledger), scope is None
    covers = covering(settings, chosen, covers_all=covers_all)
    listed = listing(settings, chosen, now)
    due = DueFiles(listed, ledger, now=now, resend=resend, covers=covers, covers_all=covers_all)
    return due, listed


def covering(settings: Settings, scope: Scope, *, covers_all: bool) -> Covers:
    """Which of the ledger's open files belong to a run: for `run` all that are selected, however old."""
    chosen = selection(settings, scope.event_types)

    def covers(file: OpenFile) -> bool:
        return chosen.matches_event_type(file.ref.event_type) and (covers_all or file.ref.hour in scope)

    return covers
