"""How much of an event type there is, learned from few LIST requests however large the bucket."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final, TypeVar

from braze_etl.braze.currents.keys import date_folder, parse_key
from braze_etl.braze.currents.listing import EventFolder
from braze_etl.model import FileRef
from braze_etl.storage.store import Page, Store

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
    `found` are the files that were listed.
    """

    folder: EventFolder
    oldest: datetime | None = None
    files: int = 0
    bytes: int = 0
    archived: int = 0
    exact: bool = True
    hours: Counter[datetime] = field(default_factory=Counter)
    found: list[FileRef] = field(default_factory=list)

    @property
    def integration(self) -> str:
        """The id of the connector that writes it; empty where neither folder nor file tells."""
        key = parse_key(self.found[0].key) if self.found and not self.folder.integration else None
        return key.integration if key else self.folder.integration

    def add(self, page: Page) -> None:
        """Count the files of a page; what else lies there is left out."""
        for ref in _files(page, self.folder):
            self.files += 1
            self.bytes += ref.size
            self.archived += ref.archived
            self.hours[ref.hour] += ref.size
            self.found.append(ref)

    def extend(self, hours: Sequence[datetime], looked_at: int) -> None:
        """Take what was counted in so many of these hours for a sample of all of them."""
        factor = len(hours) / max(1, looked_at)
        self.exact = factor == 1
        self.files, self.bytes = round(self.files * factor), round(self.bytes * factor)
        self.archived = round(self.archived * factor)
        if not self.exact:
            self.hours = Counter(dict.fromkeys(hours, self.bytes // len(hours)))


class Lists:
    """Looks at event folders of one store with few LIST requests, and counts these; for several threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self.requests = 0

    def level(self, prefix: str, start_after: str = "") -> Iterator[Page]:
        """List the folders right below *prefix*."""
        return self._pages(prefix, start_after=start_after, delimiter="/")

    def volume(self, folder: EventFolder, since: datetime, *, hours: int = HOURS_SAMPLED) -> Volume:
        """Look at a folder: two requests for one of up to 1,000 files, else one for each of some *hours*."""
        volume = Volume(folder, next(_hours(islice(self.level(folder.folder), 1)), None))
        pages = self._pages(folder.folder, start_after=folder.folder + date_folder(since))
        first, second = next(pages, None), next(pages, None)
        if first is not None and second is None:
            volume.add(first)
        elif second is not None:
            all_hours = self._hours(folder, since)
            chosen = spread(all_hours, hours)
            for hour in chosen:
                for page in islice(self._pages(f"{folder.folder}{date_folder(hour)}/"), _BUSIEST_HOUR):
                    volume.add(page)
            volume.extend(all_hours, len(chosen))
        return volume

    def newest_hour(self, folders: Sequence[EventFolder], now: datetime) -> datetime | None:
        """Find the newest hour of a source where nothing is new, ever further back."""
        back = timedelta(days=30)
        while folders and back < _OLDEST:
            if newest := [hour for each in folders for hour in self._hours(each, now - back)[-1:]]:
                return max(newest)
            back *= 4
        return None

    def newest_file(self, folder: EventFolder, since: datetime) -> FileRef | None:
        """Find the last file of the newest hour since then, in two or three requests; None for none."""
        for hour in self._hours(folder, since)[-1:]:
            for page in islice(self._pages(f"{folder.folder}{date_folder(hour)}/"), 1):
                return max(_files(page, folder), key=lambda ref: ref.modified, default=None)
        return None

    def _hours(self, folder: EventFolder, since: datetime) -> list[datetime]:
        return list(_hours(self.level(folder.folder, folder.folder + date_folder(since))))

    def _pages(self, prefix: str, *, start_after: str = "", delimiter: str = "") -> Iterator[Page]:
        for page in self._store.pages(prefix, start_after=start_after, delimiter=delimiter):
            with self._lock:
                self.requests += 1
            yield page


def _hours(pages: Iterable[Page]) -> Iterator[datetime]:
    """The `date=` folders of a level, as hours."""
    for page in pages:
        for prefix in page.prefixes:
            name = prefix.rstrip("/").rpartition("/")[2]
            with suppress(ValueError):
                yield datetime.strptime(name, "date=%Y-%m-%d-%H").replace(tzinfo=UTC)


def _files(page: Page, folder: EventFolder) -> Iterator[FileRef]:
    """The Currents files of a page that are of the folder's event type."""
    for each in page.objects:
        key = parse_key(each.key)
        if key is not None and key.event_type == folder.event_type:
            yield FileRef(
                each.key, each.etag, each.size, each.modified, key.event_type, key.hour, each.archived
            )


def spread(items: Sequence[_T], most: int) -> list[_T]:
    """Up to *most* of *items*, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    if most == 1:
        return [items[-1]]
    return [items[round(number * (len(items) - 1) / (most - 1))] for number in range(most)]
