"""Avro's logical types as text: dates, times, timestamps, decimals, UUIDs.

Currents has none of them so far (currents.md, 2). A value out of a type's range stays the number that it is.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, TypeAlias
from uuid import UUID

Convert: TypeAlias = Callable[[Any], Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400_000_000  # microseconds
_LONGEST_DECIMAL = 64
"""Bytes; 16 hold the 38 digits that databases know, and turning n digits into text takes n * n steps."""
_LARGEST_SCALE = 400
_UUID_BYTES = 16


def logical_converter(kind: str, schema: Mapping[str, Any]) -> Convert | None:
    """Return what makes a value of that logical type plain; None if the type has none, or an unknown one."""
    name = schema.get("logicalType")
    if name == "decimal" and kind in ("bytes", "fixed"):
        scale = schema.get("scale", 0)
        known = isinstance(scale, int) and abs(scale) <= _LARGEST_SCALE
        return partial(_decimal, scale=scale) if known else None
    if name == "uuid" and schema.get("size", _UUID_BYTES) != _UUID_BYTES:
        return None
    return _CONVERTERS.get((kind, name))


def without_logical_types(schema: Any) -> Any:
    """Return a copy of *schema* that reads as the underlying types."""
    if isinstance(schema, list):
        return [without_logical_types(item) for item in schema]
    if isinstance(schema, dict):
        return {name: without_logical_types(part) for name, part in schema.items() if name != "logicalType"}
    return schema


def _date(days: int) -> Any:
    moment = _moment(days * _DAY)
    return days if moment is None else moment.date().isoformat()


def _time(number: int, *, unit: int) -> Any:
    moment = _moment(number * unit) if 0 <= number * unit < _DAY else None
    return number if moment is None else moment.time().isoformat()


def _timestamp(number: int, *, unit: int, zone: str) -> Any:
    moment = _moment(number * unit)
    return number if moment is None else moment.replace(tzinfo=None).isoformat() + zone


def _moment(microseconds: int) -> datetime | None:
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return None


def _decimal(value: bytes, *, scale: int) -> str:
    if len(value) > _LONGEST_DECIMAL:
        return base64.b64encode(value).decode("ascii")  # as bytes without a logical type
    number = int.from_bytes(value, "big", signed=True)
    sign, digits, _ = Decimal(number).as_tuple()
    return f"{Decimal((sign, digits, -scale)):f}"


def _uuid(value: bytes) -> str:
    return str(UUID(bytes=value))


_CONVERTERS: Mapping[tuple[str, Any], Convert] = {
    ("int", "date"): _date,
    ("int", "time-millis"): partial(_time, unit=1000),
    ("long", "time-micros"): partial(_time, unit=1),
    ("long", "timestamp-millis"): partial(_timestamp, unit=1000, zone="Z"),
    ("long", "timestamp-micros"): partial(_timestamp, unit=1, zone="Z"),
    ("long", "local-timestamp-millis"): partial(_timestamp, unit=1000, zone=""),
    ("long", "local-timestamp-micros"): partial(_timestamp, unit=1, zone=""),
    ("fixed", "uuid"): _uuid,
}
