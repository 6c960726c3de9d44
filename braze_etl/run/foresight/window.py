"""The 48-hour window: how old the oldest undelivered data is, and how much time is left (CONTRACT.md)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from braze_etl.clock import iso


@dataclass(frozen=True, slots=True)
class Window:
    """What is measured: the oldest `date=` hour with undelivered records, and the last complete listing.

    A job that has not listed for days does not know what it missed, so the older of the two counts.
    """

    objective: timedelta
    warn_at: timedelta
    oldest_undelivered: datetime | None
    last_listing: datetime | None

    def age(self, now: datetime) -> timedelta | None:
        """Age of the older of the two, or None if the source was never listed."""
        if self.last_listing is None:
            return None
        oldest = min(self.oldest_undelivered or self.last_listing, self.last_listing)
        return max(now - oldest, timedelta(0))

    def hours_left(self, now: datetime) -> float | None:
        """Hours until the objective is missed; negative when it is, None if never listed."""
        age = self.age(now)
        return None if age is None else round((self.objective - age) / timedelta(hours=1), 2)

    def at_risk(self, now: datetime) -> bool:
        """Whether somebody should look: older than `window.warn_at`, or never listed."""
        age = self.age(now)
        return age is None or age >= self.warn_at

    def as_dict(self, now: datetime) -> dict[str, Any]:
        """The `window` object of the run report."""
        oldest = self.oldest_undelivered
        return {"oldest_undelivered": iso(oldest) if oldest else None, "hours_left": self.hours_left(now)}
