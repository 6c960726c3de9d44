"""Keys, as users and devices, of which a service takes nothing at the moment, or only few items at a time.

Their items are taken out of a batch before it is sent. Without that, every batch with one such item would
cost a request that is refused as a whole, and one with more items of a key than a window takes would be
refused for ever.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from braze_etl.delivery.destination import Defer, Item, Throttled, ThrottleKey
from braze_etl.model import Reason

_MOST = 10_000
_NOTHING_THROTTLED = Throttled()


class Wait(NamedTuple):
    """Items of a key wait for this reason until then (aware, UTC)."""

    reason: Reason
    until: datetime


@dataclass(slots=True)
class _Known:
    """A key with trouble. `tried`: items of it are under way since its wait was over."""

    wait: Wait
    most: int | None = None
    """Items that it may send in a window, if they are bounded."""
    tried: bool = False


class Throttles:
    """The keys of a sender that had trouble, at most *most* of them: memory does not grow with them.

    A key that finds no place stays unknown. That costs a request, never an item. *keys_of* gives the keys of
    an item; *window* is the time in seconds that a bounded key waits between its shares.
    """

    def __init__(
        self, keys_of: Callable[[Item], Sequence[ThrottleKey]], window: float, *, most: int = _MOST
    ) -> None:
        self._keys_of = keys_of
        self._window = timedelta(seconds=window)
        self._most = most
        self._known: dict[ThrottleKey, _Known] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def close(
        self, keys: Mapping[ThrottleKey, Defer], now: datetime, throttled: Throttled = _NOTHING_THROTTLED
    ) -> None:
        """Close *keys* from *now*; a key that waits for longer already stays so.

        One that had more items in the refused request than a window takes, or that was refused again right
        after its wait, sends fewer from then on.
        """
        with self._lock:
            if len(self._known) + len(keys) > self._most:
                self._known = {key: known for key, known in self._known.items() if known.wait.until > now}
            for key, (reason, seconds) in keys.items():
                self._close(key, Wait(reason, now + timedelta(seconds=seconds)), throttled)

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

    def accepted(self, items: Iterable[Item], now: datetime) -> None:
        """The service took *items*: bounded keys wait for the next window; what is over is forgotten."""
        if not self._known:
            return
        with self._lock:
            for key in {key for item in items for key in self._keys_of(item) if key in self._known}:
                known = self._known[key]
                known.tried = False
                if known.most is not None:
                    known.wait = Wait(Reason.THROTTLED, now + self._window)
                elif known.wait.until <= now:
                    del self._known[key]

    def filter(self, items: Iterable[Item], now: datetime) -> dict[int, Wait]:
        """Those of *items*, by index, that have to wait, each with the longest of its waits.

        The others are taken to be sent at once: behind them a bounded key waits for the next window.
        """
        if not self._known:
            return {}
        held, passing = dict[int, Wait](), Counter[ThrottleKey]()
        with self._lock:
            for index, item in enumerate(items):
                keys = [key for key in self._keys_of(item) if key in self._known]
                if wait := self._longest(keys, now) or self._crowded(keys, passing, now):
                    held[index] = wait
                else:
                    passing.update(keys)
            for key in passing:
                self._let_pass(self._known[key], now)
        return held

    def _longest(self, keys: Iterable[ThrottleKey], now: datetime) -> Wait | None:
        waits = (self._known[key].wait for key in keys)
        return max((one for one in waits if one.until > now), key=lambda one: one.until, default=None)

    def _crowded(
        self, keys: Iterable[ThrottleKey], passing: Mapping[ThrottleKey, int], now: datetime
    ) -> Wait | None:
        bounds = ((passing[key], self._known[key].most) for key in keys)
        is_full = any(most is not None and count >= most for count, most in bounds)
        return Wait(Reason.THROTTLED, now + self._window) if is_full else None

    def _let_pass(self, known: _Known, now: datetime) -> None:
        known.tried = True
        if known.most is not None:
            known.wait = Wait(Reason.THROTTLED, now + self._window)
