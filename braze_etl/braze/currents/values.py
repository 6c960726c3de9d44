"""Turn decoded Avro values into plain JSON values, where a type needs it.

Most fields are strings, integers and booleans: `converter` returns None for them, and they cost nothing. A
logical type is read as the type that it is stored as: Currents has none (currents.md, 2).
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias

Convert: TypeAlias = Callable[[Any], Any]
Schema: TypeAlias = Any
"""A schema as fastavro parses it: a type's name, a list (union), or a dict."""


def without_logical_types(schema: Any) -> Any:
    """Return a copy of *schema* that reads as the underlying types."""
    if isinstance(schema, list):
        return [without_logical_types(item) for item in schema]
    if isinstance(schema, dict):
        return {name: without_logical_types(part) for name, part in schema.items() if name != "logicalType"}
    return schema


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


def converter(schema: Schema, named: Mapping[str, Schema]) -> Convert | None:
    """Return what makes a value of *schema* plain, or None if it is so already; *named* are by full name.

    Where a number may be a float or a double, it stays as it is. The schema may not contain itself.
    """
    kinds = set(_kinds(schema, named))
    changes: dict[type, Convert] = {}
    if "float" in kinds and "double" not in kinds:
        changes[float] = shortest_float32
    if not kinds.isdisjoint(("bytes", "fixed")):
        changes[bytes] = _base64
    return partial(_plain, changes) if changes else None


def _kinds(schema: Schema, named: Mapping[str, Schema]) -> Iterator[str]:
    """The types without parts that a value of *schema* may hold."""
    match schema:
        case str() if schema not in named:
            yield schema
            return
        case str():
            parts = [named[schema]]
        case list():
            parts = schema
        case {"items": part} | {"values": part}:
            parts = [part]
        case {"fields": fields}:
            parts = [field["type"] for field in fields]
        case _:
            parts = [schema["type"]]
    for part in parts:
        yield from _kinds(part, named)


def _plain(changes: Mapping[type, Convert], value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(changes, item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(changes, item) for name, item in value.items()}
    change = changes.get(type(value))
    return value if change is None else change(value)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


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
