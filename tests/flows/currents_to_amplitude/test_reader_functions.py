from __future__ import annotations

import ast
import json

import pytest

from braze_etl.flows.currents_to_amplitude.reader import FunctionCache, generated_source
from braze_etl.mapping.mapper import mapper_for
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from fixtures.generate import described_types, schema_for

MAPPING = EventMapping.load(MappingSection())
OPEN = "users.messages.email.Open"
CLICK = "users.messages.email.Click"


def schema_json(event_type: str = OPEN, *, note: str = "") -> bytes:
    return json.dumps(schema_for(event_type) | {"doc": note}).encode()


def test_a_function_is_made_once_for_a_schema_and_a_type() -> None:
    cache = FunctionCache()
    opens, clicks = (mapper_for(MAPPING.plan(event_type)) for event_type in (OPEN, CLICK))
    function = cache.get(schema_json(), opens)
    assert function is not None
    assert cache.get(schema_json(), opens) is function
    assert cache.get(schema_json(note="other bytes"), opens) is not function
    assert cache.get(schema_json(), clicks) is not function
    assert len(cache) == 3


def test_the_function_that_was_not_used_for_longest_makes_room() -> None:
    cache = FunctionCache(most=2)
    mapper = mapper_for(MAPPING.plan(OPEN))
    first, second = (cache.get(schema_json(note=note), mapper) for note in "ab")
    assert cache.get(schema_json(note="a"), mapper) is first
    cache.get(schema_json(note="c"), mapper)
    assert len(cache) == 2
    assert cache.get(schema_json(note="a"), mapper) is first
    assert cache.get(schema_json(note="b"), mapper) is not second


def test_what_is_not_covered_is_remembered_too() -> None:
    cache = FunctionCache()
    schema = schema_for(OPEN)
    schema["fields"].append({"name": "picture", "type": "bytes"})
    text = json.dumps(schema).encode()
    assert cache.get(text, mapper_for(MAPPING.plan(OPEN))) is None
    assert len(cache) == 1
    assert generated_source(text, MAPPING.plan(OPEN)) is None


@pytest.mark.parametrize("event_type", sorted(described_types()))
def test_the_source_of_a_function_says_what_it_is_for(event_type: str) -> None:
    source = generated_source(schema_json(event_type), MAPPING.plan(event_type))
    assert source is not None
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    assert event_type in (ast.get_docstring(function) or "")
    assert all(f"# {field['name']}" in source for field in schema_for(event_type)["fields"])
