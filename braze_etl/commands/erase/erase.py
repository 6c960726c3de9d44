"""Removing a person from all that this program stores, while no run is at work."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from hashlib import sha256
from itertools import starmap
from typing import Any, Final

import orjson

from braze_etl.clock import Clock, iso
from braze_etl.flows.currents_to_amplitude.mapping import load_mapping
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.currents_to_amplitude.verification.expected import ERASED_NOTE, mark_of
from braze_etl.flows.pipeline import open_quarantine, open_state
from braze_etl.mapping.id_cache import IdCache, cache_folder, holds
from braze_etl.mapping.identity import IdentityRules, People
from braze_etl.mapping.lookup import LookupTable
from braze_etl.mapping.people import load_people
from braze_etl.model import Record, Verdict
from braze_etl.quarantine.payloads import Found
from braze_etl.state.ledger import LeaseOwner, Ledger, LedgerMissingError, RunRecord
from braze_etl.storage.opening import locate

ERASED: Final = "[erased]"
_LONG: Final = 5
"""Characters from which on an id is looked for inside of texts too; a shorter one is a word of many."""
_WHOLE: Final = re.compile(
    r"(?:^|[_ -])(?i:ids?)$|[a-z]I[dD]s?$|(?i:e-?mail|phone)(?:[_ -]?(?i:address|number))?s?$"
)
"""Names of fields that hold an id or an address and nothing else."""
_BEFORE: Final = r"(?<![\w.+@%-])(?<!\w')"
_AFTER: Final = r"(?![\w+@%-]|\.+[\w+@%-]|'\w)"
"""Where a name begins and ends in a text: smith@example.com is nobody in john.smith@example.com or
smith@example.com.au. A full stop at the end of a sentence, and quotes around a name, are none of it."""


class Person:
    """Whoever goes by *id_*: an external id, a device id, Braze's user id, an address, an Amplitude id.

    `names` are that id and those under which events with it are sent, by these identity rules.
    """

    def __init__(self, id_: str, rules: IdentityRules) -> None:
        self._rules = rules
        self._id = id_
        places = ((id_, None, None), (None, id_, None), (None, None, id_))
        self.names: Final = frozenset({id_}.union(*(self._sent_as(*place) for place in places)))
        words = "|".join(re.escape(name) for name in sorted(self.names, key=len, reverse=True))
        self._named = re.compile(f"{_BEFORE}(?:{words}){_AFTER}")

    def are_in(self, record: Record) -> bool:
        """Whether a record is theirs: sent under one of their names, or with their id in any field.

        A field that holds an id or an address is compared as a whole, also within JSON; a text is searched.
        """
        ids = self._sent_as(record.get("external_user_id"), record.get("device_id"), record.get("user_id"))
        return not self.names.isdisjoint(ids) or any(starmap(self._is_in, _texts(record)))

    def blot_out(self, text: str) -> str:
        """The text with `[erased]` in the place of each of their names."""
        return self._named.sub(ERASED, text)

    def _sent_as(self, user: object, device: object, braze_id: object) -> set[str]:
        """The ids under which Amplitude knows whoever has these in Braze."""
        event = self._rules.resolve(user, device, braze_id)
        return set() if isinstance(event, Verdict) else set(event.values())

    def _is_in(self, field: str, text: str) -> bool:
        if text == self._id or len(self._id) < _LONG:
            return text == self._id
        return text in self.names if _WHOLE.search(field) else self._named.search(text) is not None


def _texts(value: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """All texts and whole numbers in a value, each behind its field; JSON in a text is taken apart."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield "", name
            yield from _texts(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, field)
    elif isinstance(value, str):
        parts = _json(value)
        yield from ((field, value),) if parts is None else _texts(parts, field)
    elif isinstance(value, int):
        yield field, str(value)


def _json(text: str) -> dict[str, Any] | list[Any] | None:
    """The object or list that a text holds; None for any other text."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        parts: dict[str, Any] | list[Any] = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return parts


_NO_LIST: Final = "a list, and name that as mapping.privacy.suppress"
_ALL_RUNS: Final = 1_000_000


def erase(settings: Settings, id_: str, clock: Clock, *, dry_run: bool = False) -> dict[str, Any]:
    """Remove whoever goes by *id_* from quarantine, ledger and copies of the look-up table.

    The books stay as they are: an entry of the quarantine keeps its position and loses its record. Made again
    it finds nothing more, and finishes what broke off. `LeaseHeldError` while a run is at work.

    Returns the receipt as JSON values; it knows the person by a hash of their id alone, one of salt and id
    where it is `salted`. `suppressed`: the list of `privacy.suppress` covers the id.
    """
    people = load_people(settings.mapping, settings.source.access())
    done = "found" if dry_run else "removed"
    places = _places(settings, id_, people, clock, dry_run=dry_run)
    suppressed = people.suppressed is not None and people.suppressed.covers(id_)
    digest = hash_of(settings, id_)
    left = _beyond_reach(settings, digest, suppressed=suppressed).items()
    return {
        "exit_code": 0,
        "erased_at": iso(clock.now()),
        "pipeline": settings.pipeline,
        "id_sha256": digest,
        "salted": bool(settings.mapping.privacy.salt.get_secret_value()),
        "dry_run": dry_run,
        "places": {name: {"looked_at": all_, done: found} for name, (all_, found) in places.items()},
        "suppressed": suppressed,
        "beyond_reach": [{"place": place, "remedy": remedy} for place, remedy in left],
    }


def _places(settings: Settings, id_: str, people: People, clock: Clock, *, dry_run: bool) -> dict[str, Found]:
    # Whoever is suppressed has no name in Amplitude any more, but may have had one.
    rules = load_mapping(settings, replace(people, suppressed=None)).plan("").identity
    person = Person(id_, rules)
    places: dict[str, Found] = {}
    with ExitStack() as stack:
        if isinstance(people.table, LookupTable):
            stack.enter_context(people.table)
        ledger = _ledger(settings, clock, stack, dry_run=dry_run)
        if ledger is not None:
            places["run_reports"] = _from_reports(ledger, person, dry_run=dry_run)
            if not dry_run:
                _mark(ledger, person, settings.mapping.privacy.salt.get_secret_value())
        records, words = open_quarantine(settings).erase(person, dry_run=dry_run)
        places |= {"quarantine_records": records, "quarantine_details": words}
        places["lookup_copies"] = _from_copies(settings, person, dry_run=dry_run)
    return places


def _ledger(settings: Settings, clock: Clock, stack: ExitStack, *, dry_run: bool) -> Ledger | None:
    """The ledger, under its lease unless nothing is to be written; None where there is none."""
    try:
        ledger = stack.enter_context(closing(open_state(settings, clock, read_only=True)))
    except LedgerMissingError:
        return None
    if dry_run:
        return ledger
    ledger = stack.enter_context(closing(open_state(settings, clock)))
    owner = LeaseOwner.here(f"erase-{secrets.token_hex(3)}", "erase")
    stack.enter_context(ledger.lease(owner))
    return ledger


def _from_reports(ledger: Ledger, person: Person, *, dry_run: bool) -> Found:
    """Blot a person out of the errors of past runs, which may quote what Amplitude or a proxy has said."""
    runs = ledger.runs(_ALL_RUNS)
    found = sum(_without(person, run) != run for run in runs)
    if found and not dry_run:
        ledger.correct_runs(partial(_without, person))
    return Found(len(runs), found)


def _mark(ledger: Ledger, person: Person, salt: str) -> None:
    """Remember who it was by a hash, so that no verification misses the person's events, and sends them."""
    marks = {mark_of(salt, name) for name in person.names}.union(ledger.get_note(ERASED_NOTE).get("ids", ()))
    ledger.put_note(ERASED_NOTE, {"ids": sorted(marks)})


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
    source = locate("look-up table", lookup.uri, settings.source.access())
    copies = IdCache(cache_folder()).copies(source)
    holding = [copy for copy in copies if holds(copy, person.names)]
    for copy in [] if dry_run else holding:
        copy.unlink(missing_ok=True)
    return Found(len(copies), len(holding))


def hash_of(settings: Settings, id_: str) -> str:
    """SHA-256 of the project's salt, if it has one, and an id: an entry of its suppress list."""
    salt = settings.mapping.privacy.salt.get_secret_value()
    return sha256(f"{salt}{id_}".encode()).hexdigest()


def _beyond_reach(settings: Settings, digest: str, *, suppressed: bool) -> dict[str, str]:
    """The places that this program does not reach, each with what to do there."""
    lookup, list_ = settings.mapping.identity.lookup, settings.mapping.privacy.suppress
    held = "" if suppressed else f"; until then add sha256:{digest} to {list_ or _NO_LIST}"
    row = "remove the person's row; the next run copies it anew"
    return {
        f"the source {settings.source.uri}": "its files still hold the person's records, and a run, a "
        f"backfill or a replay reads them again: delete or rewrite them, or let them expire{held}",
        f"the Amplitude project {settings.amplitude.project}": "have its User Privacy API (POST "
        "/api/2/deletions/users) delete the user; that takes up to 30 days, and events that are sent later "
        "make the user anew",
        "Braze": "delete the user there (POST /users/delete), or it goes on to export their events",
        **({} if lookup is None else {f"the look-up table {lookup.uri}": row}),
        "copies by others": "backups, former versions of objects in buckets with versioning, and whatever "
        "reads the log; on S3 the next day's first run deletes the objects of the ledger that were replaced",
    }
