"""A file's own schema, parsed once however many files carry it, and refused if reading by it is not safe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from fastavro import parse_schema
from fastavro.schema import SchemaParseException

from braze_etl.currents._logical import Convert, without_logical_types
from braze_etl.currents._plain import Schema, record_converter
from braze_etl.errors import UnreadableFileError

_CACHED = 256
_INVALID = (ValueError, LookupError, TypeError, AttributeError, RecursionError, SchemaParseException)


@dataclass(frozen=True, slots=True)
class WriterSchema:
    """How to read the records of a file: `parsed` for fastavro, `convert` to make a record plain in place.

    `event_type` is what follows `.inner.` in the record's full name, None if it has no such part
    (currents.md, 2). `convert` is None where every value is plain as it is read.
    """

    parsed: Any
    event_type: str | None
    convert: Convert | None


@lru_cache(maxsize=_CACHED)
def writer_schema(schema_json: bytes) -> WriterSchema:
    """Parse the text of `avro.schema`.

    `UnreadableFileError` if it is no Avro schema of a record; if it contains itself (data could nest without
    end); or if something in it takes no bytes (data could repeat it without end).
    """
    try:
        return _parse(json.loads(schema_json))
    except _INVALID as error:
        raise _unreadable(f"it is not valid ({error or type(error).__name__})") from error


def _parse(schema: Any) -> WriterSchema:
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise _unreadable("its root is no record")
    full = cast("dict[str, Any]", parse_schema(schema))
    named: Mapping[str, Schema] = full["__named_schemas"]
    _Sizes(named).least(full)
    parsed = parse_schema(without_logical_types(schema))
    return WriterSchema(parsed, _event_type(full["name"]), record_converter(full, named))


def _event_type(full_name: str) -> str | None:
    _, found, event_type = full_name.partition(".inner.")
    return event_type if found else None


def _unreadable(words: str) -> UnreadableFileError:
    return UnreadableFileError(
        f"the schema in the file's header is not supported: {words}",
        remedy="if Braze wrote this file, report its schema as a bug of this program",
    )


class _Sizes:
    """The least bytes that a value takes, by schema; refuses the schemas that `writer_schema` refuses."""

    def __init__(self, named: Mapping[str, Schema]) -> None:
        self._named = named
        self._known: dict[str, int] = {}
        self._open: set[str] = set()

    def least(self, schema: Schema) -> int:
        if isinstance(schema, list):
            for branch in schema:
                self.least(branch)
            return 1  # the branch's number
        if isinstance(schema, str):
            return self._of_name(schema)
        match schema["type"]:
            case "record":
                size = self._of_record(schema)
            case "array" | "map" as kind:
                size = self._of_items(schema["items" if kind == "array" else "values"])
            case "fixed":
                size = self._of_fixed(schema)
            case "enum":
                size = 1  # the symbol's number
            case name:
                size = self._of_name(name)
        return size

    def _of_name(self, name: str) -> int:
        if name in _PRIMITIVES:
            return _PRIMITIVES[name]
        if name not in self._named:
            raise _unreadable(f"{name!r} is no type")
        return self.least(self._named[name])

    def _of_record(self, record: Schema) -> int:
        name = record["name"]
        if name in self._open:
            raise _unreadable(f"{name} contains itself")
        if name not in self._known:
            fields = [field["name"] for field in record["fields"]]
            if len(set(fields)) < len(fields):
                raise _unreadable(f"{name} has two fields of one name")
            self._open.add(name)
            self._known[name] = sum(self.least(field["type"]) for field in record["fields"])
            self._open.remove(name)
        if self._known[name] == 0:
            raise _unreadable(f"{name} takes no bytes")
        return self._known[name]

    def _of_items(self, items: Schema) -> int:
        if self.least(items) == 0:
            raise _unreadable("the items of an array or map take no bytes")
        return 1  # the count of items

    @staticmethod
    def _of_fixed(schema: Schema) -> int:
        size = schema["size"]
        if not isinstance(size, int) or size < 1:
            raise _unreadable(f"the size of {schema['name']} is {size!r}")
        return size


_PRIMITIVES = {
    "null": 0,
    "boolean": 1,
    "int": 1,
    "long": 1,
    "float": 4,
    "double": 8,
    "bytes": 1,
    "string": 1,
}
