"""How many requests at a time, how long to back off, how many items a second."""

from __future__ import annotations

import threading
from collections import deque
from math import inf
from random import Random

_BASE = 0.5
_CAP = 30.0
_START = 4
_WARY_WINDOWS = 10
_BELOW = 0.9
_RISE = 1.01
_WIDER = 1.001
_MOST_RISES = 1000.0
_LATE = 0.1
"""Seconds that a thread may come late to its turn without the rate losing them."""


def back_off(attempt: int, rng: Random, *, base: float = _BASE, cap: float = _CAP) -> float:
    """Seconds to wait before try *attempt* + 1, with full jitter: anything from 0 to a bound that doubles.

    The whole range is drawn from, so that many clients that failed together do not come back together.
    """
    exponent = min(max(attempt, 1) - 1, 32)
    return rng.uniform(0.0, min(cap, base * 2**exponent))


class Room:
    """How many bytes a request may have, as learned from answers: what is before the service may take less.

    A refused size bounds all later requests, a tenth below it. With each request accepted the bound rises by
    a thousandth, for what stood on the way may be gone: so about one request in a hundred tries it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._limit = float(most)

    @property
    def limit(self) -> int:
        """Bytes of JSON that a request of several items may have."""
        return int(self._limit)

    def accepted(self) -> None:
        """A request was taken."""
        if self._limit < self._most:
            with self._lock:
                self._limit = min(float(self._most), self._limit * _WIDER)

    def refused(self, size: int) -> None:
        """A request of *size* bytes was too large, and none of its items alone was to blame."""
        with self._lock:
            self._limit = min(self._limit, size * _BELOW)


class Window:
    """How many requests may be in flight: one more after a window of successes, half after an overload.

    Pure: it is told of times and asks for none. It opens only while it is in full use, for otherwise a
    success says nothing about more of them; and it is cut once a round trip, for requests that were begun
    before a cut only repeat what the cut has answered already. Until the first cut it opens with each
    success, so that a short run reaches its width in time. Near the width at which the last cut came it opens
    ten times more slowly: every step too far costs refusals, and often a pause for everybody.
    """

    def __init__(self, cap: int, start: int = _START) -> None:
        self._cap = max(1, cap)
        self._limit = min(max(1, start), self._cap)
        self._successes = 0
        self._wary_from = inf
        self._proved = False
        self._last_cut = -inf

    @property
    def limit(self) -> int:
        """The most requests in flight, from 1 to the cap."""
        return self._limit

    @property
    def cap(self) -> int:
        """The most that it may open to."""
        return self._cap

    def bound(self, cap: int) -> None:
        """Have another cap from now on: a narrower one shuts it at once, in a wider one it opens as ever."""
        self._cap = max(1, cap)
        self._limit = min(self._limit, self._cap)

    def success(self, *, full: bool) -> None:
        """A request was accepted; *full*: the window was in full use when it began."""
        self._proved = True
        if not full or self._limit >= self._cap:
            return
        self._successes += 1
        if self._successes >= self._needed():
            self._limit += 1
            self._successes = 0

    def _needed(self) -> int:
        if self._last_cut == -inf:
            return 1
        return self._limit * (_WARY_WINDOWS if self._limit >= self._wary_from else 1)

    def overload(self, *, began: float, now: float) -> None:
        """A request that began at *began* was throttled or failed as under too much load."""
        self._successes = 0
        if began <= self._last_cut:
            return
        if self._proved:  # else nothing works, whatever the width: an outage
            self._wary_from = self._limit - 1
        self._proved = False
        self._limit = max(1, self._limit // 2)
        self._last_cut = now


class Rate:
    """At most so many items a second, by the batch: a batch pays with the time before the next one.

    It is a share of a whole, which may change: who waits asks again, so that nothing goes by an old one.

    *most* is the user's bound. A second one is learned, of what was accepted in *span* seconds, and never
    below *least*: a throttled service has to be left alone for up to a minute (amplitude.md, 1.2), so that
    running into its limit again and again, as a window does, would cost most of what it allows. From the
    first time on the rate stays a tenth below what was accepted until then. It rises by 1 % a minute, and
    faster the longer nothing happens, for others may have filled the limit.
    """

    def __init__(self, most: float | None = None, *, least: float, span: float) -> None:
        self._most = most or inf
        self._least = least
        self._span = span
        self._learned = inf
        self._rises_from = 0.0
        self._free_at = -inf
        self._accepted: deque[tuple[float, float]] = deque()
        self._measured_from: float | None = None
        self._lock = threading.Lock()

    def take(self, items: int, now: float) -> float:
        """Let *items* be sent now and return 0, or the seconds after which to ask again."""
        with self._lock:
            if now < self._free_at:
                return self._free_at - now
            if self._measured_from is None:
                self._measured_from = now
            start = self._free_at if now - self._free_at < _LATE else now
            self._free_at = start + items / min(self._most, self._bound(now))
        return 0.0

    def share(self, most: float | None, least: float, now: float) -> None:
        """Take another share of the whole: what is owed and learned changes as *least* does."""
        with self._lock:
            factor = least / self._least
            since = max(now, self._rises_from)  # a pause is as long for everybody
            if self._free_at > since:
                self._free_at = since + (self._free_at - since) / factor
            self._most, self._least = most or inf, least
            self._learned *= factor
            self._accepted = deque((when, items * factor) for when, items in self._accepted)

    def accepted(self, items: int, now: float) -> None:
        """So many items were accepted."""
        with self._lock:
            self._accepted.append((now, items))
            self._forget(now)

    def throttled(self, *, began: float, now: float, pause: float) -> None:
        """A request that began at *began* met the project's limit, and for *pause* seconds none begins."""
        with self._lock:
            since = self._measured_from
            if since is None or began < since:
                return  # begun before the last pause: that one has answered it already
            self._forget(now)
            taken = sum(items for _, items in self._accepted)
            if taken:
                self._learned = max(self._least, _BELOW * taken / max(1.0, min(self._span, now - since)))
            elif self._learned < inf:
                self._learned = max(self._least, self._learned / 2)
            self._accepted.clear()
            self._measured_from = self._rises_from = self._free_at = now + pause

    def _bound(self, now: float) -> float:
        minutes = max(0.0, now - self._rises_from) / 60
        return self._learned * float(_RISE ** min(minutes + minutes**2 / 10, _MOST_RISES))

    def _forget(self, now: float) -> None:
        while self._accepted and self._accepted[0][0] <= now - self._span:
            self._accepted.popleft()
