"""What people and machines are told of a budget: the bounds, what is spent of them, and the money."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from braze_etl.checkpoint import Ledger
from braze_etl.clock import iso
from braze_etl.run.budget.spent import NOTE, Spent
from braze_etl.run.budget.terms import Terms


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
        return cls(terms, Spent.from_note(ledger.recall(NOTE), now))

    @property
    def lines(self) -> tuple[Line, Line]:
        """The month and the day."""
        spent, terms = self.spent, self.terms
        day = datetime.fromisoformat(spent.day).replace(tzinfo=UTC)
        next_month = (datetime.fromisoformat(f"{spent.month}-28") + timedelta(days=4)).replace(day=1)
        return (
            Line(
                "month",
                spent.month,
                next_month.replace(tzinfo=UTC),
                spent.month_events,
                terms.per_month,
                terms.warn_at,
            ),
            Line("day", spent.day, day + timedelta(days=1), spent.day_events, terms.per_day, terms.warn_at),
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
        if self.terms.per_million is not None:
            events = {**costs, **{line.name: line.spent for line in self.lines}}
            facts["cost"] = {
                "currency": self.terms.currency,
                "per_million": str(self.terms.per_million),
                **{name: str(self.terms.price(count)) for name, count in events.items()},
            }
        return facts

    def facts(self) -> Iterator[tuple[str, str]]:
        """The account for people: a name and a text for each line."""
        month, day = self.lines
        if self.terms.bounded:
            yield from ((f"budget, {line.name}", str(line)) for line in (month, day) if line.limit)
        if self.terms.per_million is not None:
            yield (
                "cost",
                f"{self.money(day.spent)} in {day.period}, {self.money(month.spent)} in {month.period}",
            )

    def money(self, events: int) -> str:
        """What so many events cost, with the currency; empty without a price."""
        price = self.terms.price(events)
        return "" if price is None else f"{price:,} {self.terms.currency}"
