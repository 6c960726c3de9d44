"""A look at a source, for whoever starts: integrations, event types, their volume, the state of the ids.

The cost is bounded: about 30 LISTs for a busy event type (more only where nothing is new, or for a history of
years to look at), and 300 ranged reads of half a megabyte in all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from itertools import takewhile
from typing import Any, Final

from braze_etl.braze.currents.listing import EventFolder, Selection, event_folders
from braze_etl.braze.currents.volumes import HOURS_SAMPLED, Lists, Volume, spread
from braze_etl.clock import Clock, hour_of, iso
from braze_etl.engine.forecast import Density
from braze_etl.errors import UsageError
from braze_etl.flows.currents_to_amplitude.mapping import load_mapping
from braze_etl.flows.currents_to_amplitude.sampling import Sample, Sampler, total
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.currents_to_amplitude.source import open_source
from braze_etl.model import FileRef
from braze_etl.state.ledger import BacklogLine

DAY: Final = timedelta(days=1)
_DAYS_OF_MONTH: Final = 30
_TELLING: Final = 3
"""Hours: when fewer have files of a type, they do not tell how often it comes."""

_THREADS: Final = 8
_LISTS: Final = 600
_READS: Final = 300
_READS_OF_TYPE: Final = 3


def survey(settings: Settings, clock: Clock, *, days: int) -> Survey:
    """Look at the source of *settings*, at its newest *days*; nothing is written.

    `UsageError` where there are no Currents files below it, `StoreError` where it can't be listed.
    """
    store, prefix = open_source(settings.source)
    uri, lists, now = settings.source.uri, Lists(store), clock.now()
    folders = list(event_folders(lists.level, prefix, Selection(), uri))
    if not folders:
        raise _nothing_below(uri, "no folder is called event_type=...")
    until = hour_of(now) + timedelta(hours=1)
    volumes = _volumes(lists, folders, until - days * DAY)
    if not any(each.files for each in volumes):
        newest = lists.newest_hour(folders, now)
        if newest is None:
            raise _nothing_below(uri, "no folder is called date=...")
        until = newest + timedelta(hours=1)
        volumes = _volumes(lists, folders, until - days * DAY)
    types = {name: TypeSurvey(name) for name in sorted({each.event_type for each in folders})}
    for volume in volumes:
        types[volume.folder.event_type].volumes.append(volume)
    asked = _read(types, Sampler(store, load_mapping(settings)))
    source = _narrowed(uri, prefix, folders)
    return Survey(source, now, until - days * DAY, until, types, lists.requests, asked)


def _nothing_below(source: str, why: str) -> UsageError:
    return UsageError(
        f"there are no Currents files below {source}: {why}",
        remedy="Point --source at the folder that holds the dataexport. folders (`currents` by default). "
        "A new connector writes its first file 5 to 30 minutes after the first event.",
    )


def _narrowed(uri: str, prefix: str, folders: list[EventFolder]) -> str:
    """The nearest folder above all connectors: in a whole bucket, each run would look for them anew."""
    parts = zip(*(_above(folder).split("/") for folder in folders), strict=False)
    common = "/".join(names[0] for names in takewhile(lambda names: len(set(names)) == 1, parts))
    below = f"{common}/".removeprefix(prefix).strip("/") if f"{common}/".startswith(prefix) else ""
    return f"{uri.rstrip('/')}/{below}" if below else uri


def _above(folder: EventFolder) -> str:
    parent = folder.folder.removesuffix("/").rpartition("/")[0]
    return parent.rpartition("/")[0] if folder.integration else parent


def _volumes(lists: Lists, folders: list[EventFolder], since: datetime) -> list[Volume]:
    hours = min(HOURS_SAMPLED, max(4, _LISTS // len(folders)))
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda folder: lists.volume(folder, since, hours=hours), folders))


def _read(types: dict[str, TypeSurvey], sampler: Sampler) -> int:
    """Sample some files of each type, and say of how many."""
    most = max(1, min(_READS_OF_TYPE, _READS // len(types)))
    chosen = [ref for each in types.values() for ref in spread(each.readable, most)]
    with ThreadPoolExecutor(_THREADS) as pool:
        for ref, sample in zip(chosen, pool.map(sampler.read, chosen), strict=True):
            types[ref.event_type].sample.add(sample)
    return len(chosen)


@dataclass
class TypeSurvey:
    """One event type over all its folders. Files and bytes are of the time looked at; so are events.

    It has all its volumes before anybody asks for its `writers`.
    """

    name: str
    volumes: list[Volume] = field(default_factory=list)
    sample: Sample = field(default_factory=Sample)

    @property
    def files(self) -> int:
        return sum(each.files for each in self.volumes)

    @property
    def bytes(self) -> int:
        return sum(each.bytes for each in self.volumes)

    @property
    def readable(self) -> list[FileRef]:
        return [ref for each in self.volumes for ref in each.found if not ref.archived]

    @property
    def oldest(self) -> datetime | None:
        """The first hour of all its files, however old."""
        return min((each.oldest for each in self.volumes if each.oldest), default=None)

    @cached_property
    def writers(self) -> dict[str, Counter[datetime]]:
        """The stored bytes of each `date=` hour, by the id of the connector (empty where it has no name)."""
        writers: dict[str, Counter[datetime]] = {}
        for each in self.volumes:
            writers.setdefault(each.integration, Counter()).update(each.hours)
        return writers

    @property
    def hours(self) -> set[datetime]:
        """The hours of the time looked at that have files."""
        return {hour for each in self.volumes for hour in each.hours}

    @property
    def events(self) -> int:
        """About how many events its files hold: at the density of the sample, or by the rule of thumb."""
        line = BacklogLine(self.files, self.bytes)
        measured = self.sample.events(line)
        return Density().events(self.name, line) if measured is None else measured

    def share(self, chosen: Collection[str], since: datetime | None = None) -> float:
        """Which part of its bytes is of the *chosen* connectors (none: of all), and of the hours *since*.

        What lies below no connector's folder can't be left out by its id, and counts as chosen.
        """
        whole = sum(hours.total() for hours in self.writers.values())
        part = sum(
            size
            for writer, hours in self.writers.items()
            if not chosen or not writer or writer in chosen
            for hour, size in hours.items()
            if since is None or hour >= since
        )
        return part / whole if whole else 0.0

    @property
    def side_by_side(self) -> set[str]:
        """The connectors that write it in the same hours as another.

        One that was made anew goes on where the one before has ended: they have an hour or two in common.
        """
        named = {writer: hours.keys() for writer, hours in self.writers.items() if writer and hours}
        return {
            one
            for one, hours in named.items()
            for other, its in named.items()
            if one != other and _TELLING <= len(hours & its) > min(len(hours), len(its)) / 2
        }


@dataclass
class Survey:
    """What was found in *source*, over the hours from `since` to `until` (exclusive).

    `source` is the nearest folder above all of it; `asked` counts the files that were to be sampled, `lists`
    the requests. What follows from all types is worked out once.
    """

    source: str
    now: datetime
    since: datetime
    until: datetime
    types: dict[str, TypeSurvey]
    lists: int
    asked: int

    @property
    def days(self) -> float:
        """How many days the data that was found spans: fewer than asked for where it begins later."""
        hours = (hour for each in self.types.values() for hour in each.hours)
        return self._days_since(min(hours, default=self.since))

    @property
    def sample(self) -> Sample:
        return total(each.sample for each in self.types.values())

    @property
    def integrations(self) -> dict[str, list[str]]:
        ids = sorted(set().union(*(each.writers for each in self.types.values())) - {""})
        return {id_: [name for name, each in self.types.items() if id_ in each.writers] for id_ in ids}

    @cached_property
    def overlaps(self) -> dict[str, set[str]]:
        """The event types that several connectors write side by side, with the ids of these."""
        each = {name: each.side_by_side for name, each in self.types.items()}
        return {name: ids for name, ids in each.items() if ids}

    @cached_property
    def chosen(self) -> list[str]:
        """Connectors of which no two write the same side by side, the busiest first; empty: all of them."""
        if not self.overlaps:
            return []
        taken: list[str] = []
        for id_ in sorted(self.integrations, key=self._size_of, reverse=True):
            rivals = set().union(*(ids for ids in self.overlaps.values() if id_ in ids))
            if rivals.isdisjoint(taken):
                taken.append(id_)
        return taken

    @property
    def oldest(self) -> datetime | None:
        """The first `date=` hour of all."""
        return min((each.oldest for each in self.types.values() if each.oldest), default=None)

    @property
    def newest(self) -> datetime | None:
        """The last `date=` hour of all."""
        return max((hour for each in self.types.values() for hour in each.hours), default=None)

    def per_day(self, name: str) -> float:
        """Events of a type a day, over the span in which it was there."""
        each = self.types[name]
        own = self._days_since(min(each.hours)) if len(each.hours) >= _TELLING else self.days
        return each.events / own

    def as_dict(self) -> dict[str, Any]:
        sample = self.sample
        return {
            "source": self.source,
            "looked_at": {
                "since": iso(self.since),
                "until": iso(self.until),
                "days": round(self.days, 2),
                "lists": self.lists,
                "reads": sample.reads,
                "records": sample.records,
            },
            "integrations": self.integrations,
            "overlaps": {name: sorted(ids) for name, ids in self.overlaps.items()},
            "oldest_hour": _iso(self.oldest),
            "newest_hour": _iso(self.newest),
            "by_event_type": {name: self._line(each) for name, each in self.types.items()},
            **_shares(sample),
            "faults": sample.faults,
            "denied": [error.message for error in sample.denied],
        }

    def _days_since(self, hour: datetime) -> float:
        return max((self.until - hour) / DAY, 1 / 24)

    def _size_of(self, integration: str) -> int:
        return sum(each.writers.get(integration, Counter()).total() for each in self.types.values())

    def _line(self, each: TypeSurvey) -> dict[str, Any]:
        per_day = self.per_day(each.name)
        return {
            "files": each.files,
            "bytes": each.bytes,
            "archived_files": sum(volume.archived for volume in each.volumes),
            "estimated": not all(volume.exact for volume in each.volumes),
            "events": each.events,
            "events_per_day": round(per_day),
            "events_per_month": round(per_day * _DAYS_OF_MONTH),
            "oldest_hour": _iso(each.oldest),
            "newest_hour": _iso(max(each.hours, default=None)),
            **_shares(each.sample),
        }


def _shares(sample: Sample) -> dict[str, Any]:
    return {
        "codecs": dict(sample.codecs),
        "without_identity": sample.share(sample.without_identity),
        "refused": sample.share(sample.refused),
        "reasons": {reason.value: records for reason, records in sample.reasons.items()},
        "test_events": sample.test_events,
    }


def _iso(moment: datetime | None) -> str | None:
    return iso(moment) if moment else None
