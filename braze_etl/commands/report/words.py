"""Numbers and times as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from rich.filesize import decimal

_TIMES: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))
_NAMED: Final = 3
_MIDNIGHT: Final = datetime.min.time()

NOTHING: Final = "–"  # noqa: RUF001 - an en dash, for what was not measured


def count(number: float | None) -> str:
    """`1,234,567`."""
    return NOTHING if number is None else f"{number:,.0f}"


def counted(number: int, what: str) -> str:
    """`1 run`, `720 runs`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def share(part: float, whole: float) -> str:
    """`98.3%`; never 100% or 0% for what is only nearly so, and above 100% where a bound is exceeded."""
    if not whole:
        return NOTHING
    percent = round(100 * part / whole, 1)
    if 0 < part < whole and percent in {0, 100}:
        return "<0.1%" if percent == 0 else ">99.9%"
    return f"{percent:,.1f}%".replace(".0%", "%")


def size(number: float | None) -> str:
    """`1.2 GB`, in powers of ten."""
    return NOTHING if number is None else decimal(int(number))


def span(seconds: float | None) -> str:
    """`12 s`, `3.5 min`, `2 h`."""
    if seconds is None:
        return NOTHING
    for unit, name in _TIMES:
        if seconds >= unit:
            return f"{seconds / unit:,.1f}".removesuffix(".0") + f" {name}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def ago(moment: str, now: str) -> str:
    """`3.5 min ago`."""
    seconds = (_utc(now) - _utc(moment)).total_seconds()
    return "just now" if seconds < 60 else f"{span(seconds)} ago"


def when(moment: str | None) -> str:
    """`24 Nov 2026 05:00`, UTC."""
    return NOTHING if moment is None else f"{_utc(moment):%-d %b %Y %H:%M}"


def stretch(begin: str, end: str) -> str:
    """`24 Nov 05:00 to 11:00`, UTC; whole days without their hours, the last one included."""
    first, last = _utc(begin), _utc(end)
    if first.time() == last.time() == _MIDNIGHT:
        final = last - timedelta(days=1)
        return f"{first:%-d %b}" if final <= first else f"{first:%-d %b} to {final:%-d %b}"
    same_day = first.date() == last.date() or last - first < timedelta(hours=12)
    return (
        f"{first:%-d %b %H:%M} to {last:%H:%M}"
        if same_day
        else f"{first:%-d %b %H:%M} to {last:%-d %b %H:%M}"
    )


def listed(names: Sequence[str]) -> str:
    """`a, b and c`; of many only the first: `a, b, c and 70 others`."""
    rest = len(names) - _NAMED
    if rest > 1:
        return f"{', '.join(names[:_NAMED])} and {rest:,} others"
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def short(event_type: str) -> str:
    """An event type without what nearly all of them begin with."""
    return event_type.removeprefix("users.")


def _utc(moment: str) -> datetime:
    return datetime.fromisoformat(moment).astimezone(UTC)
