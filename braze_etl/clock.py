"""Time as an argument: every timing rule takes a `Clock`, so that no test sleeps to be right.

And the notations of times and durations, of the configuration and the command line (CONTRACT.md).
"""

from __future__ import annotations

import re
import threading
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_HOUR = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}")


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


def parse_duration(value: Any) -> timedelta:
    """Read `90s`, `15m`, `48h`, `7d`; a number alone has no unit and is refused with ValueError."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(str(value).strip())
    if not match:
        raise ValueError(f"{value!r} is no duration; write a number and s, m, h or d, such as 48h")
    try:
        return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])
    except OverflowError:
        raise ValueError("the duration is longer than a calendar") from None


def duration_text(value: timedelta) -> str:
    """Write a duration as the configuration does, in the largest unit that is exact."""
    seconds = value.total_seconds()
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    return f"{seconds:g}s"


def parse_hour(value: Any, *, last: bool = False) -> datetime:
    """Read a UTC `date=` hour: `2026-10-01`, `2026-10-01T05`, or a full ISO time with zone, cut to its hour.

    A bare day is its first hour, or with *last* its last one. Raises ValueError.
    """
    if isinstance(value, datetime):
        return _aware_hour(value, str(value))
    if isinstance(value, date):
        return _day_hour(value.isoformat(), last=last)
    text = str(value).strip()
    try:
        if _DAY.fullmatch(text):
            return _day_hour(text, last=last)
        if _HOUR.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        return _aware_hour(datetime.fromisoformat(text), text)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no UTC hour ({error}); write 2026-10-01, 2026-10-01T05 or 2026-10-01T05:00:00Z"
        ) from None


def _day_hour(text: str, *, last: bool) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC, hour=23 if last else 0)


def _aware_hour(moment: datetime, text: str) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"the time {text} has no zone")
    try:
        return hour_of(moment)
    except OverflowError:
        raise ValueError(f"the time {text} lies beyond the calendar") from None
