"""The notations of configuration and command line: durations, sizes, counts, shares, hours (CONTRACT.md)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from braze_etl.clock import hour_of

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB)", re.IGNORECASE)
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_COUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([kMG]?)")
_TIMES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_HOUR = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}")


def parse_duration(value: Any) -> timedelta:
    """Read `90s`, `15m`, `48h`, `7d`; a number alone has no unit and is refused with ValueError."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(str(value).strip())
    if not match:
        raise ValueError(f"{value!r} is no duration; write a number and s, m, h or d, such as 48h")
    return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])


def parse_size(value: Any) -> int:
    """Read `500KB`, `18MB`, `1GB` (powers of ten) or a plain number of bytes."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value).strip()
    if text.isdecimal():
        return int(text)
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(f"{value!r} is no size; write a number and KB, MB or GB, such as 18MB")
    return int(float(match[1]) * _BYTES[match[2].upper()])


def parse_count(value: Any) -> int:
    """Read a number of things: `10M`, `500k`, `2.5M` (powers of ten), `1_000_000`, or a plain one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _COUNT.fullmatch(str(value).strip().replace("_", ""))
    count = Decimal(match[1]) * _TIMES[match[2]] if match else None
    if count is None or count != int(count):
        raise ValueError(f"{value!r} is no count; write a whole number, or one with k, M or G, such as 10M")
    return int(count)


def parse_share(value: Any) -> float:
    """Read `80%`; a number alone is a share already (0.8), and has to lie above 0 and not above 1."""
    match = _SHARE.fullmatch(str(value).strip())
    try:
        share = float(match[1]) / 100 if match else float(value)
    except (TypeError, ValueError):
        share = 0.0
    if isinstance(value, bool) or not 0 < share <= 1:
        raise ValueError(f"{value!r} is no share; write a percentage above 0% and up to 100%, such as 80%")
    return share


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
    return hour_of(moment)


def duration_text(value: timedelta) -> str:
    """Write a duration as the configuration does, in the largest unit that is exact."""
    seconds = value.total_seconds()
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    return f"{seconds:g}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(duration_text),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*[smhd]$", "examples": ["48h"]}),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\d+(\.\d+)?\s*([KMGkmg]?[Bb])?$", "examples": ["18MB"]},
                {"type": "integer", "minimum": 0},
            ]
        }
    ),
]
Count = Annotated[
    int,
    BeforeValidator(parse_count),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\d[\d_]*(\.\d+)?\s*[kMG]?$", "examples": ["10M"]},
                {"type": "integer", "minimum": 0},
            ]
        }
    ),
]
Share = Annotated[
    float,
    BeforeValidator(parse_share),
    PlainSerializer(lambda share: f"{share * 100:g}%", return_type=str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\d+(\.\d+)?\s*%$", "examples": ["80%"]},
                {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            ]
        }
    ),
]
Hour = Annotated[
    datetime,
    BeforeValidator(parse_hour),
    WithJsonSchema({"type": "string", "examples": ["2026-10-01T05"]}),
]
