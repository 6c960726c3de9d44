"""Whose events an exact plan would send: how many people, and ids with very many events; in little memory."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date
from hashlib import blake2b
from typing import Any, Final

from braze_etl.model import Event

EXACT_UP_TO: Final = 5_000
_BITS: Final = 14
_REGISTERS: Final = 1 << _BITS
_MAX_RANK: Final = 64 - _BITS + 1
STANDARD_ERROR: Final = 1.04 / math.sqrt(_REGISTERS)
"""Of the estimate: 0.8 %; two out of three are within it, and 997 of 1,000 within three times it."""

COUNTERS: Final = 1_000
_ROOM: Final = 4 * COUNTERS
_NAMED: Final = 50
"""Ids of a day that are named at most."""


class Distinct:
    """Counts distinct texts. Behind `EXACT_UP_TO` of them it keeps 16 kB of HyperLogLog registers instead.

    Read by Ertl's estimator (New cardinality estimation algorithms for HyperLogLog sketches, 2017), which has
    no bias at any size; with hashes of 64 bits no register ever reaches its top, which saves a term of it.
    """

    def __init__(self) -> None:
        self._seen: set[int] | None = set()
        self._registers = bytearray()

    @property
    def exact(self) -> bool:
        """Whether `count` is no estimate."""
        return self._seen is not None

    def add(self, text: str) -> None:
        """Count *text*, unless it was counted before."""
        digest = int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
        if self._seen is None:
            self._register(digest)
            return
        self._seen.add(digest)
        if len(self._seen) > EXACT_UP_TO:
            self._estimate()

    def merge(self, other: Distinct) -> None:
        """Count what *other* has counted; nothing counts twice, and the order does not matter."""
        if other._seen is None:
            self._estimate()
            self._registers = bytearray(map(max, self._registers, other._registers))
        elif self._seen is None:
            for digest in other._seen:
                self._register(digest)
        else:
            self._seen |= other._seen
            if len(self._seen) > EXACT_UP_TO:
                self._estimate()

    def _estimate(self) -> None:
        """Keep registers from now on."""
        if self._seen is not None:
            self._registers = bytearray(_REGISTERS)
            for digest in self._seen:
                self._register(digest)
            self._seen = None

    def _register(self, digest: int) -> None:
        index, rest = digest & (_REGISTERS - 1), digest >> _BITS
        rank = _MAX_RANK - rest.bit_length()
        self._registers[index] = max(self._registers[index], rank)

    @property
    def count(self) -> int:
        """How many distinct texts there were."""
        if self._seen is not None:
            return len(self._seen)
        ranks = Counter(self._registers)
        total = 0.0
        for rank in range(_MAX_RANK, 0, -1):
            total = (total + ranks[rank]) / 2
        total += _REGISTERS * _sigma(ranks[0] / _REGISTERS)
        return round(_REGISTERS**2 / (2 * math.log(2) * total))


def _sigma(empty: float) -> float:
    """What empty registers weigh, by their share: x + the sum of x^(2^k) * 2^(k-1), for x below 1."""
    total, weight, before = empty, 1.0, -1.0
    while total != before:
        before = total
        empty *= empty
        total += empty * weight
        weight *= 2
    return total


@dataclass(slots=True)
class Users:
    """Distinct users of what is to be sent, of each type and in all: by user_id, or else by device_id."""

    total: Distinct = field(default_factory=Distinct)
    by_event_type: defaultdict[str, Distinct] = field(default_factory=lambda: defaultdict(Distinct))

    def add(self, event_type: str, event: Event) -> None:
        """Count whom an event belongs to."""
        user = event.get("user_id")
        name = f"device:{event.get('device_id')}" if user is None else f"user:{user}"
        self.total.add(name)
        self.by_event_type[event_type].add(name)

    def merge(self, other: Users) -> None:
        """Count whom *other* has counted."""
        self.total.merge(other.total)
        for event_type, users in other.by_event_type.items():
            self.by_event_type[event_type].merge(users)


class _Day:
    """The events of a UTC day by id: no count is too high, or too low by more than `missed`."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._missed = 0

    def add(self, id_: str) -> None:
        self._counts[id_] += 1
        if len(self._counts) > _ROOM:
            self._trim()

    def merge(self, other: _Day) -> None:
        self._counts.update(other._counts)
        self._missed += other._missed
        if len(self._counts) > _ROOM:
            self._trim()

    def _trim(self) -> None:
        """Take the same from all, so that at most `COUNTERS` are left."""
        loss = sorted(self._counts.values(), reverse=True)[COUNTERS]
        self._counts = Counter({id_: n - loss for id_, n in self._counts.items() if n > loss})
        self._missed += loss

    def busiest(self, day: date, bound: int) -> list[dict[str, Any]]:
        ids = [{"id": id_, "events": n} for id_, n in self._counts.most_common(_NAMED) if n > bound]
        return [{"day": day.isoformat(), "missed_at_most": self._missed, "ids": ids}] if ids else []


class BusyIds:
    """Ids with more than *bound* events in a UTC day: a test account, or one id that many people share.

    Counting is by Misra and Gries ("Finding repeated elements", 1982): a table of 1,000 counters, which all
    lose the same amount when there are too many. A count is never too high; it is too low by less than a
    1,001st of the day's events, and far less where most events belong to few people. Sums of such tables keep
    that bound (Agarwal and others, "Mergeable summaries", 2012).
    """

    def __init__(self, bound: int) -> None:
        self.bound: Final = bound
        self._ended: list[dict[str, Any]] = []
        self._days: dict[date, _Day] = {}

    def add(self, day: date, event: Event) -> None:
        """Count an event of a day by its `user_id`, or else by its `device_id`."""
        counts = self._days.get(day)
        if counts is None:
            counts = self._days[day] = _Day()
        counts.add(event.get("user_id") or event.get("device_id", ""))

    def merge(self, other: BusyIds) -> None:
        """Take over what *other* has counted: of the last of these days, and later ones."""
        if other._days:
            self._end_before(min(other._days))
        for day, counts in other._days.items():
            self._days.setdefault(day, _Day()).merge(counts)

    def _end_before(self, day: date) -> None:
        """No more events come of earlier days: only what is told of them is kept."""
        for ended in sorted(each for each in self._days if each < day):
            self._ended += self._days.pop(ended).busiest(ended, self.bound)

    def as_dict(self) -> dict[str, Any]:
        """JSON values: of each day the 50 busiest of them; a count may be too low by `missed_at_most`."""
        days = [line for day in sorted(self._days) for line in self._days[day].busiest(day, self.bound)]
        return {"flag_above": self.bound, "days": [*self._ended, *days]}
