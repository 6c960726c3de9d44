"""Turn decoded Avro values into plain JSON values, where a type needs it.

Most fields are strings, integers and booleans: `converter` returns None for them, and they cost nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, TypeAlias

from braze_etl.currents._float32 import shortest_float32
from braze_etl.currents._logical import Convert, logical_converter

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
