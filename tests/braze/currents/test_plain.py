from __future__ import annotations

from typing import Any

import pytest
from fastavro import parse_schema

from braze_etl.braze.currents.values import converter, without_logical_types

PRICE = 19.989999771118164
POINT = {"type": "record", "name": "Point", "fields": [{"name": "x", "type": "float"}]}
LINE = {
    "type": "record",
    "name": "Line",
    "fields": [{"name": "text", "type": "string"}, {"name": "y", "type": "float"}],
}
FIXED = {"type": "fixed", "name": "Key", "size": 3}


@pytest.mark.parametrize(
    ("schema", "value", "plain"),
    [
        ("float", PRICE, 19.99),
        ("bytes", b"\x00\xff", "AP8="),
        (FIXED, b"abc", "YWJj"),
        (["null", "float"], None, None),
        (["null", "float"], PRICE, 19.99),
        (["null", "bytes", "string"], "text", "text"),
        (["null", "bytes", "string"], b"abc", "YWJj"),
        (["float", "string"], PRICE, 19.99),
        (["bytes", FIXED], b"abc", "YWJj"),
        ({"type": "array", "items": "float"}, [PRICE, 1.0], [19.99, 1.0]),
        ({"type": "array", "items": ["null", "float"]}, [None, PRICE], [None, 19.99]),
        ({"type": "map", "values": "float"}, {"a": PRICE}, {"a": 19.99}),
        (POINT, {"x": PRICE}, {"x": 19.99}),
        ([POINT, LINE], {"x": PRICE}, {"x": 19.99}),
        ([POINT, LINE], {"text": "t", "y": PRICE}, {"text": "t", "y": 19.99}),
        ([POINT, {"type": "map", "values": "float"}], {"z": PRICE}, {"z": 19.99}),
        (["null", {"type": "array", "items": POINT}], [{"x": PRICE}], [{"x": 19.99}]),
    ],
)
def test_values_become_plain_json(schema: Any, value: Any, plain: Any) -> None:
    convert = converter(parse_schema(schema), {})
    assert convert is not None
    assert convert(value) == plain


@pytest.mark.parametrize(
    "schema",
    [
        "string",
        "int",
        "boolean",
        "double",
        ["float", "double"],
        [{"type": "map", "values": "double"}, POINT],
        ["null", "long"],
        ["null", "int", "string"],
        {"type": "enum", "name": "E", "symbols": ["A"]},
        {"type": "array", "items": "string"},
        {"type": "map", "values": ["null", "string"]},
        {"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]},
    ],
)
def test_what_is_plain_already_costs_nothing(schema: Any) -> None:
    assert converter(parse_schema(schema), {}) is None


def test_a_reference_to_a_named_type_is_followed() -> None:
    named = {"Point": POINT}
    for schema in ("Point", {"type": "Point"}, ["null", "Point"]):
        convert = converter(schema, named)
        assert convert is not None
        assert convert({"x": PRICE}) == {"x": 19.99}


def test_logical_types_are_taken_out_at_any_depth() -> None:
    schema = {"type": "array", "items": ["null", {"type": "int", "logicalType": "date"}]}
    assert without_logical_types(schema) == {"type": "array", "items": ["null", {"type": "int"}]}
