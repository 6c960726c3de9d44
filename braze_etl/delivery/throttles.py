"""Users and devices that Amplitude does not take at the moment, or only few events of at a time.

Their events are taken out of a batch before it is sent. Without that, every batch with one such event would
cost a request that is refused as a whole, and one with more events of a device than a window takes would be
refused for ever.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from braze_etl.delivery.destination import Hold, Lane, Throttled
from braze_etl.model import Event, Reason

WINDOW = timedelta(seconds=30)
"""What Amplitude takes of a user or device is an average over this time (amplitude.md, 1.2)."""

_KEYS = ("user_id", "device_id")
_MOST = 10_000
_NOTHING_THROTTLED = Throttled()


class Closed(NamedTuple):
    """A lane is closed for this reason until then (aware, UTC)."""

    reason: Reason
    until: datetime


@dataclass(slots=True)
class _Known:
    """A lane with trouble. `tried`: events of it are under way since its wait was over."""

    closed: Closed
    most: int | None = None
    """Events that it may send in a window, if they are bounded."""
    tried: bool = False


def lanes_of(event: Event) -> Iterator[Lane]:
    """The lanes that an event travels in: its user's and its device's."""
    for key in _KEYS:
        value = event.get(key)
        if isinstance(value, str):
            yield Lane(key, value)


class Lanes:
    """The lanes of a courier that had trouble, at most *most* of them: memory does not grow with it.

    A lane that finds no place stays unknown. That costs a request, never an event.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._known: dict[Lane, _Known] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def close(
        self, lanes: Mapping[Lane, Hold], now: datetime, throttled: Throttled = _NOTHING_THROTTLED
    ) -> None:
        """Close *lanes* from *now*; a lane that is closed for longer already stays so.

        One that had more events in the refused request than a window takes, or that was refused again right
        after its wait, sends fewer from then on.
        """
        with self._lock:
            if len(self._known) + len(lanes) > self._most:
                self._known = {lane: known for lane, known in self._known.items() if known.closed.until > now}
            for lane, hold in lanes.items():
                self._close(lane, Closed(hold.reason, now + timedelta(seconds=hold.seconds)), throttled)

    def _close(self, lane: Lane, closed: Closed, throttled: Throttled) -> None:
        known = self._known.get(lane)
        if known is None:
            if len(self._known) >= self._most:
                return
            known = self._known[lane] = _Known(closed)
        if closed.reason is Reason.THROTTLED:
            known.most = throttled.bound(lane, refused_again=known.tried) or known.most
        known.tried = False
        if known.closed.until < closed.until:
            known.closed = closed

    def accepted(self, events: Sequence[Event], now: datetime) -> None:
        """Amplitude took *events*: bounded lanes wait for the next window; what is over is forgotten."""
        if not self._known:
            return
        with self._lock:
            for lane in {lane for event in events for lane in lanes_of(event) if lane in self._known}:
                known = self._known[lane]
                known.tried = False
                if known.most is not None:
                    known.closed = Closed(Reason.THROTTLED, now + WINDOW)
                elif known.closed.until <= now:
                    del self._known[lane]

    def sift(self, events: Sequence[Event], now: datetime) -> dict[int, Closed]:
        """The events of *events*, by index, that have to wait, each with the longest of its waits.

        The others are taken to be sent at once: a bounded lane is closed behind them for a window.
        """
        if not self._known:
            return {}
        held, passing = dict[int, Closed](), Counter[Lane]()
        with self._lock:
            for index, event in enumerate(events):
                lanes = [lane for lane in lanes_of(event) if lane in self._known]
                if closed := self._longest(lanes, now) or self._crowded(lanes, passing, now):
                    held[index] = closed
                else:
                    passing.update(lanes)
            for lane in passing:
                self._let_pass(self._known[lane], now)
        return held

    def _longest(self, lanes: Iterable[Lane], now: datetime) -> Closed | None:
        closed = (self._known[lane].closed for lane in lanes)
        return max((one for one in closed if one.until > now), key=lambda one: one.until, default=None)

    def _crowded(self, lanes: Iterable[Lane], passing: Mapping[Lane, int], now: datetime) -> Closed | None:
        bounds = ((passing[lane], self._known[lane].most) for lane in lanes)
        is_full = any(most is not None and count >= most for count, most in bounds)
        return Closed(Reason.THROTTLED, now + WINDOW) if is_full else None

    def _let_pass(self, known: _Known, now: datetime) -> None:
        known.tried = True
        if known.most is not None:
            known.closed = Closed(Reason.THROTTLED, now + WINDOW)
