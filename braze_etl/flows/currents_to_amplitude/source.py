"""The source of this flow: its store, what is listed of it, and what of that is due."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from braze_etl.braze.currents.listing import Listing, Selection
from braze_etl.braze.currents.settings import Source
from braze_etl.clock import Clock, hour_of
from braze_etl.engine.worklists.listed import Covers, DueFiles, Hours, Reconcile
from braze_etl.errors import StoreError
from braze_etl.state.ledger import Ledger, OpenFile
from braze_etl.state.retention import refuse_pruned
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


ScopeOf: TypeAlias = Callable[[Source, Ledger], Scope]
"""What a run covers may depend on its ledger."""


def stated_scope(scope: Scope, *, resend: bool = False) -> ScopeOf:
    """A scope that does not; `UsageError` for one of which the ledger can't tell any more what is due."""

    def of(_source: Source, ledger: Ledger) -> Scope:
        if not resend:
            refuse_pruned(ledger, scope.since)
        return scope

    return of


def open_source(source: Source, *, gives_way: bool = True) -> tuple[Store, str]:
    """The store with the Currents files, which gives way to a stop, and their prefix in it."""
    access = source.access()
    return open_store(source.uri, access=access, gives_way=gives_way)


def open_source_ahead(source: Source) -> ReadAhead:
    """The store with the Currents files, for a worker: small files are read ahead, if it is no folder."""
    store, _ = open_source(source)
    return ReadAhead(store) if is_in_s3(source.uri) else ReadAhead(store, NOTHING_AHEAD)


def source_lifetime(source: Source) -> timedelta | None:
    """How long the source's files can be read before it deletes or archives them itself, if that is known."""
    store, prefix = open_source(source)
    with suppress(StoreError):  # few jobs have the right to read the rules, and none depends on it
        return store.lifetime(prefix)
    return None


def selection(source: Source, event_types: tuple[str, ...] = ()) -> Selection:
    """What is selected: the source's globs, narrowed by those of the command line."""
    return Selection(
        integrations=source.integrations,
        event_types=source.event_types,
        narrowed_to=event_types,
    )


def listing(source: Source, scope: Scope, now: datetime) -> Listing:
    """A listing of the selected files in *scope* that are settled by *now*."""
    store, prefix = open_source(source)
    # Without a settling time, clocks that disagree must not make a file look too young.
    settle = source.settle
    return Listing(
        store,
        prefix,
        selection(source, scope.event_types),
        since=scope.since,
        until=scope.until,
        settled_before=now - settle if settle else None,
    )


def live_scope(source: Source, ledger: Ledger) -> Scope:
    """What `run` lists: all that may have come since the last complete listing, up to a look-back late.

    And all that the runs before left undelivered, however old: only a listing finds it again.
    """
    summary = ledger.summary()
    if summary.last_listing is None:
        return Scope(since=ledger.start_at)
    since = hour_of(summary.last_listing - source.lookback)
    return Scope(since=max(ledger.start_at, min(since, summary.backlog.oldest_hour or since)))


def hours(source: Source, clock: Clock) -> Hours:
    """Lists the selected files of a range of hours."""
    return lambda since, until: listing(source, Scope(since, until), clock.now())


def sweep(source: Source, ledger: Ledger, clock: Clock) -> Reconcile:
    """The sweep of the hours that `live_scope` leaves out."""
    every, budget = source.reconcile_every, source.reconcile_for
    return Reconcile(ledger, hours(source, clock), clock, every=every, budget=budget)


def covering(source: Source, scope: Scope, *, covers_all: bool) -> Covers:
    """Which of the ledger's open files belong to a run: for `run` all that are selected, however old."""
    chosen = selection(source, scope.event_types)

    def covers(file: OpenFile) -> bool:
        return chosen.matches_event_type(file.ref.event_type) and (covers_all or file.ref.hour in scope)

    return covers


def due_now(
    source: Source, ledger: Ledger, scope: Scope | None, now: datetime, *, resend: bool = False
) -> tuple[DueFiles, Listing]:
    """List what a `run` would find due, or with *scope* a `backfill`, which may *resend*.

    The due files can be iterated over once, oldest hour first; both say more when that is done.
    """
    if scope and not resend:
        refuse_pruned(ledger, scope.since)
    chosen, covers_all = scope or live_scope(source, ledger), scope is None
    covers = covering(source, chosen, covers_all=covers_all)
    listed = listing(source, chosen, now)
    due = DueFiles(listed, ledger, now=now, resend=resend, covers=covers, covers_all=covers_all)
    return due, listed
