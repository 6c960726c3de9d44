"""A file's own schema, parsed once however many files carry it, and refused if reading by it is not safe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast

from fastavro import parse_schema
from fastavro.schema import SchemaParseException

from braze_etl.braze.currents.values import Convert, Schema, record_converter, without_logical_types
from braze_etl.errors import UnreadableFileError

_CACHED = 256
_MOST_VALUES = 10_000
"""Of a record whose every type is written out; the largest of Currents has some 200."""
_DEEPEST = 32
"""Types within types; Currents has 3."""
_LONGEST = 8 << 20
"""Bytes of a record; Braze drops events of more than 900 KB (currents.md, 1.2)."""
_LONGEST_REPEATING = 1 << 20
"""The same where arrays or maps can make a million values of so many bytes."""
_INVALID = (ValueError, LookupError, TypeError, AttributeError, RecursionError, SchemaParseException)


@dataclass(frozen=True, slots=True)
class WriterSchema:
    """How to read the records of a file: `parsed` for fastavro, `convert` to make a record plain in place.

    `event_type` is what follows `.inner.` in the record's full name, None if it has no such part
    (currents.md, 2). `convert` is None where every value is plain as it is read. A record of more than
    `longest` bytes is not one of Braze's.
    """

    parsed: Any
    event_type: str | None
    convert: Convert | None
    longest: int


@lru_cache(maxsize=_CACHED)
def writer_schema(schema_json: bytes) -> WriterSchema:
    """Parse the text of `avro.schema`.

    `UnreadableFileError` if it is no Avro schema of a record; if it contains itself (data could nest without
    end); if something in it takes no bytes (data could repeat it without end); or if it unfolds to far more
    than any real one does, though few bytes say so.
    """
    try:
        return _parse(json.loads(schema_json))
    except _INVALID as error:
        raise _unreadable(f"it is not valid ({error or type(error).__name__})") from error


def _parse(schema: Any) -> WriterSchema:
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise _unreadable("its root is no record")
    parsed = cast("dict[str, Any]", parse_schema(without_logical_types(schema)))
    named: Mapping[str, Schema] = parsed["__named_schemas"]
    longest = _Measures(named).of_record(parsed).longest
    return WriterSchema(parsed, _event_type(parsed["name"]), record_converter(parsed, named), longest)


def _event_type(full_name: str) -> str | None:
    _, found, event_type = full_name.partition(".inner.")
    return event_type if found else None


def _unreadable(words: str) -> UnreadableFileError:
    return UnreadableFileError(
        f"the schema in the file's header is not supported: {words}",
        remedy="if Braze wrote this file, report its schema as a bug of this program",
    )


@dataclass(frozen=True, slots=True)
class _Measure:
    """What a value of a type may be: `least` bytes, and of these and other `values` how many take no byte.

    `depth` counts types within types; `repeats`: there is an array or map in it.
    """

    least: int
    values: int = 1
    empty: int = 0
    depth: int = 1
    repeats: bool = False

    @property
    def longest(self) -> int:
        return _LONGEST_REPEATING if self.repeats else _LONGEST


class _Measures:
    """Measures of types, each name's once; refuses the schemas that `writer_schema` refuses."""

    def __init__(self, named: Mapping[str, Schema]) -> None:
        self._named = named
        self._known: dict[str, _Measure] = {}
        self._open: set[str] = set()

    def of(self, schema: Schema) -> _Measure:
        if isinstance(schema, list):
            return _around([self.of(branch) for branch in schema])
        if isinstance(schema, str):
            return self._of_name(schema)
        match schema["type"]:
            case "record":
                measure = self.of_record(schema)
            case "array" | "map" as kind:
                measure = self._of_items(schema["items" if kind == "array" else "values"])
            case "fixed":
                measure = _Measure(_fixed_size(schema))
            case "enum":
                measure = _Measure(1)  # the symbol's number
            case name:
                measure = self._of_name(name)
        return measure

    def of_record(self, record: Schema) -> _Measure:
        name = record["name"]
        if name in self._open:
            raise _unreadable(f"{name} contains itself")
        if name not in self._known:
            fields = [field["name"] for field in record["fields"]]
            if len(set(fields)) < len(fields):
                raise _unreadable(f"{name} has two fields of one name")
            self._open.add(name)
            self._known[name] = _of_fields(name, [self.of(field["type"]) for field in record["fields"]])
            self._open.remove(name)
        return self._known[name]

    def _of_name(self, name: str) -> _Measure:
        if name in _PRIMITIVES:
            return _PRIMITIVES[name]
        if name not in self._named:
            raise _unreadable(f"{name!r} is no type")
        return self.of(self._named[name])

    def _of_items(self, items: Schema) -> _Measure:
        inner = self.of(items)
        if inner.least == 0:
            raise _unreadable("the items of an array or map take no bytes")
        return replace(_around([inner]), repeats=True)


def _around(parts: list[_Measure]) -> _Measure:
    """The measure of a union of *parts*, or of an array of one: a number says what follows, if anything."""
    return _bounded(
        _Measure(
            least=1,
            values=1 + sum(part.values for part in parts),
            depth=1 + max((part.depth for part in parts), default=0),
            repeats=any(part.repeats for part in parts),
        )
    )


def _of_fields(name: str, fields: list[_Measure]) -> _Measure:
    least, empty = sum(field.least for field in fields), sum(field.empty for field in fields)
    if least == 0:
        raise _unreadable(f"{name} takes no bytes")
    if empty > least:
        raise _unreadable(f"{name} has more values that take no bytes than bytes")
    if least > _LONGEST:
        raise _unreadable(f"{name} takes {least} bytes at least")
    return replace(_around(fields), least=least, empty=empty)


def _bounded(measure: _Measure) -> _Measure:
    if measure.values > _MOST_VALUES:
        raise _unreadable(f"it unfolds to more than {_MOST_VALUES} types")
    if measure.depth > _DEEPEST:
        raise _unreadable(f"its types nest deeper than {_DEEPEST}")
    return measure


def _fixed_size(schema: Schema) -> int:
    size = schema["size"]
    if not isinstance(size, int) or not 1 <= size <= _LONGEST:
        raise _unreadable(f"the size of {schema['name']} is {size!r}")
    return size


_PRIMITIVES = {
    "null": _Measure(0, empty=1),
    "boolean": _Measure(1),
    "int": _Measure(1),
    "long": _Measure(1),
    "float": _Measure(4),
    "double": _Measure(8),
    "bytes": _Measure(1),
    "string": _Measure(1),
}
