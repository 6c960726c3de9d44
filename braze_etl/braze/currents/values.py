"""Turn decoded Avro values into plain JSON values, where a type needs it.

Most fields are strings, integers and booleans: `converter` returns None for them, and they cost nothing.
"""

from __future__ import annotations

import base64
import math
import struct
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


_FLOAT32 = struct.Struct("<f")
_SMALLEST_NORMAL = 2.0**-126
_LOPSIDED = {2.0**-96: 1.2621775e-29, 2.0**87: 1.5474251e26, 2.0**90: 1.2379401e27}
"""Powers of two have more room above than below: of all, these alone have a shorter neighbour there."""


def shortest_float32(value: float) -> float:
    """Return the number with the fewest digits that packs to the same 4 bytes as *value*.

    19.99, not 19.989999771118164 (currents.md, 2: `float` is 32-bit). *value* has to be a 32-bit float's, as
    fastavro reads it; NaN and the infinities come back as they are.
    """
    if not math.isfinite(value):
        return value
    # Six digits always survive in a normal number, so no shorter one has to be tried.
    for digits in range(1 if abs(value) < _SMALLEST_NORMAL else 6, 9):
        short = float(f"{value:.{digits}g}")
        if _same(short, value):
            return short
    longest = float(f"{value:.9g}")
    return math.copysign(_LOPSIDED.get(abs(value), abs(longest)), value)


def _same(number: float, value: float) -> bool:
    try:
        packed = _FLOAT32.pack(number)
    except OverflowError:  # rounded up beyond the largest
        return False
    return bool(_FLOAT32.unpack(packed)[0] == value)


Schema: TypeAlias = Any
"""A schema as fastavro parses it: a type's name, a list (union), or a dict."""

_PYTHON = {
    "boolean": bool,
    "int": int,
    "long": int,
    "float": float,
    "double": float,
    "string": str,
    "enum": str,
    "bytes": bytes,
    "fixed": bytes,
    "array": list,
    "map": dict,
    "record": dict,
}


def converter(schema: Schema, named: Mapping[str, Schema]) -> Convert | None:
    """Return what makes a value of *schema* plain, or None if it is so already; *named* are by full name.

    A record is changed in place. The schema may not contain itself.
    """
    if isinstance(schema, list):
        return _union([_definition(branch, named) for branch in schema if branch != "null"], named)
    definition = _definition(schema, named)
    kind = definition["type"]
    logical = logical_converter(kind, definition)
    if logical is not None or kind not in ("array", "map", "record"):
        return logical or _SIMPLE.get(kind)
    if kind == "array":
        return _array(converter(definition["items"], named))
    if kind == "map":
        return _map(converter(definition["values"], named))
    return record_converter(definition, named)


def record_converter(record: Schema, named: Mapping[str, Schema]) -> Convert | None:
    """Return what makes the fields of a record plain, in place; it returns the record."""
    pairs = [(field["name"], converter(field["type"], named)) for field in record["fields"]]
    steps = [(name, convert) for name, convert in pairs if convert is not None]
    if not steps:
        return None

    def convert_fields(value: dict[str, Any]) -> dict[str, Any]:
        for name, convert in steps:
            value[name] = convert(value[name])
        return value

    return convert_fields


def _definition(schema: Schema, named: Mapping[str, Schema]) -> Mapping[str, Any]:
    if isinstance(schema, str):
        schema = {"type": schema}
    found: Mapping[str, Any] = named.get(schema["type"], schema)
    return found


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


_SIMPLE: Mapping[str, Convert] = {"float": shortest_float32, "bytes": _base64, "fixed": _base64}


def _array(convert: Convert | None) -> Convert | None:
    return None if convert is None else lambda value: [convert(item) for item in value]


def _map(convert: Convert | None) -> Convert | None:
    return None if convert is None else lambda value: {name: convert(item) for name, item in value.items()}


def _union(branches: list[Mapping[str, Any]], named: Mapping[str, Schema]) -> Convert | None:
    """Choose the branch by what came out of it; where that can't be told, a number stays as it is."""
    converters = [converter(branch, named) for branch in branches]
    if all(convert is None for convert in converters):
        return None
    chosen: dict[type, Convert] = {}
    for python in {_PYTHON[branch["type"]] for branch in branches}:
        same = [index for index, branch in enumerate(branches) if _PYTHON[branch["type"]] is python]
        if python is dict:
            chosen[dict] = _dict([branches[index] for index in same], [converters[index] for index in same])
        elif (convert := converters[same[0]]) is not None and len(same) == 1:
            chosen[python] = convert
        elif python is bytes:
            chosen[bytes] = _base64

    def convert_branch(value: Any) -> Any:
        convert = chosen.get(type(value))
        return value if convert is None else convert(value)

    return convert_branch


def _dict(branches: list[Mapping[str, Any]], converters: list[Convert | None]) -> Convert:
    names = [{field["name"] for field in branch.get("fields", ())} for branch in branches]

    def convert_dict(value: dict[str, Any]) -> Any:
        # Records are known by their fields; what has no record's fields is the union's one map.
        for branch, fields, convert in zip(branches, names, converters, strict=True):
            if branch["type"] == "map" or value.keys() == fields:
                return value if convert is None else convert(value)
        return value

    return convert_dict
