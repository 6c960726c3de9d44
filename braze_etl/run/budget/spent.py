"""How much of a month and of a day is spent: a value that the state remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Self

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
