"""Numbers and times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_SIZES: Final = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_TIMES: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))

NOTHING: Final = "–"  # noqa: RUF001 - an en dash, for what was not measured


def count(number: float | None) -> str:
    """`1,234,567`."""
    return NOTHING if number is None else f"{number:,.0f}"


def runs(number: int) -> str:
    """`1 run`, `720 runs`."""
    return f"{number:,} {'run' if number == 1 else 'runs'}"


def share(part: float, whole: float) -> str:
    """`98.3%`; never 100% or 0% for what is only nearly so."""
    if not whole:
        return NOTHING
    percent = round(100 * part / whole, 1)
    if part not in (0, whole):
        percent = min(max(percent, 0.1), 99.9)
    return f"{percent:.4g}%"


def size(number: float | None) -> str:
    """`1.2 GB`, in powers of ten."""
    if number is None:
        return NOTHING
    for unit, name in _SIZES:
        if number >= unit:
            return f"{number / unit:,.1f} {name}"
    return f"{number:,.0f} bytes"


def span(seconds: float | None) -> str:
    """`12 s`, `3.5 min`, `2.0 h`."""
    if seconds is None:
        return NOTHING
    for unit, name in _TIMES:
        if seconds >= unit:
            return f"{seconds / unit:,.1f} {name}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def when(moment: str | None) -> str:
    """`24 Nov 2026 05:00`, UTC."""
    return NOTHING if moment is None else f"{_utc(moment):%-d %b %Y %H:%M}"


def stretch(begin: str, end: str) -> str:
    """`24 Nov 05:00 to 11:00`, UTC; whole days without their hours, the last one included."""
    first, last = _utc(begin), _utc(end)
    if last - first < timedelta(days=1):
        return f"{first:%-d %b %H:%M} to {last:%H:%M}"
    final = last - timedelta(days=1)
    return f"{first:%-d %b}" if final <= first else f"{first:%-d %b} to {final:%-d %b}"


def _utc(moment: str) -> datetime:
    return datetime.fromisoformat(moment).astimezone(UTC)
