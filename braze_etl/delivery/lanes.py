"""Users and devices that Amplitude does not take at the moment.

Their events are taken out of a batch before it is sent. Without that, every batch with one such event would
cost a request that is refused as a whole.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from braze_etl.delivery.decision import Hold, Lane
from braze_etl.model import Event, Reason

_KEYS = ("user_id", "device_id")
_MOST = 10_000


class Closed(NamedTuple):
    """A lane is closed for this reason until then (aware, UTC)."""

    reason: Reason
    until: datetime


def lanes_of(event: Event) -> Iterator[Lane]:
    """The lanes that an event travels in: its user's and its device's."""
    for key in _KEYS:
        value = event.get(key)
        if isinstance(value, str):
            yield Lane(key, value)


class Lanes:
    """The closed lanes of a courier, at most *most* of them: memory does not grow with the trouble.

    A lane that finds no place stays unknown. That costs a request, never an event.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._closed: dict[Lane, Closed] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._closed)

    def close(self, lanes: Mapping[Lane, Hold], now: datetime) -> None:
        """Close *lanes* from *now*; a lane that is closed for longer already stays so."""
        with self._lock:
            if len(self._closed) + len(lanes) > self._most:
                self._closed = {lane: closed for lane, closed in self._closed.items() if closed.until > now}
            for lane, hold in lanes.items():
                self._close(lane, Closed(hold.reason, now + timedelta(seconds=hold.seconds)))

    def _close(self, lane: Lane, closed: Closed) -> None:
        known = self._closed.get(lane)
        if known is None and len(self._closed) >= self._most:
            return
        if known is None or known.until < closed.until:
            self._closed[lane] = closed

    def sift(self, events: Sequence[Event], now: datetime) -> dict[int, Closed]:
        """The events of *events*, by index, that have to wait, each with the longest of its waits."""
        if not self._closed:
            return {}
        with self._lock:
            found = ((index, self._longest(event, now)) for index, event in enumerate(events))
            return {index: closed for index, closed in found if closed is not None}

    def _longest(self, event: Event, now: datetime) -> Closed | None:
        closed = (self._closed.get(lane) for lane in lanes_of(event))
        waiting = [one for one in closed if one is not None and one.until > now]
        return max(waiting, key=lambda one: one.until, default=None)
