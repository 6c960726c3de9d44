"""Counting distinct ids in flat memory: exactly while they are few, then as an estimate."""

from __future__ import annotations

import math
from collections import Counter
from hashlib import blake2b
from typing import Final

EXACT_UP_TO: Final = 5_000
_BITS: Final = 14
_REGISTERS: Final = 1 << _BITS
_MAX_RANK: Final = 64 - _BITS + 1
STANDARD_ERROR: Final = 1.04 / math.sqrt(_REGISTERS)
"""Of the estimate: 0.8 %; two out of three are within it, and 997 of 1,000 within three times it."""


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
            self._registers = bytearray(_REGISTERS)
            for each in self._seen:
                self._register(each)
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
