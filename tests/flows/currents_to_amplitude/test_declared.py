from __future__ import annotations

from typing import Any

import orjson
import pytest

from braze_etl.flows.currents_to_amplitude.drift import declared_fields, type_text
from fixtures.generate import declared_fields as declared_by_catalogue
from fixtures.generate import described_types, schema_for


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ("string", "string"),
        ({"type": "string", "connect.doc": "words"}, "string"),
        (["null", "int"], "int?"),
        (["int", "null"], "int?"),
        (["null", {"type": "string"}], "string?"),
        ({"type": "array", "items": "string"}, "array<string>"),
        ({"type": "array", "items": ["null", "string"]}, "array<null|string>"),
        (["null", {"type": "array", "items": "string"}], "array<string>?"),
        ({"type": "map", "values": "long"}, "map<long>"),
        ({"type": "long", "logicalType": "timestamp-millis"}, "long(timestamp-millis)"),
        (["string", "int"], "string|int"),
        (["null", "string", "int"], "string|int?"),
        ({"type": "record", "name": "a.B", "fields": []}, "record"),
        ({"type": {"type": "string"}}, "string"),
        ("null", "null"),
        (["null"], "null"),
    ],
)
def test_types_are_spelled_as_in_the_catalogue(schema: Any, text: str) -> None:
    assert type_text(schema) == text


def test_a_schema_of_the_catalogue_declares_what_the_catalogue_says() -> None:
    for event_type in described_types():
        schema = orjson.dumps(schema_for(event_type))
        assert declared_fields(schema) == declared_by_catalogue(event_type)
