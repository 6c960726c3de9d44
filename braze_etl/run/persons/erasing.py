"""Removing a person from all that this program stores, while no run is at work."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from braze_etl.checkpoint import LeaseOwner, Ledger, LedgerMissingError, RunRecord
from braze_etl.clock import Clock
from braze_etl.config import Settings
from braze_etl.quarantine import Found
from braze_etl.run.assembly import mapping_options, open_quarantine, open_state, store_access
from braze_etl.run.persons.busy import NOTE
from braze_etl.run.persons.located import locate
from braze_etl.run.persons.lookup_cache import LookupCache, cache_folder
from braze_etl.run.persons.people import load_people
from braze_etl.run.persons.person import Person
from braze_etl.run.persons.receipt import Receipt, receipt
from braze_etl.transform import LookupColumns, LookupTable, Mapping

_ALL_RUNS: Final = 1_000_000


def erase(settings: Settings, id_: str, clock: Clock, *, dry_run: bool = False) -> Receipt:
    """Remove whoever goes by *id_* from quarantine, ledger and copies of the look-up table.

    The books stay as they are: an entry of the quarantine keeps its position and loses its record. Made again
    it finds nothing more, and finishes what broke off. `LeaseHeldError` while a run is at work.
    """
    people = load_people(mapping_options(settings), store_access(settings, settings.source))
    # Whoever is suppressed has no name in Amplitude any more, but may have had one.
    rules = Mapping.load(mapping_options(settings), replace(people, suppressed=None)).plan("").identity
    person = Person(id_, rules)
    places: dict[str, Found] = {}
    with ExitStack() as stack:
        if isinstance(people.table, LookupTable):
            stack.enter_context(people.table)
        ledger = _ledger(settings, clock, stack, dry_run=dry_run)
        if ledger is not None:
            places["busy_ids"] = _from_busy_ids(ledger, person, dry_run=dry_run)
            places["run_reports"] = _from_reports(ledger, person, dry_run=dry_run)
        records, words = open_quarantine(settings).erase(person, dry_run=dry_run)
        places |= {"quarantine_records": records, "quarantine_details": words}
        places["lookup_copies"] = _from_copies(settings, person, dry_run=dry_run)
    suppressed = people.suppressed is not None and people.suppressed.covers(id_)
    return receipt(settings, id_, clock.now(), places, suppressed=suppressed, dry_run=dry_run)


def _ledger(settings: Settings, clock: Clock, stack: ExitStack, *, dry_run: bool) -> Ledger | None:
    """The ledger, under its lease unless nothing is to be written; None where there is none."""
    try:
        ledger = stack.enter_context(closing(open_state(settings, clock, read_only=True)))
    except LedgerMissingError:
        return None
    if dry_run:
        return ledger
    ledger = stack.enter_context(closing(open_state(settings, clock)))
    owner = LeaseOwner(f"erase-{secrets.token_hex(3)}", socket.gethostname(), os.getpid(), "erase")
    stack.enter_context(ledger.lease(owner))
    return ledger


def _from_busy_ids(ledger: Ledger, person: Person, *, dry_run: bool) -> Found:
    note = ledger.recall(NOTE)
    looked_at = sum(len(day["ids"]) for day in note.values())
    clean = {
        day: {**fact, "ids": {id_: n for id_, n in fact["ids"].items() if id_ not in person.names}}
        for day, fact in note.items()
    }
    found = looked_at - sum(len(day["ids"]) for day in clean.values())
    if found and not dry_run:
        ledger.remember(NOTE, clean)
    return Found(looked_at, found)


def _from_reports(ledger: Ledger, person: Person, *, dry_run: bool) -> Found:
    """Blot a person out of the errors of past runs, which may quote what Amplitude or a proxy has said."""
    runs = ledger.runs(_ALL_RUNS)
    found = sum(_without(person, run) != run for run in runs)
    if found and not dry_run:
        ledger.correct_runs(partial(_without, person))
    return Found(len(runs), found)


def _without(person: Person, run: RunRecord) -> RunRecord:
    error = run.report.get("error")
    if not error:
        return run
    clean = {name: person.blot_out(text) for name, text in error.items()}
    return replace(run, report={**run.report, "error": clean})


def _from_copies(settings: Settings, person: Person, *, dry_run: bool) -> Found:
    """Remove copies of the look-up table that hold the person; the next run makes a new one of its source."""
    lookup = settings.mapping.identity.lookup
    if lookup is None:
        return Found(0, 0)
    columns = LookupColumns(lookup.table, lookup.key_column, lookup.value_column)
    source = locate("look-up table", lookup.uri, store_access(settings, settings.source))
    copies = LookupCache(cache_folder()).copies(source, columns)
    holding = [copy for copy in copies if _names(copy, columns, person)]
    for copy in [] if dry_run else holding:
        copy.unlink(missing_ok=True)
    return Found(len(copies), len(holding))


def _names(copy: Path, columns: LookupColumns, person: Person) -> bool:
    with LookupTable(copy, columns) as table:
        return any(map(table.names, person.names))
