"""What a valid configuration, or the option of a command, says that is probably not meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, TypeAlias

from braze_etl.braze.currents.catalogue import load_catalogue
from braze_etl.braze.currents.listing import Selection, event_folders
from braze_etl.braze.currents.volumes import Lists
from braze_etl.clock import duration_text, iso
from braze_etl.config.secrets import is_stand_in, leads_away_in_clear
from braze_etl.errors import UsageError
from braze_etl.flows.currents_to_amplitude.mapping import load_mapping
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.currents_to_amplitude.source import open_source, selection
from braze_etl.globs import glob, is_glob
from braze_etl.mapping.settings import MappingSection
from braze_etl.mapping.vocabulary import known_types
from braze_etl.model import Outcome, Reason
from braze_etl.quarantine.entry import EVERYTHING
from braze_etl.quarantine.entry import Selection as Entries
from braze_etl.quarantine.quarantine import Quarantine

REASONS: Final = tuple(reason.value for reason in Reason if reason.outcome is Outcome.QUARANTINED)
"""Why entries of a quarantine are there."""

Path: TypeAlias = tuple[str | int, ...]


def doubtful_settings(settings: Settings, now: datetime) -> Iterator[tuple[Path, str]]:
    """Find what a person should look at again, each with its path in the configuration."""
    key = settings.amplitude.api_key.get_secret_value()
    if not key:
        yield ("amplitude", "api_key"), "it is missing, and whatever sends events needs it"
    elif is_stand_in(key):
        yield ("amplitude", "api_key"), "it looks like a stand-in: Amplitude's settings show the real one"
    start_at, window = settings.source.start_at, settings.window
    if start_at is not None and start_at > now:
        yield ("source", "start_at"), f"{iso(start_at)} lies in the future: nothing is due before"
    if window.warn_at > window.objective:
        words = f"{duration_text(window.objective)} is below the default of window.warn_at: set that, too"
        yield ("window", "objective"), words
    for name in ("webhook", "dead_man"):
        address = getattr(settings.notify, name)
        if address is not None and leads_away_in_clear(address.get_secret_value()):
            yield ("notify", name), "it is an http:// address of another machine, and travels in the clear"
    yield from _without_a_match(settings)


def _without_a_match(settings: Settings) -> Iterator[tuple[Path, str]]:
    known = known_types(load_mapping(settings))
    if not any(map(selection(settings.source).matches_event_type, known)):
        yield ("source", "event_types"), "it selects no event type that this release knows"
    types = list(_numbered(("source", "event_types"), settings.source.event_types))
    # Elsewhere a name that nobody knows is a mistake already.
    patterns = (*_patterns(settings.mapping), *_numbered(("budget", "stop"), settings.budget.stop))
    types += [(path, name) for path, name in patterns if is_glob(name)]
    for path, name in types:
        if lost([name], known):
            near = nearest(name, known)
            yield path, f"{name} matches no event type that this release knows; the nearest is {near}"


def _patterns(mapping: MappingSection) -> Iterator[tuple[Path, str]]:
    """The patterns of event types in a mapping."""
    choose = mapping.choose
    for kind, selectors in (("include", choose.include), ("exclude", choose.exclude)):
        for number, selector in enumerate(selectors):
            yield from _numbered(("mapping", "choose", kind, number, "events"), selector.events)
    for number, rule in enumerate(mapping.rules):
        yield from _numbered(("mapping", "rules", number, "events"), rule.events)
    yield from _numbered(("mapping", "send"), mapping.send)


def _numbered(path: Path, names: Iterable[str]) -> Iterator[tuple[Path, str]]:
    return (((*path, number), name) for number, name in enumerate(names))


def nearest(name: str, known: Collection[str]) -> str:
    """The known event type that looks most like what was written."""
    return difflib.get_close_matches(name.strip("!*"), sorted(known), n=1, cutoff=0)[0]


def require_types(settings: Settings, globs: Sequence[str]) -> None:
    """Raise `UsageError` for an `--event-type` that matches nothing: no type that is known, or in the source.

    Also where `source.event_types` leaves out all that they match. The source is listed where need be.
    """
    if not globs:
        return
    known = set(known_types(load_mapping(settings)))
    selected = selection(settings.source, tuple(globs)).matches_event_type
    if lost(globs, known) or not any(map(selected, known)):
        known |= _in_source(settings)
    require_known(globs, known, "the source")
    if not any(map(selected, known)):
        raise UsageError(
            f"of what --event-type {' '.join(globs)} matches, source.event_types selects nothing",
            remedy="Name a type that the configuration selects, or change source.event_types.",
        )


def require_known(globs: Sequence[str], known: Collection[str], place: str) -> None:
    """Raise `UsageError`, with the nearest, for a glob that matches none of the types of here or *place*."""
    for name in lost(globs, known):
        raise UsageError(
            f"--event-type {name} matches no event type, neither a known one nor one in {place}",
            remedy=f"The nearest is {nearest(name, known)}; `braze-etl mapping list` names the known ones.",
        )


def selected_entries(
    quarantine: Quarantine,
    *,
    ids: tuple[str, ...],
    reasons: tuple[str, ...],
    event_types: tuple[str, ...],
    files: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
) -> Entries:
    """Make a selection; `UsageError` for an id of no single entry, or a reason or type that nothing has."""
    known = set(load_catalogue())
    if lost(event_types, known):
        known |= {event_type for event_type, _ in quarantine.counts()}
    require_known(event_types, known, "the quarantine")
    for reason in set(reasons) - set(REASONS):
        near = difflib.get_close_matches(reason, REASONS, n=1, cutoff=0)[0]
        raise UsageError(f"nothing is set aside as {reason}", remedy=f"The nearest reason is {near}.")
    asked = Entries(
        ids=quarantine.resolve(ids) if ids else None,
        reasons=frozenset(map(Reason, reasons)),
        event_types=event_types,
        files=files,
        since=since,
        until=until,
    )
    return EVERYTHING if asked == EVERYTHING else asked


def lost(globs: Sequence[str], known: Collection[str]) -> list[str]:
    """The globs that match none of these types; what stands behind a `!` as well."""
    return [each for each in globs if not any(map(glob(each.removeprefix("!")).fullmatch, known))]


def _in_source(settings: Settings) -> set[str]:
    store, prefix = open_source(settings.source)
    folders = event_folders(Lists(store).level, prefix, Selection(), settings.source.uri)
    return {each.event_type for each in folders}
