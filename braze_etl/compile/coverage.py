"""Which writer schemas the generator covers, and their fields as it sees them.

Covered is all that Currents declares (currents.md, 2): text, numbers, booleans, arrays of text, each of them
alone or in a union with null. fastavro reads the rest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

Kind: TypeAlias = Literal["null", "boolean", "int", "long", "float", "double", "string"]
_KINDS = frozenset(get_args(Kind))
_LONGEST_NAME = 63
"""The generated code compares texts with names of fields where a text's length takes one byte."""
_MOST_FIELDS = 500
"""Of a record; Currents has 60, and a function of thousands of fields takes seconds to compile."""
_MOST_ARRAYS = 8
"""Of a record; Currents has 2, and their items are in memory for thousands of records at once."""


class NotCoveredError(Exception):
    """The generator has no code for this schema under this plan; the words say what is in the way."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field: `kind` is its type, or its items' type where it `is_array`.

    `null` is the number of the null branch in the union that the field is, or its items are; None where there
    is no union.
    """

    name: str
    kind: str
    null: int | None = None
    is_array: bool = False
    items_null: int | None = None

    @property
    def is_text(self) -> bool:
        """Whether a value is a str, or null."""
        return self.kind == "string" and not self.is_array

    @property
    def is_number(self) -> bool:
        """Whether a value is an int or a float, or null."""
        return self.kind in ("int", "long", "float", "double") and not self.is_array

    @property
    def is_whole(self) -> bool:
        """Whether a value is an int, or null."""
        return self.kind in ("int", "long") and not self.is_array


def covered_fields(schema_json: bytes) -> tuple[Field, ...]:
    """Take the fields of a valid record schema, in its order; raises `NotCoveredError`."""
    fields = tuple(_field(field["name"], field["type"]) for field in json.loads(schema_json)["fields"])
    if len(fields) > _MOST_FIELDS or sum(field.is_array for field in fields) > _MOST_ARRAYS:
        raise NotCoveredError(f"{len(fields)} fields")
    return fields


def _field(name: str, schema: Any) -> Field:
    if not (name.isidentifier() and name.isascii() and len(name) <= _LONGEST_NAME):
        raise NotCoveredError(f"the field name {name!r}")
    null, schema = _out_of_union(schema)
    if isinstance(schema, dict) and schema["type"] == "array":
        items_null, items = _out_of_union(schema["items"])
        if _primitive(items) != "string":
            raise NotCoveredError(f"{name}, an array of something other than text")
        return Field(name, "string", null, is_array=True, items_null=items_null)
    return Field(name, _primitive(schema), null)


def _out_of_union(schema: Any) -> tuple[int | None, Any]:
    """The number of the null branch, and the other one."""
    if not isinstance(schema, list):
        return None, schema
    nulls = [number for number, branch in enumerate(schema) if _is_null(branch)]
    if len(schema) != 2 or len(nulls) != 1:
        raise NotCoveredError(f"the union {schema}")
    return nulls[0], schema[1 - nulls[0]]


def _is_null(branch: Any) -> bool:
    return branch == "null" or (isinstance(branch, dict) and branch.get("type") == "null")


def _primitive(schema: Any) -> str:
    kind = schema
    if isinstance(schema, dict) and "logicalType" not in schema:
        kind = schema["type"]  # a primitive with remarks beside it
    if not isinstance(kind, str) or kind not in _KINDS:
        raise NotCoveredError(f"the type {schema}")
    return kind
