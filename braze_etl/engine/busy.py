"""Ids with very many events a day: a test account, or one id that many people share, found in little memory.

Counting is by Misra and Gries ("Finding repeated elements", 1982): a table of 1,000 counters, which all lose
the same amount when there are too many. A count is never too high; it is too low by `missed` at most, which
is less than a 1,001st of all events, and far less where most events belong to few people.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Self

from braze_etl.clock import Clock
from braze_etl.model import Event
from braze_etl.state.ledger import Ledger

NOTE: Final = "busy_ids"
"""The name of the note in the ledger; it holds ids of people, which `erase` removes."""
COUNTERS: Final = 1_000
_ROOM: Final = 4 * COUNTERS
_REMEMBERED: Final = 50
"""Ids of a day that are kept from one run to the next."""


@dataclass(slots=True)
class BusyIds:
    """Events by the id they are sent under: `user_id`, or `device_id` without one.

    Each count is at least this, and at most `missed` more; an id that is not there has at most `missed`.
    """

    counts: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    missed: int = 0

    def take(self, events: Sequence[Event]) -> None:
        """Count events that are sent."""
        self.counts.update([event.get("user_id") or event.get("device_id", "") for event in events])
        self.sent += len(events)
        if len(self.counts) > _ROOM:
            self._shrink()

    def add(self, other: BusyIds) -> None:
        """Count what another one has counted."""
        self.counts.update(other.counts)
        self.sent += other.sent
        self.missed += other.missed
        if len(self.counts) > _ROOM:
            self._shrink()

    def hand_over(self) -> BusyIds:
        """Give all of it away, in 1,000 counters, and begin anew."""
        if len(self.counts) > COUNTERS:
            self._shrink()
        taken = BusyIds(self.counts, self.sent, self.missed)
        self.counts, self.sent, self.missed = Counter(), 0, 0
        return taken

    def above(self, bound: int) -> list[str]:
        """The ids that surely have more events than that, the busiest first."""
        return [id_ for id_, events in self.counts.most_common() if events > bound]

    def as_fact(self) -> dict[str, Any]:
        """Plain JSON of the busiest; what is left out counts as missed."""
        busiest = self.counts.most_common(_REMEMBERED + 1)
        left_out = sum(events for _, events in busiest[_REMEMBERED:])
        return {"sent": self.sent, "missed": self.missed + left_out, "ids": dict(busiest[:_REMEMBERED])}

    @classmethod
    def from_fact(cls, fact: Mapping[str, Any]) -> Self:
        """Read what `as_fact` gave."""
        return cls(Counter(fact["ids"]), fact["sent"], fact["missed"])

    def _shrink(self) -> None:
        loss = sorted(self.counts.values(), reverse=True)[COUNTERS]
        self.counts = Counter({id_: events - loss for id_, events in self.counts.items() if events > loss})
        self.missed += loss


class BusyDays:
    """The ids of a run by the UTC day of sending, kept in the ledger for this day and the one before.

    With *bound* None nothing is counted, and what an earlier configuration left there is forgotten.
    """

    def __init__(self, ledger: Ledger, clock: Clock, bound: int | None) -> None:
        self._ledger = ledger
        self._clock = clock
        self._bound = bound
        self._days: dict[date, BusyIds] = {}

    def settled(self, busy: Iterable[BusyIds]) -> None:
        """Take over what workers have counted."""
        today = _day(self._clock.now())
        for each in busy:
            if each.sent:
                self._days.setdefault(today, BusyIds()).add(each)

    def remember(self) -> int:
        """Add what was counted to the ledger; return how many ids of today are above the bound.

        To be called under the lease. What a killed run has counted is not known to the next.
        """
        before = self._ledger.get_note(NOTE)
        if self._bound is None:
            if before:
                self._ledger.put_note(NOTE, {})
            return 0
        now = self._clock.now()
        kept = read_days(before, now)
        for day, busy in self._days.items():
            kept.setdefault(day, BusyIds()).add(busy)
        self._days.clear()
        fact = {day.isoformat(): busy.as_fact() for day, busy in _recent(kept, now).items()}
        if fact != before:
            self._ledger.put_note(NOTE, fact)
        return len(kept.get(_day(now), BusyIds()).above(self._bound))


@dataclass(frozen=True, slots=True)
class BusyStanding:
    """What `status` shows of it: days with their ids, the newest first."""

    bound: int
    days: Mapping[date, BusyIds]

    @classmethod
    def read(cls, ledger: Ledger, now: datetime, bound: int) -> Self:
        """Read the note; nothing is written."""
        return cls(bound, read_days(ledger.get_note(NOTE), now))

    def as_dict(self) -> dict[str, Any]:
        """JSON values: of each day the remembered ids, the busiest first."""
        return {
            "flag_above": self.bound,
            "days": [
                {
                    "day": day.isoformat(),
                    "sent": busy.sent,
                    "missed_at_most": busy.missed,
                    "ids": [
                        {"id": id_, "events": events, "flagged": events > self.bound}
                        for id_, events in busy.counts.most_common()
                    ],
                }
                for day, busy in self.days.items()
            ],
        }

    @property
    def words(self) -> str:
        """The ids above the bound by day, for people; empty if there are none."""
        told = []
        for day, busy in self.days.items():
            ids = ", ".join(f"{id_} ({busy.counts[id_]:,})" for id_ in busy.above(self.bound))
            if ids:
                told.append(f"{day.isoformat()}: {ids}")
        return "; ".join(told)


def read_days(fact: Mapping[str, Any], now: datetime) -> dict[date, BusyIds]:
    """The note by day, as far as it is of today or yesterday; the newest day first."""
    days = {date.fromisoformat(day): BusyIds.from_fact(each) for day, each in fact.items()}
    return _recent(days, now)


def _recent(days: Mapping[date, BusyIds], now: datetime) -> dict[date, BusyIds]:
    first = _day(now) - timedelta(days=1)
    return {day: days[day] for day in sorted(days, reverse=True) if day >= first}


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()
