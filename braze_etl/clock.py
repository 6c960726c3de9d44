"""Time as an argument: every timing rule takes a `Clock`, so that no test sleeps to be right."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Wall time for facts that are stored, monotonic time for durations, and waiting."""

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never goes back."""
        ...

    def wait(self, seconds: float, wake: threading.Event | None = None) -> bool:
        """Wait that long, or until *wake* is set; return whether it is set."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float, wake: threading.Event | None = None) -> bool:
        if wake is not None:
            return wake.wait(max(0.0, seconds))
        time.sleep(max(0.0, seconds))
        return False


class ManualClock:
    """A clock that moves only when told to, or when somebody waits on it: for tests and rehearsals."""

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._elapsed = 0.0
        self._lock = threading.Lock()
        self.waits: list[float] = []

    def now(self) -> datetime:
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        with self._lock:
            return self._elapsed

    def wait(self, seconds: float, wake: threading.Event | None = None) -> bool:
        if wake is not None and wake.is_set():
            return True
        self.waits.append(seconds)
        self.advance(seconds)
        return False if wake is None else wake.is_set()

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by *seconds*; a negative value counts as zero."""
        with self._lock:
            self._elapsed += max(0.0, seconds)
            self._now += timedelta(seconds=max(0.0, seconds))


def hour_of(moment: datetime) -> datetime:
    """Cut an aware time to its UTC hour."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def iso(moment: datetime) -> str:
    """Write an aware time as `2026-10-01T05:00:00Z`, with milliseconds where there are any."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return text.replace(".000Z", "Z")
