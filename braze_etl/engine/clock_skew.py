"""What time it is by others: servers tell it with every answer (HTTP Date), and machines may be wrong.

A ledger that is born under a wrong clock begins at a wrong hour for good: everything before it is skipped, or
an old bucket is sent. So that hour is held against what the servers say, before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from braze_etl.clock import Clock, iso
from braze_etl.errors import ConfigError, StateError
from braze_etl.logs import get_logger

WARNING: Final = "clock_differs"
SOME: Final = timedelta(seconds=60)
"""Amplitude leaves times as they are up to this difference (amplitude.md, 1.5)."""
_TOO_MUCH: Final = timedelta(hours=1)
"""A ledger would begin at another hour than the right one."""
REMEDY: Final = "Set the clock (NTP): the age of files and leases is told by it, and S3 refuses 15 minutes."
BORN_WRONG: Final = (
    "Set the clock of this machine. If it is right, the ledger was made under a wrong one, or with a wrong "
    "source.start_at: take it away (state.uri), and let the next run make another."
)
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Skew:
    """How far the clock of this machine is ahead of somebody's (behind: negative)."""

    of: str
    ahead: timedelta

    def __str__(self) -> str:
        way = "ahead of" if self.ahead > timedelta(0) else "behind"
        return f"this clock is {abs(self.ahead).total_seconds():,.0f} s {way} that of {self.of}"


def worst_skew(heard: Mapping[str, tuple[datetime, datetime]]) -> Skew:
    """The largest difference of all: somebody's time and ours, by the name of that somebody."""
    skews = (Skew(name, ours - theirs) for name, (theirs, ours) in heard.items())
    return max(skews, key=lambda skew: abs(skew.ahead))


class Witnesses:
    """The clocks of servers, each beside ours at that moment. *ask* has one more tell its time."""

    def __init__(self, clock: Clock, ask: Callable[[], object] = lambda: None) -> None:
        self._clock = clock
        self._ask = ask
        self.heard: dict[str, tuple[datetime, datetime]] = {}

    def receive(self, name: str, theirs: datetime | None) -> None:
        """Take somebody's time of just now; a difference of minutes is written to the log, once for each."""
        if theirs is None:
            return
        new = name not in self.heard
        self.heard[name] = (theirs.astimezone(UTC), self._clock.now())
        skew = self.worst
        if new and skew is not None and skew.of == name and self.differ:
            _log.warning("the clock of this machine is wrong", seen=str(skew), remedy=REMEDY)

    @property
    def worst(self) -> Skew | None:
        """The largest difference of all; None where nobody has told."""
        return worst_skew(self.heard) if self.heard else None

    @property
    def differ(self) -> bool:
        """Whether a clock differs by a minute or more."""
        return self.worst is not None and abs(self.worst.ahead) >= SOME

    def now(self) -> datetime:
        """The time by those who have told it, the latest of them; else by this machine."""
        now = self._clock.now()
        return max((now - (ours - theirs) for theirs, ours in self.heard.values()), default=now)

    def vouch(self, start_at: datetime, *, configured: bool) -> None:
        """Raise `StateError` or `ConfigError` where a new ledger must not begin at that hour."""
        if configured:
            self._refuse_configured(start_at)
            return
        self._ask()
        skew = self.worst
        if skew is not None and abs(skew.ahead) >= _TOO_MUCH:
            raise StateError(
                f"No ledger was made: {skew}, and it would begin at {iso(start_at)} for good. "
                "Nothing was touched.",
                remedy="Set the clock (NTP), and run again. If the other clock is the wrong one, say with "
                "source.start_at where the ledger begins.",
            )

    def _refuse_configured(self, start_at: datetime) -> None:
        """What is configured does not hang on our clock, but for whether it is in the future."""
        if start_at > self._clock.now():
            self._ask()
        now = self.now()
        if start_at > now:
            raise ConfigError(
                f"source.start_at is {iso(start_at)}, and it is {iso(now)}: a new ledger would skip all "
                "that comes until then. Nothing was touched.",
                remedy="Set source.start_at to an hour that has begun.",
            )

    def refuse_future(self, start_at: datetime, *, doubted: bool) -> None:
        """Raise `StateError` for a ledger that begins in the future, and would skip everything until then.

        It is *doubted* where nothing but our own clock, which may still be wrong, has said where it begins.
        """
        if not self.heard and (doubted or start_at > self._clock.now()):
            self._ask()
        now = self.now()
        if start_at > now:
            raise StateError(
                f"The ledger begins at {iso(start_at)}, and it is {iso(now)}: until then all is skipped.",
                remedy=BORN_WRONG,
            )
