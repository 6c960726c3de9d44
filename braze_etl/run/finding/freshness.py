"""How fresh the source is: its newest `date=` hour, as the last complete listing found it.

A job that delivers all there is looks well while nobody writes any more. Listings come upon the newest hour
anyway; the ledger remembers it, so that `status` need not ask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from braze_etl.checkpoint import Ledger
from braze_etl.clock import duration_text, iso
from braze_etl.telemetry import get_logger

_NOTE: Final = "source"
_REMEDY: Final = (
    "See in Braze whether the Current is on and its credentials hold, and whether source.uri, "
    "source.integrations and source.event_types still name what it writes."
)
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Freshness:
    """`newest_hour` is None where no file was ever found, and `listed` is whether anybody has looked."""

    stale_after: timedelta
    newest_hour: datetime | None = None
    listed: bool = False

    @classmethod
    def read(cls, ledger: Ledger, stale_after: timedelta) -> Freshness:
        """What the ledger remembers; one of an older release has not looked yet."""
        fact = ledger.recall(_NOTE)
        hour = fact.get("newest_hour")
        return cls(stale_after, datetime.fromisoformat(hour) if hour else None, listed=bool(fact))

    @property
    def stale_at(self) -> datetime | None:
        """From when on it is stale, if nothing newer comes."""
        return self.newest_hour + self.stale_after if self.newest_hour else None

    def is_stale(self, now: datetime) -> bool:
        """Whether the source has gone quiet, or has never said anything."""
        return self.listed if self.stale_at is None else now >= self.stale_at

    def seeing(self, newest_hour: datetime | None) -> Freshness:
        """The same after another look at the source."""
        hours = [hour for hour in (self.newest_hour, newest_hour) if hour is not None]
        return replace(self, newest_hour=max(hours, default=None), listed=True)

    def words(self, now: datetime) -> str:
        """The newest hour with its age."""
        if self.newest_hour is None:
            return "no file was found yet" if self.listed else "not known yet"
        return f"{iso(self.newest_hour)} ({(now - self.newest_hour) / timedelta(hours=1):.1f} hours ago)"

    def trouble(self, now: datetime) -> str:
        """What is wrong, for people; empty where nothing is."""
        if not self.is_stale(now):
            return ""
        limit = duration_text(self.stale_after)
        return f"newest hour of the source: {self.words(now)}; the limit is {limit}. {_REMEDY}"

    def as_dict(self, now: datetime) -> dict[str, Any]:
        """The `source` object of reports."""
        return {
            "newest_hour": iso(self.newest_hour) if self.newest_hour else None,
            "stale_after_hours": self.stale_after / timedelta(hours=1),
            "stale": self.is_stale(now),
        }


def note_newest_hour(ledger: Ledger, uri: str, found: datetime | None) -> None:
    """Remember what a complete listing of the source at *uri* found; what is quiet keeps its newest hour."""
    fact = ledger.recall(_NOTE)
    hours = [iso(found)] if found else []
    if fact.get("uri") == uri and fact.get("newest_hour"):
        hours.append(fact["newest_hour"])
    now_known = {"uri": uri, "newest_hour": max(hours, default=None)}
    if now_known != fact:  # in S3 a note costs a request
        ledger.remember(_NOTE, now_known)


def tell_of_silence(freshness: Freshness, now: datetime) -> None:
    """Write to the log that the source is quiet, if it is."""
    if freshness.is_stale(now):
        _log.warning("the source is quiet", newest_hour=freshness.words(now), remedy=_REMEDY)
