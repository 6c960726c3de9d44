"""How much of an event type there is, learned from few LIST requests however large the bucket."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from braze_etl.braze.currents.keys import date_folder, parse_key
from braze_etl.braze.currents.listing import EventFolder
from braze_etl.model import FileRef
from braze_etl.storage.store import Page, Store, StoredObject

_T = TypeVar("_T")

HOURS_SAMPLED: Final = 24
"""Most hours of one busy event type that are listed; evenly spread, they fall on all times of the day."""
_BUSIEST_HOUR: Final = 5
"""Pages of one hour: 5,000 files."""
_OLDEST: Final = timedelta(days=366 * 16)


@dataclass(slots=True)
class Volume:
    """The files of one event folder since a moment; estimated from some of its hours unless `exact`.

    `hours` has the stored bytes of each `date=` hour since then, `oldest` is the first hour of all its files.
    `requests` counts LISTs.
    """

    folder: EventFolder
    files: int = 0
    bytes: int = 0
    archived: int = 0
    exact: bool = True
    oldest: datetime | None = None
    hours: Counter[datetime] = field(default_factory=Counter)
    requests: int = 0
    found: list[FileRef] = field(default_factory=list)

    @property
    def integration(self) -> str:
        """The id of the connector that writes it; empty where neither folder nor file tells."""
        key = parse_key(self.found[0].key) if self.found and not self.folder.integration else None
        return key.integration if key else self.folder.integration


def volume_of(store: Store, folder: EventFolder, since: datetime, *, hours: int = HOURS_SAMPLED) -> Volume:
    """Look at a folder: two requests for one of up to 1,000 files, else one for each of so many *hours*."""
    volume = Volume(folder)
    volume.oldest = _first_hour(store, volume)
    start = folder.folder + date_folder(since)
    pages = store.pages(folder.folder, start_after=start)
    first, second = next(pages, None), next(pages, None)
    volume.requests += 1 + (second is not None)
    if first is not None and second is None:
        _count(volume, first)
    elif second is not None:
        _estimate(store, volume, since, hours)
    return volume


def newest_hour(store: Store, folders: Sequence[EventFolder], now: datetime) -> tuple[datetime | None, int]:
    """Find the newest hour of a source where nothing is new, ever further back, and count the LISTs."""
    requests, back = 0, timedelta(days=30)
    while folders and back < _OLDEST:
        counted = [Volume(folder) for folder in folders]
        newest = [hour for each in counted for hour in list(_hours(store, each, now - back))[-1:]]
        requests += sum(each.requests for each in counted)
        if newest:
            return max(newest), requests
        back *= 4
    return None, requests


def newest_file(store: Store, folder: EventFolder, since: datetime) -> FileRef | None:
    """Find the last file of the newest hour since then, in two or three requests; None for none."""
    hours = list(_hours(store, Volume(folder), since))
    if not hours:
        return None
    page = next(iter(store.pages(f"{folder.folder}{date_folder(hours[-1])}/")), None)
    refs = (_ref(stored, folder.event_type) for stored in page.objects) if page else ()
    return max(filter(None, refs), key=lambda ref: ref.modified, default=None)


def _first_hour(store: Store, volume: Volume) -> datetime | None:
    pages = store.pages(volume.folder.folder, delimiter="/")
    volume.requests += 1
    page = next(pages, None)
    return next(filter(None, map(_hour, page.prefixes)), None) if page else None


def _count(volume: Volume, page: Page) -> None:
    for stored in page.objects:
        ref = _ref(stored, volume.folder.event_type)
        if ref is not None:
            volume.files += 1
            volume.bytes += ref.size
            volume.archived += ref.archived
            volume.hours[ref.hour] += ref.size
            volume.found.append(ref)


def _estimate(store: Store, volume: Volume, since: datetime, most: int) -> None:
    hours = list(_hours(store, volume, since))
    chosen = spread(hours, most)
    for hour in chosen:
        pages = store.pages(f"{volume.folder.folder}{date_folder(hour)}/")
        for _, page in zip(range(_BUSIEST_HOUR), pages, strict=False):
            volume.requests += 1
            _count(volume, page)
    factor = len(hours) / max(1, len(chosen))
    volume.exact = factor == 1
    volume.files, volume.bytes = round(volume.files * factor), round(volume.bytes * factor)
    volume.archived = round(volume.archived * factor)
    if not volume.exact:
        volume.hours = Counter(dict.fromkeys(hours, volume.bytes // len(hours)))


def _hours(store: Store, volume: Volume, since: datetime) -> Iterator[datetime]:
    start = volume.folder.folder + date_folder(since)
    for page in store.pages(volume.folder.folder, start_after=start, delimiter="/"):
        volume.requests += 1
        yield from filter(None, map(_hour, page.prefixes))


def spread(items: Sequence[_T], most: int) -> list[_T]:
    """Up to *most* of *items*, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    if most == 1:
        return [items[-1]]
    return [items[round(number * (len(items) - 1) / (most - 1))] for number in range(most)]


def _hour(prefix: str) -> datetime | None:
    name = prefix.rstrip("/").rpartition("/")[2]
    try:
        return datetime.strptime(name, "date=%Y-%m-%d-%H").replace(tzinfo=UTC)
    except ValueError:
        return None


def _ref(stored: StoredObject, event_type: str) -> FileRef | None:
    key = parse_key(stored.key)
    if key is None or key.event_type != event_type:
        return None
    return FileRef(
        stored.key, stored.etag, stored.size, stored.modified, event_type, key.hour, stored.archived
    )
