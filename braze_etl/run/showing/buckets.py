"""Time cut into stretches between whole UTC hours, for sums that stay small however long the time is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final, Self

_HOUR: Final = timedelta(hours=1)
_WIDTHS: Final = (1, 2, 3, 6, 12, 24, 168)
_BEGINNING: Final = datetime(2024, 1, 1, tzinfo=UTC)
"""A Monday: days begin at midnight UTC, and weeks with it."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """*count* stretches from *since* to *until*; iterates over their ends (from, to).

    The first reaches to *start* + *width*, and all but that and the last are *width* long: these two may be
    half as short, or half as long again.
    """

    since: datetime
    until: datetime
    start: datetime
    width: timedelta
    count: int

    @classmethod
    def covering(cls, since: datetime, until: datetime, *, at_most: int = 124) -> Self:
        """The finest that cover all of it in *at_most* stretches, or else weeks."""
        for hours in _WIDTHS:
            width = hours * _HOUR
            start = _BEGINNING + (since - _BEGINNING) // width * width
            count = (until - start) // width + 1
            if count <= at_most:
                break
        # A rate over a few minutes says little: a stub goes with its neighbour.
        if count > 1 and start + width - since < width / 2:
            start, count = start + width, count - 1
        if count > 1 and until - (start + (count - 1) * width) < width / 2:
            count -= 1
        return cls(since, until, start, width, count)

    @property
    def hours(self) -> int:
        """The width of a whole stretch in hours."""
        return self.width // _HOUR

    def __iter__(self) -> Iterator[tuple[datetime, datetime]]:
        cuts = [self.start + number * self.width for number in range(1, self.count)]
        return pairwise([self.since, *cuts, self.until])

    def place(self, moment: datetime) -> int:
        """Which stretch a moment lies in; the first or the last for what lies outside."""
        return min(max((moment - self.start) // self.width, 0), self.count - 1)

    def spread(self, amount: int, begin: datetime, end: datetime) -> Iterator[tuple[int, int]]:
        """Split *amount* over the stretches between two moments, by their share of the time and exactly."""
        first, last = self.place(begin), self.place(end)
        given = 0
        for place in range(first, last):
            passed = self.start + (place + 1) * self.width - begin
            upto = round(amount * (passed / (end - begin)))
            yield place, upto - given
            given = upto
        yield last, amount - given
