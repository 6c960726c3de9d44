"""What a pass would spend, against what is left: for plans, and for a backfill before it begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from braze_etl.clock import iso
from braze_etl.errors import UsageError
from braze_etl.run.budget.account import Account, Line


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
