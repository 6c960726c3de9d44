"""List Currents files from an hour on, lazily, oldest hour first, over all event types."""

from __future__ import annotations

import heapq
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from braze_etl.braze.currents.keys import date_folder, integration_of, parse_key
from braze_etl.errors import StoreError
from braze_etl.globs import selects
from braze_etl.model import FileRef
from braze_etl.storage.pages_ahead import MOST_AT_ONCE, PagesAhead
from braze_etl.storage.store import Page, Store, StoredObject


@dataclass(frozen=True, slots=True)
class Selection:
    """Globs over integration ids and event types; `!glob` excludes. Letters count with their case, as in S3.

    A list of nothing but excludes selects all the rest; an empty list selects nothing. `narrowed_to` are
    further globs over event types, of a command's options: where there are any, both have to match.
    """

    integrations: tuple[str, ...] = ("*",)
    event_types: tuple[str, ...] = ("*",)
    narrowed_to: tuple[str, ...] = ()

    def matches_integration(self, integration: str) -> bool:
        """Whether files of this integration id are wanted."""
        return selects(integration, self.integrations)

    def matches_event_type(self, event_type: str) -> bool:
        """Whether files of this event type are wanted."""
        return selects(event_type, self.event_types) and (
            not self.narrowed_to or selects(event_type, self.narrowed_to)
        )


MAX_FOLDERS = 2000
"""Folders looked into in search of event types; an export of one hundred integrations needs some hundred."""

_INSIDE = re.compile(r"(?P<folder>(?:.*/)?event_type=(?P<event_type>[^/]+)/)(?P<rest>.*)", re.DOTALL)

ListLevel = Callable[[str], Iterator[Page]]
"""Lists one level below a prefix, with the delimiter `/`."""


@dataclass(frozen=True, slots=True)
class EventFolder:
    """Where the files of one event type of one integration lie: `folder` ends in `event_type=<type>/`.

    `prefix` is what to list: the folder itself, or a part of it if the source points inside.
    """

    event_type: str
    folder: str
    prefix: str

    @property
    def integration(self) -> str:
        """The id of the connector that writes there; empty where no `dataexport.` folder lies right above."""
        return integration_of(_name(self.folder.removesuffix("/").rpartition("/")[0])) or ""


def event_folders(level: ListLevel, prefix: str, selection: Selection, name: str) -> Iterator[EventFolder]:
    """Yield the selected event folders below *prefix*, at any depth, nearest first.

    `StoreError` if the search does not end within `MAX_FOLDERS` folders; *name* is the source in its words.
    """
    inside = _INSIDE.fullmatch(prefix)
    if inside is not None:
        if selection.matches_event_type(inside["event_type"]):
            yield EventFolder(inside["event_type"], inside["folder"], prefix)
        return
    waiting = deque([prefix])
    looked_into = 0
    while waiting:
        looked_into += 1
        if looked_into > MAX_FOLDERS:
            raise StoreError(
                f"{name} has more than {MAX_FOLDERS} folders above any event_type= folder",
                remedy="point source.uri at the folder that holds the dataexport. folders",
            )
        for page in level(waiting.popleft()):
            for folder in page.prefixes:
                event_type = _name(folder).removeprefix("event_type=")
                if event_type == _name(folder):
                    if _may_hold(folder, selection):
                        waiting.append(folder)
                elif selection.matches_event_type(event_type):
                    yield EventFolder(event_type, folder, folder)


def _may_hold(folder: str, selection: Selection) -> bool:
    integration = integration_of(_name(folder))
    return integration is None or selection.matches_integration(integration)


def _name(folder: str) -> str:
    return folder.removesuffix("/").rpartition("/")[2]


_ALL = Selection()
_BY_CHANCE = 9
"""So many objects may come in the order of their keys from a store that has another one."""


@dataclass(slots=True)
class Listing:
    """The selected files below *prefix* whose `date=` hour is at or after *since* (and before *until*).

    Iterating yields them by (hour, key). Event types are found by listing folders one level at a time; each
    is then listed from its *since* folder on, a page at a time, and from a store of objects one page ahead:
    two pages per event type are in memory, and no older hour costs a request. Objects modified at or after
    *settled_before* are left out.

    The counters are of the last iteration: `files` and `bytes` yielded, `unsettled` files, `foreign` objects
    that lie between them and are none, of which `misnamed` end in .avro, `folders` of selected event types,
    of which `empty` hold no object at all though a store of objects listed them, `unordered` folders that the
    store listed in another order than that of their keys, `passed_over` integrations of files that are not
    selected, and `requests`, the pages asked for.
    """

    store: Store
    prefix: str = ""
    selection: Selection = _ALL
    since: datetime = field(kw_only=True)
    until: datetime | None = field(default=None, kw_only=True)
    settled_before: datetime | None = field(default=None, kw_only=True)
    files: int = field(default=0, init=False)
    bytes: int = field(default=0, init=False)
    unsettled: int = field(default=0, init=False)
    foreign: int = field(default=0, init=False)
    misnamed: int = field(default=0, init=False)
    folders: int = field(default=0, init=False)
    empty: int = field(default=0, init=False)
    unordered: int = field(default=0, init=False)
    passed_over: set[str] = field(default_factory=set, init=False)
    requests: int = field(default=0, init=False)
    _counting: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __iter__(self) -> Iterator[FileRef]:
        self.files = self.bytes = self.unsettled = self.foreign = self.misnamed = self.requests = 0
        self.folders = self.empty = self.unordered = 0
        self.passed_over = set()
        folders = list(event_folders(self._level, self.prefix, self.selection, self.name))
        self.folders = len(folders)
        with PagesAhead(MOST_AT_ONCE if self._is_of_objects else 0) as ahead:
            files = [self._files(folder, self._pages(folder, ahead)) for folder in folders]
            for ref in heapq.merge(*files, key=_hour_and_key):
                self.files += 1
                self.bytes += ref.size
                yield ref

    @property
    def name(self) -> str:
        """The source in its words: `s3://bucket/prefix/`."""
        return f"{self.store.uri}/{self.prefix}"

    def surroundings(self) -> Surroundings:
        """Look again, at all event folders whatever is selected and however old; some requests more."""
        folders = list(event_folders(self._level, self.prefix, _ALL, self.name))
        return Surroundings(
            integrations=self.passed_over.union(each.integration for each in folders) - {""},
            event_types={each.event_type for each in folders},
            holds_objects=any(map(self._holds_objects, folders)),
        )

    def _holds_objects(self, folder: EventFolder) -> bool:
        pages = self._counted(self.store.pages(folder.prefix))
        return any(not _is_folder_marker(item) for page in pages for item in page.objects)

    def _level(self, prefix: str) -> Iterator[Page]:
        for page in self._counted(self.store.pages(prefix, delimiter="/")):
            self.foreign += sum(not _is_folder_marker(item) for item in page.objects)
            yield page

    def _counted(self, pages: Iterator[Page]) -> Iterator[Page]:
        for page in pages:
            with self._counting:  # pages are fetched by several threads
                self.requests += 1
            yield page

    def _pages(self, source: EventFolder, ahead: PagesAhead) -> Iterator[Page]:
        """The pages of one event type up to that which reaches *until*."""
        end = self._end_of(source)
        start = source.folder + date_folder(self.since)  # sorts before the keys of its own hour
        pages = self._counted(self.store.pages(source.prefix, start_after=start))

        def goes_on(page: Page) -> bool:
            return end is None or not page.objects[_BY_CHANCE:] or page.objects[-1].key < end

        return ahead(pages, goes_on)

    def _end_of(self, source: EventFolder) -> str | None:
        return source.folder + date_folder(self.until) if self.until else None

    @property
    def _is_of_objects(self) -> bool:
        """Whether it is no folder of a file system, whose pages cost no round trip."""
        return "://" in self.store.uri

    def _files(self, source: EventFolder, pages: Iterator[Page]) -> Iterator[FileRef]:
        """Yield the files of one event type; in one folder the order of keys is the order of hours."""
        end = self._end_of(source)
        places, found, in_order = _Places(self.selection), False, True
        for page in pages:
            found, in_order = found or bool(page.objects), in_order and page.in_order
            for item in page.objects:
                if end is not None and item.key >= end:
                    continue
                ref = self._file(item, source.event_type, places.of(item.key))
                if ref is not None:
                    yield ref
        self.unordered += not in_order
        self.empty += not found and self._is_empty(source)

    def _is_empty(self, source: EventFolder) -> bool:
        """Whether a folder holds nothing, whatever the hour, that only what lies in it can make."""
        if not self._is_of_objects or source.folder == self.prefix:
            return False  # a folder of a file system may be empty
        return not any(page.objects for page in self._counted(self.store.pages(source.prefix)))

    def _file(self, item: StoredObject, event_type: str, place: _Place | None) -> FileRef | None:
        if place is None or place.event_type != event_type:
            self.foreign += not _is_folder_marker(item)
            self.misnamed += item.key.endswith(".avro")
            return None
        if not place.wanted:
            self.passed_over.add(place.integration)
            return None
        if self.settled_before is not None and item.modified >= self.settled_before:
            self.unsettled += 1
            return None
        return FileRef(item.key, item.etag, item.size, item.modified, event_type, place.hour, item.archived)


class Surroundings(NamedTuple):
    """What lies below a prefix: the ids of connectors, the event types, and whether any folder has a file."""

    integrations: set[str]
    event_types: set[str]
    holds_objects: bool


class _Place(NamedTuple):
    """What the key of a file says, as far as a listing asks."""

    event_type: str
    hour: datetime
    wanted: bool
    integration: str


class _Places:
    """Reads keys in their order: what the folder says is read once for all the files in it."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._folder: str | None = None
        self._place: _Place | None = None

    def of(self, key: str) -> _Place | None:
        """Say where the file with that key belongs; None if it is no Currents file."""
        folder, _, name = key.rpartition("/")
        if folder != self._folder:
            self._folder = folder
            # A name without any fact in it: where the folder alone is no answer, each name is asked.
            self._place = self._read(f"{folder}/.avro")
        if self._place is not None and name.endswith(".avro") and name.isascii():
            return self._place
        return self._read(key)

    def _read(self, key: str) -> _Place | None:
        found = parse_key(key)
        if found is None:
            return None
        wanted = self._selection.matches_integration(found.integration)
        return _Place(found.event_type, found.hour, wanted, found.integration)


def _hour_and_key(ref: FileRef) -> tuple[datetime, str]:
    return ref.hour, ref.key


def _is_folder_marker(item: StoredObject) -> bool:
    # Consoles and sync tools make empty objects named like folders.
    return item.size == 0 and item.key.endswith("/")
