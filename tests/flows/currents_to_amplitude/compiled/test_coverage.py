from __future__ import annotations

import json
from typing import Any

import pytest

from braze_etl.flows.currents_to_amplitude.compiled.fields import Field, NotCoveredError, covered_fields
from fixtures.generate import described_types, schema_for


def fields_of(*types: Any, name: str = "a") -> tuple[Field, ...]:
    fields = [{"name": f"{name}{number}", "type": kind} for number, kind in enumerate(types)]
    return covered_fields(json.dumps({"type": "record", "name": "R", "fields": fields}).encode())


@pytest.mark.parametrize("event_type", sorted(described_types()))
def test_every_schema_of_the_catalogue_is_covered(event_type: str) -> None:
    schema = schema_for(event_type)
    covered = covered_fields(json.dumps(schema).encode())
    assert [field.name for field in covered] == [field["name"] for field in schema["fields"]]


@pytest.mark.parametrize("kind", ["null", "boolean", "int", "long", "float", "double", "string"])
def test_a_primitive_is_covered_alone_and_with_remarks_beside_it(kind: str) -> None:
    bare, remarked = fields_of(kind, {"type": kind, "connect.doc": "a remark"})
    assert bare == Field("a0", kind)
    assert remarked == Field("a1", kind)


def test_the_null_branch_may_be_the_first_or_the_second() -> None:
    bare, first, second = fields_of("int", ["null", "int"], [{"type": "int"}, {"type": "null"}])
    assert (bare.null, first.null, second.null) == (None, 0, 1)


def test_arrays_of_text_are_covered_and_their_items_may_be_null() -> None:
    plain, nullable = fields_of(
        {"type": "array", "items": "string"},
        ["null", {"type": "array", "items": ["string", "null"]}],
    )
    assert plain == Field("a0", "string", is_array=True)
    assert nullable == Field("a1", "string", null=0, is_array=True, items_null=1)
    assert not plain.is_text


@pytest.mark.parametrize(
    "kind",
    [
        "bytes",
        ["string"],
        ["int", "string"],
        ["null", "int", "string"],
        ["null", "bytes"],
        {"type": "array", "items": "int"},
        {"type": "array", "items": {"type": "array", "items": "string"}},
        {"type": "map", "values": "string"},
        {"type": "enum", "name": "E", "symbols": ["A"]},
        {"type": "fixed", "name": "F", "size": 2},
        {"type": "record", "name": "Inner", "fields": [{"name": "b", "type": "int"}]},
    ],
    ids=str,
)
def test_other_types_are_left_to_fastavro(kind: Any) -> None:
    with pytest.raises(NotCoveredError):
        fields_of(kind)


def test_more_fields_or_arrays_than_any_real_schema_has_are_left_to_fastavro() -> None:
    def schema(kind: Any, fields: int) -> bytes:
        made = [{"name": f"f{number}", "type": kind} for number in range(fields)]
        return json.dumps({"type": "record", "name": "R", "fields": made}).encode()

    texts = {"type": "array", "items": "string"}
    assert covered_fields(schema("string", 500))
    assert covered_fields(schema(texts, 8))
    for odd in (schema("string", 501), schema(texts, 9)):
        with pytest.raises(NotCoveredError, match="fields"):
            covered_fields(odd)


def test_a_name_that_is_longer_than_a_short_text_is_left_to_fastavro() -> None:
    assert fields_of("string", name="n" * 62)
    with pytest.raises(NotCoveredError):
        fields_of("string", name="n" * 63)
