"""The cheap check: what is expected by event type and day, against the daily totals that Amplitude tells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from typing import Any

from braze_etl.amplitude.dashboard import DailyTotals
from braze_etl.flows.currents_to_amplitude.verification.comparison import Result, Tally

_QUARTER = 900
_GAP = 7
"""Days that are cheaper asked for along than left out: each costs 1 of what a project may ask for (4.1)."""
_LONGEST = 100
"""Days of a question: of 365 that Amplitude takes, and of what they cost."""


def day_in(zone: tzinfo) -> Callable[[int], str]:
    """The day in that zone of a quarter of an hour since 1970."""

    @lru_cache(maxsize=100_000)
    def day(quarter: int) -> str:
        return datetime.fromtimestamp(quarter * _QUARTER, UTC).astimezone(zone).date().isoformat()

    return day


@dataclass(frozen=True, slots=True)
class DayCount:
    """Events of one name on one day: expected of us, and held in all."""

    name: str
    day: str
    expected: int
    held: int

    def as_dict(self) -> dict[str, Any]:
        """It as JSON values."""
        return {"name": self.name, "day": self.day, "expected": self.expected, "held": self.held}


def compare_counts(result: Result, totals: DailyTotals) -> Iterator[DayCount]:
    """Ask for the totals of each name, and have the tallies of *result* say what lacks at least.

    An event of others with the same name hides one of ours that is missing: this is a hint.
    """
    days: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (name, day), expected in result.days.items():
        days[name][day] = expected
    for name, by_day in sorted(days.items()):
        held = dict[date, int]()
        for first, last in _spans(map(date.fromisoformat, sorted(by_day))):
            held |= totals.of(name, first, last)
        counts = [DayCount(name, day, n, held.get(date.fromisoformat(day), 0)) for day, n in by_day.items()]
        _take_over(result, name, sum(max(0, count.expected - count.held) for count in counts))
        yield from sorted(counts, key=lambda count: count.day)


def _spans(days: Iterable[date]) -> Iterator[tuple[date, date]]:
    """The days in spans that one question may be about: a few events happened long before they were sent."""
    span: tuple[date, date] | None = None
    for day in days:
        if span is not None and (day - span[1]).days <= _GAP and (day - span[0]).days < _LONGEST:
            span = span[0], day
            continue
        if span is not None:
            yield span
        span = day, day
    if span is not None:
        yield span


def _take_over(result: Result, name: str, missing: int) -> None:
    """Spread what lacks over the event types of Currents that bear that name."""
    tallies: list[Tally] = [tally for key, tally in result.tallies.items() if key[1] == name]
    for tally in tallies:
        judged = tally.present + tally.missing
        tally.missing = min(missing, judged)
        tally.present = judged - tally.missing
        missing -= tally.missing
