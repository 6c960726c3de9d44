"""A look at a source, for whoever starts: integrations, event types, their volume, the state of the ids.

The cost is bounded: about 30 LISTs for a busy event type (more only where nothing is new, or for a history of
years to look at), and 300 ranged reads of half a megabyte in all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Final

from braze_etl.clock import Clock, hour_of
from braze_etl.config import Settings
from braze_etl.currents import EventFolder, Selection, event_folders
from braze_etl.errors import UsageError
from braze_etl.model import FileRef
from braze_etl.run.assembly import load_mapping, open_source
from braze_etl.run.starting.found import DAY, Survey, TypeSurvey
from braze_etl.run.starting.sampling import Sampler
from braze_etl.run.starting.volumes import HOURS_SAMPLED, Volume, newest_hour, spread, volume_of
from braze_etl.storage import Page, Store

_THREADS: Final = 8
_LISTS: Final = 600
_READS: Final = 300
_READS_OF_TYPE: Final = 3


def survey(settings: Settings, clock: Clock, *, days: int) -> Survey:
    """Look at the source of *settings*, at its newest *days*; nothing is written.

    `UsageError` where there are no Currents files below it, `StoreError` where it can't be listed.
    """
    store, prefix = open_source(settings)
    uri = settings.source.uri
    folders, lists = _folders(store, prefix, uri)
    now = clock.now()
    until = hour_of(now) + timedelta(hours=1)
    volumes = _volumes(store, folders, until - days * DAY)
    lists += sum(each.requests for each in volumes)
    if not any(each.files for each in volumes):
        newest, asked = newest_hour(store, folders, now)
        lists += asked
        if newest is None:
            raise _nothing_below(uri, "no folder is called date=...")
        until = newest + timedelta(hours=1)
        volumes = _volumes(store, folders, until - days * DAY)
        lists += sum(each.requests for each in volumes)
    found = Survey(_narrowed(uri, prefix, folders), now, until - days * DAY, until, lists=lists)
    _add(found, volumes)
    _read(found, volumes, Sampler(store, load_mapping(settings)))
    return found


def _folders(store: Store, prefix: str, source: str) -> tuple[list[EventFolder], int]:
    requests = Counter[str]()

    def level(below: str) -> Iterator[Page]:
        for page in store.pages(below, delimiter="/"):
            requests["lists"] += 1
            yield page

    folders = list(event_folders(level, prefix, Selection(), source))
    if not folders:
        raise _nothing_below(source, "no folder is called event_type=...")
    return folders, requests["lists"]


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
    found.asked = len(chosen)
    with ThreadPoolExecutor(_THREADS) as pool:
        for ref, sample in zip(chosen, pool.map(sampler.read, chosen), strict=True):
            found.types[ref.event_type].sample.add(sample)
