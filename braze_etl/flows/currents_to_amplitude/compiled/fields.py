"""The code that reads one field, from `data[pos]` on, and leaves `pos` behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from braze_etl.flows.currents_to_amplitude.compiled.runtime import TIME_BYTES

_KINDS = frozenset({"null", "boolean", "int", "long", "float", "double", "string"})
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
        return self.kind == "string" and not self.is_array

    @property
    def is_number(self) -> bool:
        return self.kind in ("int", "long", "float", "double") and not self.is_array

    @property
    def is_whole(self) -> bool:
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
    kind = schema["type"] if isinstance(schema, dict) else schema  # a primitive with remarks beside it
    if not isinstance(kind, str) or kind not in _KINDS:
        raise NotCoveredError(f"the type {schema}")
    return kind


_INDENT = "    "


class Source:
    """Source text that grows line by line."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._depth = 0

    def add(self, *lines: str) -> None:
        """Write lines at the depth of the blocks that are open."""
        self._lines += [_INDENT * self._depth + line for line in lines]

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """Write *header* with a colon behind it; what is written inside is its body."""
        self.add(f"{header}:")
        self._depth += 1
        yield
        self._depth -= 1

    def __str__(self) -> str:
        return "\n".join([*self._lines, ""])


_UUID: Final = 2 * 36
"""The first byte of a text of that length."""


@dataclass(frozen=True, slots=True)
class Use:
    """What is done with a field's value, if anything.

    It becomes the properties `named`, each the result of a function of that name, if one is given; it is kept
    in `variable`, None where it is null. If it is text that says `echo` (a field's name in lower case) in any
    case, ends in one of `ends` (as no UUID does), or is of more than `longest` bytes, the variable `doubtful`
    becomes true.
    """

    named: tuple[tuple[str, str | None], ...] = ()
    variable: str | None = None
    echo: str | None = None
    ends: tuple[str, ...] = ()
    longest: int | None = None

    @property
    def target(self) -> str | None:
        """The variable that the value goes to while it is looked at."""
        return self.variable or ("value" if self.named else None)


def write_field(source: Source, field: Field, use: Use) -> None:
    """Write what reads *field*; every value is read so far as to know that fastavro would accept it."""
    source.add(f"# {field.name}")
    if field.null is None:
        _write_value(source, field, use, "pos")
        return
    with source.block(f"if data[pos] == {2 * (1 - field.null)}"):
        _write_value(source, field, use, "pos + 1")
    with source.block(f"elif data[pos] == {2 * field.null}"):
        source.add("pos += 1")
        _write_null(source, use)
    with source.block("else"):
        source.add('raise UnusualError("another branch than 0 or 1 of a union of two")')


def _write_null(source: Source, use: Use) -> None:
    if use.variable is not None:
        source.add(f"{use.variable} = None")


def _write_value(source: Source, field: Field, use: Use, at: str) -> None:
    if field.is_array:
        _write_texts(source, field, use, at)
    elif field.kind == "string":
        _write_text(source, use, at)
    elif field.kind == "null":
        _write_null(source, use)
        return
    elif field.kind in _FIXED:
        expression, size = _FIXED[field.kind]
        behind = _behind(at, size)
        source.add(f"{use.target or '_'} = {expression.format(at=at, behind=behind)}", f"pos = {behind}")
    else:
        _write_whole(source, use.target or "_", at)
    for name, function in use.named:
        if function is None:
            source.add(f"properties[{name!r}] = {use.target}")
        else:
            with source.block(f"if (changed := {function}({use.target})) is not None"):
                source.add(f"properties[{name!r}] = changed")


def _write_texts(source: Source, field: Field, use: Use, at: str) -> None:
    source.add(f"{use.target or '_'}, pos = read_texts(data, {at}, {field.items_null})")
    if use.longest is not None:
        with source.block(f"if has_longer({use.target}, {use.longest})"):
            source.add("doubtful = True")


def _write_text(source: Source, use: Use, at: str) -> None:
    value = use.target or "value"
    source.add(f"size = data[{at}]")
    with source.block("if size < 128"):
        source.add(f"start = {_behind(at, 1)}", "pos = start + HALF[size]")
    with source.block(f"elif data[{_behind(at, 1)}] < 128"):
        source.add(f"start = {_behind(at, 2)}", "pos = start + HALVES[size & 127 | data[start - 1] << 7]")
        _write_doubt_of_length(source, use)
    with source.block("else"):
        source.add(f"start, pos = long_text(data, {at})")
        _write_doubt_of_length(source, use)
    source.add(f"{value} = text[start:pos]")
    with source.block(f"if not {value}.isascii()"):
        source.add(f"{value} = utf8(data, start, pos)")
    if doubt := _doubt_of_text(use, value):
        with source.block(f"if {doubt}"):
            source.add("doubtful = True")


def _doubt_of_text(use: Use, value: str) -> str:
    echo = "" if use.echo is None else f"{value}.lower() == {use.echo!r}"
    if use.ends:  # nearly all ids are UUIDs, and cost one comparison as other fields do
        return f"size != {_UUID} and ({value}.endswith({use.ends!r}) or {echo or False})"
    return echo and f"size == {2 * len(use.echo or '')} and {echo}"


def _write_doubt_of_length(source: Source, use: Use) -> None:
    # Only where the length takes two bytes or more: nearly all texts are shorter.
    if use.longest is not None:
        with source.block(f"if pos - start > {use.longest}"):
            source.add("doubtful = True")


def _write_whole(source: Source, value: str, at: str) -> None:
    source.add(f"size = data[{at}]")
    with source.block("if size < 128"):
        source.add(f"{value} = WHOLE[size]", f"pos = {_behind(at, 1)}")
    behind = _behind(at, TIME_BYTES)
    with source.block(f"elif ({value} := NUMBERS.get(data[{at}:{behind}])) is not None"):
        source.add(f"pos = {behind}")
    with source.block("else"):
        source.add(f"{value}, pos = NUMBERS.read(data, {at})")


_FIXED: Final = {
    "boolean": ("BOOLEAN[data[{at}]]", 1),
    "float": ("FLOATS[data[{at}:{behind}]]", 4),
    "double": ("read_double(data, {at})", 8),
}
"""Types of which every value takes as many bytes, with an expression for one."""


def _behind(at: str, count: int) -> str:
    """So many bytes behind *at*, which is `pos` or `pos + 1`."""
    return f"pos + {count + (at != 'pos')}"
