"""What a source holds, for whoever starts: integrations, event types, their volume, the state of the ids.

The cost is bounded: about 30 LISTs for a busy event type (more only where nothing is new, or for a history of
years to look at), and 300 ranged reads of half a megabyte in all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from braze_etl.checkpoint import BacklogLine
from braze_etl.clock import Clock, hour_of, iso
from braze_etl.config import Settings
from braze_etl.currents import EventFolder, Selection, event_folders
from braze_etl.errors import UsageError
from braze_etl.model import FileRef
from braze_etl.run.assembly import load_mapping, open_source
from braze_etl.run.foresight.estimate import Density
from braze_etl.run.starting.sampling import Sample, Sampler
from braze_etl.run.starting.volumes import HOURS_SAMPLED, Volume, newest_hour, spread, volume_of
from braze_etl.storage import Page, Store

_THREADS: Final = 8
_LISTS: Final = 600
_READS: Final = 300
_READS_OF_TYPE: Final = 3
_DAY: Final = timedelta(days=1)
_DAYS_OF_MONTH: Final = 30


@dataclass(slots=True)
class TypeSurvey:
    """One event type over all integrations. Files and bytes are of the time looked at; so are events."""

    name: str
    files: int = 0
    bytes: int = 0
    archived: int = 0
    exact: bool = True
    oldest: datetime | None = None
    newest: datetime | None = None
    integrations: set[str] = field(default_factory=set)
    sample: Sample = field(default_factory=Sample)

    def add(self, volume: Volume) -> None:
        """Add one of its folders."""
        self.files += volume.files
        self.bytes += volume.bytes
        self.archived += volume.archived
        self.exact &= volume.exact
        self.oldest = min(filter(None, (self.oldest, volume.oldest)), default=None)
        self.newest = max(filter(None, (self.newest, volume.newest)), default=None)
        self.integrations |= {volume.integration} - {""}

    @property
    def events(self) -> int:
        """About how many events its files hold: at the density of the sample, or by the rule of thumb."""
        line = BacklogLine(self.files, self.bytes)
        measured = self.sample.events(line)
        return Density().events(self.name, line) if measured is None else measured


@dataclass(slots=True)
class Survey:
    """What was found in *source*, over the hours from `since` to `until` (exclusive)."""

    source: str
    now: datetime
    since: datetime
    until: datetime
    types: dict[str, TypeSurvey] = field(default_factory=dict)
    lists: int = 0

    @property
    def days(self) -> float:
        """How many days of data were looked at: fewer than asked for where the source is younger."""
        oldest = min((each.oldest for each in self.types.values() if each.oldest), default=self.since)
        return max((self.until - max(self.since, oldest)) / _DAY, 1 / 24)

    @property
    def sample(self) -> Sample:
        """The samples of all types together."""
        return total(each.sample for each in self.types.values())

    @property
    def integrations(self) -> dict[str, list[str]]:
        """The event types of each connector."""
        ids = sorted(set().union(*(each.integrations for each in self.types.values())))
        return {id_: [name for name, each in self.types.items() if id_ in each.integrations] for id_ in ids}

    @property
    def oldest(self) -> datetime | None:
        """The first `date=` hour of all."""
        return min((each.oldest for each in self.types.values() if each.oldest), default=None)

    @property
    def newest(self) -> datetime | None:
        """The last `date=` hour of all."""
        return max((each.newest for each in self.types.values() if each.newest), default=None)

    def per_day(self, name: str) -> float:
        """Events of a type a day."""
        return self.types[name].events / self.days

    def as_dict(self) -> dict[str, Any]:
        """The survey as JSON values."""
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
            "oldest_hour": _iso(self.oldest),
            "newest_hour": _iso(self.newest),
            "by_event_type": {name: self._line(each) for name, each in self.types.items()},
            **_shares(sample),
            "faults": sample.faults,
        }

    def _line(self, each: TypeSurvey) -> dict[str, Any]:
        per_day = self.per_day(each.name)
        return {
            "files": each.files,
            "bytes": each.bytes,
            "archived_files": each.archived,
            "estimated": not each.exact,
            "events": each.events,
            "events_per_day": round(per_day),
            "events_per_month": round(per_day * _DAYS_OF_MONTH),
            "oldest_hour": _iso(each.oldest),
            "newest_hour": _iso(each.newest),
            **_shares(each.sample),
        }


def survey(settings: Settings, clock: Clock, *, days: int) -> Survey:
    """Look at the source of *settings*, at its newest *days*; nothing is written.

    `UsageError` where there are no event types below it, `StoreError` where it can't be listed.
    """
    store, prefix = open_source(settings)
    folders, lists = _folders(store, prefix, settings.source.uri)
    now = clock.now()
    until = hour_of(now) + timedelta(hours=1)
    volumes = _volumes(store, folders, until - days * _DAY)
    lists += sum(each.requests for each in volumes)
    if not any(each.files for each in volumes):
        newest, asked = newest_hour(store, folders, now)
        lists += asked
        if newest is not None:
            until = newest + timedelta(hours=1)
            volumes = _volumes(store, folders, until - days * _DAY)
            lists += sum(each.requests for each in volumes)
    found = Survey(settings.source.uri, now, until - days * _DAY, until, lists=lists)
    _add(found, volumes)
    _read(found, volumes, Sampler(store, load_mapping(settings)))
    return found


def total(samples: Iterable[Sample]) -> Sample:
    """The sum of samples."""
    whole = Sample()
    for each in samples:
        whole.add(each)
    return whole


def _folders(store: Store, prefix: str, source: str) -> tuple[list[EventFolder], int]:
    requests = Counter[str]()

    def level(below: str) -> Iterator[Page]:
        for page in store.pages(below, delimiter="/"):
            requests["lists"] += 1
            yield page

    folders = list(event_folders(level, prefix, Selection(), source))
    if not folders:
        raise UsageError(
            f"there are no Currents files below {source}: no folder is called event_type=...",
            remedy="Point --source at the folder that holds the dataexport. folders (`currents` by default). "
            "A new connector writes its first file 5 to 30 minutes after the first event.",
        )
    return folders, requests["lists"]


def _volumes(store: Store, folders: list[EventFolder], since: datetime) -> list[Volume]:
    hours = min(HOURS_SAMPLED, max(4, _LISTS // len(folders)))
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda folder: volume_of(store, folder, since, hours=hours), folders))


def _add(found: Survey, volumes: list[Volume]) -> None:
    for volume in sorted(volumes, key=lambda each: each.folder.event_type):
        name = volume.folder.event_type
        found.types.setdefault(name, TypeSurvey(name)).add(volume)


def _read(found: Survey, volumes: list[Volume], sampler: Sampler) -> None:
    files: dict[str, list[FileRef]] = {name: [] for name in found.types}
    for volume in volumes:
        files[volume.folder.event_type] += (ref for ref in volume.found if not ref.archived)
    most = max(1, min(_READS_OF_TYPE, _READS // len(files)))
    chosen = [ref for refs in files.values() for ref in spread(refs, most)]
    with ThreadPoolExecutor(_THREADS) as pool:
        for ref, sample in zip(chosen, pool.map(sampler.read, chosen), strict=True):
            found.types[ref.event_type].sample.add(sample)


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
