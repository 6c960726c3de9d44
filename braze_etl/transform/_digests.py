"""A set of 16-byte digests in one block of memory: millions of them at 16 bytes each."""

from __future__ import annotations

from array import array
from itertools import accumulate
from typing import Final

SIZE: Final = 16
_BUCKETS: Final = 1 << 16


class DigestSet:
    """Answers `digest in set`: a search, done in C, among the 65,536th part with the same first two bytes.

    Made of digests one after the other, in any order, repeats allowed. Among 10^12 others, one in 10^20 is
    taken for a member of a set of a million.
    """

    def __init__(self, packed: bytes | bytearray = b"") -> None:
        spread, ends = _by_bucket(packed)
        block, start = bytearray(), 0
        self._ends = array("Q", [0])
        for end in ends:
            if start < end:
                block += b"".join(sorted({bytes(spread[at : at + SIZE]) for at in range(start, end, SIZE)}))
            self._ends.append(len(block))
            start = end
        self._block = bytes(block)

    def __contains__(self, digest: bytes) -> bool:
        bucket = digest[0] << 8 | digest[1]
        start, end = self._ends[bucket], self._ends[bucket + 1]
        while start < end:
            found = self._block.find(digest, start, end)
            if found < 0:
                return False
            if found % SIZE == 0:
                return True
            start = found + 1  # the end of one digest and the beginning of the next
        return False

    def __len__(self) -> int:
        return len(self._block) // SIZE

    @property
    def block(self) -> bytes:
        """All of them, sorted."""
        return self._block


def _by_bucket(packed: bytes | bytearray) -> tuple[bytearray, list[int]]:
    """The digests in the order of their buckets, and where each bucket ends."""
    pairs = zip(packed[::SIZE], packed[1::SIZE], strict=True)
    buckets = array("H", (first << 8 | second for first, second in pairs))
    sizes = [0] * _BUCKETS
    for bucket in buckets:
        sizes[bucket] += SIZE
    ends = list(accumulate(sizes))
    places = [end - size for end, size in zip(ends, sizes, strict=True)]
    spread = bytearray(len(packed))
    for number, bucket in enumerate(buckets):
        place = places[bucket]
        spread[place : place + SIZE] = packed[number * SIZE : (number + 1) * SIZE]
        places[bucket] = place + SIZE
    return spread, ends
