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

from braze_etl.delivery.destination import Defer, Throttled, ThrottleKey
from braze_etl.model import Event, Reason

WINDOW = timedelta(seconds=30)
"""What Amplitude takes of a user or device is an average over this time (amplitude.md, 1.2)."""

_FIELDS = ("user_id", "device_id")
_MOST = 10_000
_NOTHING_THROTTLED = Throttled()


class Wait(NamedTuple):
    """Items of a key wait for this reason until then (aware, UTC)."""

    reason: Reason
    until: datetime


@dataclass(slots=True)
class _Known:
    """A key with trouble. `tried`: events of it are under way since its wait was over."""

    wait: Wait
    most: int | None = None
    """Events that it may send in a window, if they are bounded."""
    tried: bool = False


def throttle_keys(event: Event) -> Iterator[ThrottleKey]:
    """What Amplitude counts an event by: its user and its device."""
    for field in _FIELDS:
        value = event.get(field)
        if isinstance(value, str):
            yield ThrottleKey(field, value)


class Throttles:
    """The keys of a sender that had trouble, at most *most* of them: memory does not grow with it.

    A key that finds no place stays unknown. That costs a request, never an event.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._known: dict[ThrottleKey, _Known] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def close(
        self, keys: Mapping[ThrottleKey, Defer], now: datetime, throttled: Throttled = _NOTHING_THROTTLED
    ) -> None:
        """Close *keys* from *now*; a key that waits for longer already stays so.

        One that had more events in the refused request than a window takes, or that was refused again right
        after its wait, sends fewer from then on.
        """
        with self._lock:
            if len(self._known) + len(keys) > self._most:
                self._known = {key: known for key, known in self._known.items() if known.wait.until > now}
            for key, wait in keys.items():
                self._close(key, Wait(wait.reason, now + timedelta(seconds=wait.seconds)), throttled)

    def _close(self, key: ThrottleKey, wait: Wait, throttled: Throttled) -> None:
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= self._most:
                return
            known = self._known[key] = _Known(wait)
        if wait.reason is Reason.THROTTLED:
            known.most = throttled.bound(key, refused_again=known.tried) or known.most
        known.tried = False
        if known.wait.until < wait.until:
            known.wait = wait

    def accepted(self, events: Sequence[Event], now: datetime) -> None:
        """Amplitude took *events*: bounded keys wait for the next window; what is over is forgotten."""
        if not self._known:
            return
        with self._lock:
            for key in {key for event in events for key in throttle_keys(event) if key in self._known}:
                known = self._known[key]
                known.tried = False
                if known.most is not None:
                    known.wait = Wait(Reason.THROTTLED, now + WINDOW)
                elif known.wait.until <= now:
                    del self._known[key]

    def filter(self, events: Sequence[Event], now: datetime) -> dict[int, Wait]:
        """The events of *events*, by index, that have to wait, each with the longest of its waits.

        The others are taken to be sent at once: behind them a bounded key waits for the next window.
        """
        if not self._known:
            return {}
        held, passing = dict[int, Wait](), Counter[ThrottleKey]()
        with self._lock:
            for index, event in enumerate(events):
                keys = [key for key in throttle_keys(event) if key in self._known]
                if wait := self._longest(keys, now) or self._crowded(keys, passing, now):
                    held[index] = wait
                else:
                    passing.update(keys)
            for key in passing:
                self._let_pass(self._known[key], now)
        return held

    def _longest(self, keys: Iterable[ThrottleKey], now: datetime) -> Wait | None:
        wait = (self._known[key].wait for key in keys)
        return max((one for one in wait if one.until > now), key=lambda one: one.until, default=None)

    def _crowded(
        self, keys: Iterable[ThrottleKey], passing: Mapping[ThrottleKey, int], now: datetime
    ) -> Wait | None:
        bounds = ((passing[key], self._known[key].most) for key in keys)
        is_full = any(most is not None and count >= most for count, most in bounds)
        return Wait(Reason.THROTTLED, now + WINDOW) if is_full else None

    def _let_pass(self, known: _Known, now: datetime) -> None:
        known.tried = True
        if known.most is not None:
            known.wait = Wait(Reason.THROTTLED, now + WINDOW)
