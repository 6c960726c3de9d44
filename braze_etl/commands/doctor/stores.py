"""The stores: the rights on state and quarantine, and whether a lifecycle rule takes away what is needed.

The rights are tried one by one, with one small object that is written and removed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, timedelta
from itertools import chain
from pathlib import Path
from typing import Final, TypeAlias

from braze_etl.clock import duration_text
from braze_etl.commands.doctor.check import Check, Finding, fail, ok, skipped, warn
from braze_etl.commands.doctor.site import Site, existing, is_writable
from braze_etl.errors import StoreError
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.state.s3.opening import CONDITIONS_REMEDY
from braze_etl.storage.opening import open_conditional_store, open_store
from braze_etl.storage.probe import try_etags
from braze_etl.storage.store import ConditionalStore
from braze_etl.uri import is_in_s3, parse_any

_BODY: Final = b"braze-etl doctor\n"


@dataclass(frozen=True, slots=True)
class _Place:
    """State or quarantine in S3, and the key of the probe object there.

    It lies below `probe/`, which the ledger does not take for its own remains.
    """

    name: str
    uri: str
    store: ConditionalStore
    prefix: str
    key: str


_Step: TypeAlias = Callable[[Site, _Place], Finding]


def _list(_site: Site, place: _Place) -> Finding:
    next(iter(place.store.pages(place.prefix)), None)
    return ok(f"{place.uri} can be listed")


def _put(_site: Site, place: _Place) -> Finding:
    place.store.put(place.key, _BODY)
    return ok(f"an object can be written: {place.store.uri}/{place.key}")


def _get(site: Site, place: _Place) -> Finding:
    found = place.store.read(place.key)
    if found is None or found.data != _BODY:
        return fail(
            f"{place.store.uri}/{place.key} is not what was written",
            "Use a store that is read as it was written.",
        )
    site.server_times[f"S3 ({place.name})"] = (found.read_at.astimezone(UTC), site.clock.now())
    return ok("it can be read")


def _conditions(_site: Site, place: _Place) -> Finding:
    """Whether If-None-Match and If-Match are honoured: without that, two runs could both hold the lease."""
    store, key = place.store, place.key
    wrong = "ignores If-None-Match" if store.create(key, b"2") is not None else try_etags(store, key)
    if wrong:
        return fail(f"{store.uri} {wrong}", CONDITIONS_REMEDY)
    form = " (with ETags that have no quotes)" if store.bare_etags else ""
    return ok(f"writes under conditions are honoured{form}")


def _delete(_site: Site, place: _Place) -> Finding:
    try:
        place.store.delete([place.key])
    except StoreError as error:
        return fail(f"{error.message}; the probe {place.key} is left behind", error.remedy)
    return ok("the probe is removed again")


def _right(name: str, step: _Step) -> Callable[[Site], Finding]:
    """The check of one right, at the *name* of a section."""

    def check(site: Site) -> Finding:
        uri, access = site.at(name)
        if not is_in_s3(uri):
            return _on_disk(site.settings, name, step)
        store, prefix = open_conditional_store(uri, access=access)
        return step(site, _Place(name, uri, store, prefix, f"{prefix}probe/{site.token}"))

    return check


def _on_disk(settings: Settings, name: str, step: _Step) -> Finding:
    if step is _put:
        return _writable(settings, name)
    if step is _conditions:
        return skipped("the lease of a ledger in SQLite is a lock of the operating system")
    return skipped(f"the {name} is on this disk")


def _writable(settings: Settings, name: str) -> Finding:
    """On this disk: by the rights alone, so that no folder is left behind."""
    of_state = name == "state"
    place = parse_any(getattr(settings, name).uri)
    if not isinstance(place, Path):
        return skipped("the ledger is in memory")
    folder = place.parent if of_state else place
    there = existing(folder)
    within = _files_of(place) if of_state else _folders_in(folder)
    refused = next((path for path in chain([there], within) if not is_writable(path)), None)
    if refused is None:
        return ok(f"{folder} can be written" + ("" if there == folder.absolute() else ", and will be made"))
    return fail(
        f"{refused} can't be written",
        "Give the user that runs the job the right to write there. A run by another user, such as root,"
        " leaves files and folders that are that user's own.",
    )


def _files_of(ledger: Path) -> Iterator[Path]:
    """What SQLite and the lease keep beside the ledger, as far as it is there."""
    names = (f"{ledger.name}{ending}" for ending in ("", ".lock", "-journal", "-wal", "-shm"))
    return (path for path in map(ledger.with_name, names) if path.exists())


def _folders_in(quarantine: Path) -> Iterator[Path]:
    """Where the next entries go, if something was set aside before: the newest day, and that of payloads."""
    for folder in (quarantine, quarantine / "payloads"):
        if folder.is_dir():
            yield folder
            yield from sorted(path for path in folder.glob("[0-9]*") if path.is_dir())[-1:]


def _rights(name: str) -> tuple[Check, ...]:
    put = (f"{name}.put",)
    conditions = (Check(f"{name}.conditions", _right(name, _conditions), needs=(f"{name}.get",)),)
    return (
        Check(f"{name}.list", _right(name, _list), reads=(name, "source")),
        Check(f"{name}.put", _right(name, _put), reads=(name, "source")),
        Check(f"{name}.get", _right(name, _get), needs=put),
        *(conditions if name == "state" else ()),
        Check(f"{name}.delete", _right(name, _delete), needs=put),
    )


def _expiry(name: str, judge: Callable[[Site, timedelta], Finding]) -> Callable[[Site], Finding]:
    """The check of the lifecycle rules on what a section names."""

    def check(site: Site) -> Finding:
        uri, access = site.at(name)
        if not is_in_s3(uri):
            return skipped(f"the {name} is on this disk")
        try:
            store, prefix = site.source if name == "source" else open_store(uri, access=access)
            lifetime = store.lifetime(prefix)
        except StoreError as error:
            # Not `ok`: a rule may well be there. Not `fail`: nothing else needs this right.
            return skipped(f"the rules can't be read: {error.message}; {error.remedy}")
        if lifetime is None:
            return ok("no lifecycle rule deletes or archives what lies there")
        return judge(site, lifetime)

    return check


def _source(site: Site, lifetime: timedelta) -> Finding:
    """Files that go before they are delivered, or before what was set aside of them can be replayed."""
    settings, seen = site.settings, f"a lifecycle rule deletes or archives files {_after(lifetime)}"
    if lifetime <= settings.window.objective:
        return fail(
            f"{seen}, and they have {duration_text(settings.window.objective)} to be delivered",
            "Let the rule wait for weeks: a file that is gone can't be delivered, nor replayed.",
        )
    if lifetime < settings.quarantine.payload_ttl and settings.quarantine.payload is False:
        return warn(
            f"{seen}; what is set aside can't be replayed after that",
            "Let the rule wait longer, or set quarantine.payload to auto.",
        )
    return ok(seen)


def _state(_site: Site, lifetime: timedelta) -> Finding:
    return fail(
        f"a lifecycle rule deletes or archives objects of the ledger {_after(lifetime)}",
        "Take its prefix out of the rule; one that expires former versions is welcome.",
    )


def _quarantine(_site: Site, lifetime: timedelta) -> Finding:
    return warn(
        f"a lifecycle rule deletes or archives what was set aside {_after(lifetime)}",
        "Take its prefix out of the rule, or see to it that somebody looks before: what is gone can't be "
        "replayed, and nothing says any more that it was there. quarantine.payload_ttl removes the records.",
    )


def _after(lifetime: timedelta) -> str:
    return f"after {duration_text(lifetime)}" if lifetime else "at once, or on a fixed day"


CHECKS: Final = (
    *_rights("state"),
    *_rights("quarantine"),
    Check("source.lifecycle", _expiry("source", _source), needs=("source.list",), reads=("source",)),
    Check("state.lifecycle", _expiry("state", _state), reads=("state", "source")),
    Check("quarantine.lifecycle", _expiry("quarantine", _quarantine), reads=("quarantine", "source")),
)
