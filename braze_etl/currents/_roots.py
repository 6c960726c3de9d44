"""Find the event type folders below a prefix, by listing one level at a time."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from braze_etl.currents.keys import parse_integration_folder
from braze_etl.currents.selection import Selection
from braze_etl.errors import StoreError
from braze_etl.storage import Page

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
        above = parse_integration_folder(_name(self.folder.removesuffix("/").rpartition("/")[0]))
        return above.integration if above else ""


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
    integration = parse_integration_folder(_name(folder))
    return integration is None or selection.matches_integration(integration.integration)


def _name(folder: str) -> str:
    return folder.removesuffix("/").rpartition("/")[2]
