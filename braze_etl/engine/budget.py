"""A budget in numbers: its bounds and its price, what is spent of it, and what is too much to be sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final, Self

from braze_etl.clock import iso
from braze_etl.engine.settings import BudgetSection, CostSection
from braze_etl.errors import UsageError
from braze_etl.globs import selects
from braze_etl.state.ledger import Ledger

_CENT: Final = Decimal("0.01")
_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Terms:
    """What may be sent, and what it costs; `bounds.stop` holds globs, and no words for many."""

    bounds: BudgetSection = field(default_factory=BudgetSection)
    cost: CostSection = field(default_factory=CostSection)

    @property
    def bounded(self) -> bool:
        """Whether there is any bound."""
        return self.bounds.per_month is not None or self.bounds.per_day is not None

    @property
    def enforced(self) -> bool:
        """Whether a bound is more than a warning."""
        return self.bounded and bool(self.bounds.stop)

    @property
    def configured(self) -> bool:
        """Whether anybody wants to know what is spent."""
        return self.bounded or self.cost.per_million is not None

    def stops(self, event_type: str) -> bool:
        """Whether that type is held beyond a bound."""
        return selects(event_type, self.bounds.stop)

    def price(self, events: int) -> Decimal | None:
        """What so many events cost, rounded to a hundredth; None without a price."""
        if self.cost.per_million is None:
            return None
        return (self.cost.per_million * events / _MILLION).quantize(_CENT, ROUND_HALF_UP)


NOTE: Final = "budget"
"""The name under which the state remembers it."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Events of a UTC calendar month (`2026-11`) and of one of its days (`2026-11-24`)."""

    month: str
    month_events: int
    day: str
    day_events: int

    @classmethod
    def nothing(cls, now: datetime) -> Self:
        """The month and the day of *now*, in which nothing is spent yet."""
        day = f"{now.astimezone(UTC):%Y-%m-%d}"
        return cls(day[:7], 0, day, 0)

    @classmethod
    def from_note(cls, note: Mapping[str, Any], now: datetime) -> Self:
        """What the state remembers, as it counts at *now*."""
        if not note:
            return cls.nothing(now)
        remembered = cls(note["month"], note["month_events"], note["day"], note["day_events"])
        return remembered.at(now)

    def as_note(self) -> dict[str, Any]:
        """Plain JSON for the state."""
        return {
            "month": self.month,
            "month_events": self.month_events,
            "day": self.day,
            "day_events": self.day_events,
        }

    def at(self, now: datetime, outstanding: int = 0) -> Self:
        """What counts at *now*: a new month or day begins with what is *outstanding*, and may be sent in it.

        A clock that was set back begins nothing: neither month nor day return.
        """
        new = self.nothing(now)
        day_events = outstanding if new.day > self.day else self.day_events
        month_events = outstanding if new.month > self.month else self.month_events
        return replace(
            self,
            month=max(new.month, self.month),
            month_events=month_events,
            day=max(new.day, self.day),
            day_events=day_events,
        )

    def plus(self, events: int) -> Self:
        """With so many more, or fewer where *events* is negative."""
        return replace(
            self,
            month_events=max(0, self.month_events + events),
            day_events=max(0, self.day_events + events),
        )

    def covers(self, other: Spent) -> bool:
        """Whether this says at least as much as *other*, of the same month and day."""
        same = (self.month, self.day) == (other.month, other.day)
        return same and self.month_events >= other.month_events and self.day_events >= other.day_events


@dataclass(frozen=True, slots=True)
class Line:
    """One period: its name (`month`), which one it is (`2026-11`), and when it ends (UTC, exclusive)."""

    name: str
    period: str
    ends_at: datetime
    spent: int
    limit: int | None
    warn_at: float

    @property
    def left(self) -> int | None:
        """Events that may still be sent; None without a bound."""
        return None if self.limit is None else max(0, self.limit - self.spent)

    @property
    def warned(self) -> bool:
        """Whether as much is spent as is worth a warning."""
        return self.limit is not None and self.spent >= self.limit * self.warn_at

    @property
    def used_up(self) -> bool:
        """Whether nothing is left."""
        return self.left == 0

    @property
    def key(self) -> str:
        """The name of its bound in the configuration."""
        return f"budget.per_{self.name}"

    def over(self, events: int) -> int:
        """How many of so many more events do not fit."""
        return 0 if self.left is None else max(0, events - self.left)

    def as_dict(self) -> dict[str, Any]:
        """The line as JSON values; `left` may be less than was asked for by types that never stop."""
        return {
            "period": self.period,
            "spent": self.spent,
            "limit": self.limit,
            "left": self.left,
            "warned": self.warned,
            "ends_at": iso(self.ends_at),
        }

    def __str__(self) -> str:
        if self.limit is None:
            return f"{self.spent:,} events in {self.period}"
        text = f"{self.spent:,} of {self.limit:,} events in {self.period} ({self.spent / self.limit:.0%})"
        until = f", nothing left until {iso(self.ends_at)}"
        return text + (until if self.used_up else f", {self.left:,} left")


@dataclass(frozen=True, slots=True)
class Account:
    """The terms, and what is spent of the month and the day that they count for."""

    terms: Terms
    spent: Spent

    @classmethod
    def read(cls, ledger: Ledger, terms: Terms, now: datetime) -> Self:
        """What the state remembers; it may be a little ahead of a run that is at work."""
        return cls(terms, Spent.from_note(ledger.get_note(NOTE), now))

    @property
    def lines(self) -> tuple[Line, Line]:
        """The month and the day."""
        spent, bounds = self.spent, self.terms.bounds
        day = datetime.fromisoformat(spent.day).replace(tzinfo=UTC)
        next_month = (datetime.fromisoformat(f"{spent.month}-28") + timedelta(days=4)).replace(day=1)
        return (
            Line(
                "month",
                spent.month,
                next_month.replace(tzinfo=UTC),
                spent.month_events,
                bounds.per_month,
                bounds.warn_at,
            ),
            Line("day", spent.day, day + timedelta(days=1), spent.day_events, bounds.per_day, bounds.warn_at),
        )

    @property
    def left(self) -> int | None:
        """Events that fit into every bound; None where there is none."""
        return min((line.left for line in self.lines if line.left is not None), default=None)

    @property
    def used_up(self) -> Line | None:
        """The bound of which nothing is left; of two, the one that lasts longer."""
        return next((line for line in self.lines if line.used_up), None)

    def as_dict(self, **costs: int) -> dict[str, Any]:
        """The account as JSON values; *costs* are events whose price is told too, by name."""
        facts: dict[str, Any] = {line.name: line.as_dict() for line in self.lines}
        if self.terms.cost.per_million is not None:
            events = {**costs, **{line.name: line.spent for line in self.lines}}
            facts["cost"] = {
                "currency": self.terms.cost.currency,
                "per_million": str(self.terms.cost.per_million),
                **{name: str(self.terms.price(count)) for name, count in events.items()},
            }
        return facts

    def facts(self) -> Iterator[tuple[str, str]]:
        """The account for people: a name and a text for each line."""
        month, day = self.lines
        if self.terms.bounded:
            yield from ((f"budget, {line.name}", str(line)) for line in (month, day) if line.limit)
        if self.terms.cost.per_million is not None:
            yield (
                "cost",
                f"{self.money(day.spent)} in {day.period}, {self.money(month.spent)} in {month.period}",
            )

    def money(self, events: int) -> str:
        """What so many events cost, with the currency; empty without a price."""
        price = self.terms.price(events)
        return "" if price is None else f"{price:,} {self.terms.cost.currency}"


@dataclass(frozen=True, slots=True)
class Spending:
    """So many events to send, of which *stoppable* are of types that a bound stops."""

    account: Account
    events: int
    stoppable: int

    @classmethod
    def of(cls, account: Account, to_send: Mapping[str, int]) -> Self:
        """Sum up events by type."""
        stoppable = sum(events for name, events in to_send.items() if account.terms.stops(name))
        return cls(account, sum(to_send.values()), stoppable)

    @property
    def over(self) -> dict[str, int]:
        """By how many events each bound would be overrun, by `month` and `day`; only those that would be."""
        return {line.name: line.over(self.events) for line in self.account.lines if line.over(self.events)}

    @property
    def held(self) -> int:
        """About how many events a bound would hold; it depends on which come first when it is reached."""
        return min(self.stoppable, max(self.over.values(), default=0)) if self.account.terms.bounded else 0

    def as_dict(self) -> dict[str, Any]:
        """The account as JSON values, with what is to be sent, what is too much for which bound, and held."""
        facts = self.account.as_dict(to_send=self.events)
        return {**facts, "to_send": self.events, "over": self.over, "held": self.held}

    def facts(self) -> Iterator[tuple[str, str]]:
        """The same for people."""
        yield from self.account.facts()
        for line in self._overrun():
            yield f"over, {line.name}", f"{line.over(self.events):,} events more than {line.key} leaves"
        if self.held:
            yield "held", f"about {self.held:,} events of the types in budget.stop"
        if money := self.account.money(self.events):
            yield "this costs", money

    def refuse_overrun(self, *, estimated: bool = True) -> None:
        """Raise `UsageError` where some bound would be overrun."""
        lines = self._overrun()
        if not lines:
            return
        bounds = " and ".join(
            f"{line.over(self.events):,} more than the {line.left:,} that {line.key} leaves in {line.period}"
            for line in lines
        )
        ends = iso(max(line.ends_at for line in lines))
        about, estimate = ("about ", " (an estimate)") if estimated else ("", "")
        raise UsageError(
            f"this would send {about}{self.events:,} events{estimate}, {bounds}",
            remedy="Choose fewer hours or event types, wait until "
            f"{ends}, raise the bound, or give --over-budget to send them all the same.",
        )

    def _overrun(self) -> tuple[Line, ...]:
        return tuple(line for line in self.account.lines if line.over(self.events))
