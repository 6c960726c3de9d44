"""What the project holds: events in their order of arrival, each once (amplitude.md, 1.4 and 1.5)."""

from __future__ import annotations

import hashlib
import sys
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, TypeAlias

Hold: TypeAlias = Literal["events", "ids"]
"""Keep whole events, or only the type and insert_id of each, for runs of millions."""

_SKEW_TOLERATED = 60.0
_NAMES = ("user_id", "device_id", "insert_id", "event_type")


@dataclass(frozen=True, slots=True)
class Drops:
    """Which events are answered 200 and never held, as those of a blocked type are: nobody is told.

    `one_in`: of so many events one, by its insert_id, so that the same ones are dropped again.
    """

    event_types: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()
    one_in: int | None = None

    def hit(self, event: dict[str, Any]) -> bool:
        """Whether this event is dropped."""
        if event["event_type"] in self.event_types or event.get("user_id") in self.users:
            return True
        return self.one_in is not None and zlib.crc32(str(event.get("insert_id")).encode()) % self.one_in == 0


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a request came, in milliseconds, and by how much its events' times are shifted."""

    received: int
    shift: int

    @classmethod
    def of(cls, now: float, client_upload_time: Any) -> Arrival:
        """Compute the shift: server time less upload time, from 60 s on.

        An upload time that is no ISO-8601 text shifts nothing (not documented).
        """
        gap = now - _seconds(client_upload_time, now)
        return cls(int(now * 1000), int(gap * 1000) if abs(gap) >= _SKEW_TOLERATED else 0)


def _seconds(text: Any, default: float) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return default


@lru_cache(maxsize=65_536)
def derived_device_id(user_id: str) -> str:
    """The device of an event that names none: a hash of the user_id; which hash is not documented."""
    return hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def device_of(event: dict[str, Any]) -> str:
    """Return the event's device_id, or the one that is derived from its user_id."""
    device = event.get("device_id")
    return derived_device_id(event.get("user_id") or "") if device is None else str(device)


def clip(holder: Any, longest: int) -> None:
    """Cut every string value below an object or array to *longest* characters, in place."""
    for key, value in holder.items() if type(holder) is dict else enumerate(holder):
        kind = type(value)
        if kind is str:
            if len(value) > longest:
                holder[key] = value[:longest]
        elif kind is dict or kind is list:
            clip(value, longest)


class Deduplicator:
    """Knows what came within the window: same device and insert_id, or same device, event_id and time.

    A duplicate does not renew the window, and the second rule has the window of the first (not documented).
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self._seen: dict[str, float] = {}

    def is_new(self, event: dict[str, Any], device: str, now: float) -> bool:
        """Whether nothing like it was held within the window; what is new is remembered."""
        keys = _dedup_keys(event, device)
        for key in keys:
            before = self._seen.get(key)
            if before is not None and now - before < self._window:
                return False
        for key in keys:
            self._seen[key] = now
        return True


def _dedup_keys(event: dict[str, Any], device: str) -> list[str]:
    keys = []
    insert_id = event.get("insert_id")
    if insert_id is not None:
        keys.append(f"i\0{insert_id}\0{device}")
    event_id, time = event.get("event_id"), event.get("time")
    if event_id is not None and time is not None:
        keys.append(f"e\0{event_id}\0{time}\0{device}")
    return keys


class WholeEvents:
    """Keeps events as they came but for strings too long, and adds the server's fields when they are read."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._held: list[tuple[dict[str, Any], str, Arrival]] = []

    def keep(self, event: dict[str, Any], device: str, arrival: Arrival) -> None:
        clip(event, self._longest)
        self._held.append((event, device, arrival))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.between(0, sys.maxsize)

    def between(self, start: int, end: int) -> Iterator[dict[str, Any]]:
        """Go through those that came from *start* to before *end*, in milliseconds."""
        for event, device, arrival in list(self._held):
            if not start <= arrival.received < end:
                continue
            time = event.get("time")
            yield {
                **event,
                "device_id": device,
                "event_time": arrival.received if time is None else time + arrival.shift,
                "server_received_time": arrival.received,
                "server_upload_time": arrival.received,
            }


class IdsOnly:
    """Keeps the event type and the insert_id of each event, and when it came."""

    def __init__(self) -> None:
        # Two flat lists of strings: nothing here for the garbage collector to visit.
        self._types: list[str] = []
        self._insert_ids: list[str | None] = []
        self._received = array("q")

    def keep(self, event: dict[str, Any], _device: str, arrival: Arrival) -> None:
        self._received.append(arrival.received)
        self._types.append(sys.intern(event["event_type"]))
        self._insert_ids.append(event.get("insert_id"))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for event_type, insert_id in zip(list(self._types), list(self._insert_ids), strict=False):
            yield {"event_type": event_type, "insert_id": insert_id}

    def between(self, start: int, end: int) -> Iterator[dict[str, Any]]:
        """Go through those that came from *start* to before *end*, in milliseconds."""
        for event, received in zip(self, list(self._received), strict=False):
            if start <= received < end:
                yield {**event, "server_upload_time": received}


class EventStore:
    """Takes events in, drops duplicates and what `drops` says, and counts."""

    def __init__(self, hold: Hold, dedup_window: float, longest: int) -> None:
        self.keeper = WholeEvents(longest) if hold == "events" else IdsOnly()
        self.by_event_type: Counter[str] = Counter()
        self.users: set[str] = set()
        self.duplicates = 0
        self.dropped: Counter[str] = Counter()
        self._deduplicator = Deduplicator(dedup_window)
        self._longest = longest

    def take(self, events: list[dict[str, Any]], arrival: Arrival, now: float, drops: Drops) -> None:
        """Hold what is new of a request's events; their long strings are cut first, ids too."""
        for event in events:
            self._clip_names(event)
            if drops.hit(event):
                self.dropped[event["event_type"]] += 1
                continue
            device = device_of(event)
            if not self._deduplicator.is_new(event, device, now):
                self.duplicates += 1
                continue
            self.keeper.keep(event, device, arrival)
            self.by_event_type[event["event_type"]] += 1
            self.users.add(event.get("user_id") or device)

    def _clip_names(self, event: dict[str, Any]) -> None:
        for key in _NAMES:
            value = event.get(key)
            if value is not None and len(value) > self._longest:
                event[key] = value[: self._longest]

    @property
    def held(self) -> int:
        """How many events are held."""
        return self.by_event_type.total()
