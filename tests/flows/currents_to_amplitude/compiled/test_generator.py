"""Generated functions on the golden records, and on bytes that no writer of Currents files writes."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer

from braze_etl.flows.currents_to_amplitude.compiled.fields import Field, NotCoveredError, covered_fields
from braze_etl.flows.currents_to_amplitude.compiled.generator import generate
from braze_etl.flows.currents_to_amplitude.reader import FunctionCache
from braze_etl.mapping.mapper import mapper_for
from braze_etl.mapping.mapping import EventMapping, TypePlan
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import Record, Verdict
from fixtures.generate import schema_for

GOLDEN = sorted((Path(__file__).parents[3] / "golden").glob("*.json"))
EVERYTHING = EventMapping.load(MappingSection(send=("*",)))
LATEST = 1_800_000_000

Converted = tuple[list[Any], list[tuple[int, int, int]], int, int]


def encoded(schema: dict[str, Any], record: Record) -> bytes:
    stream = io.BytesIO()
    schemaless_writer(stream, parse_schema(schema), record)
    return stream.getvalue()


def run(schema: dict[str, Any], plan: TypePlan, data: bytes, count: int = 1) -> Converted:
    convert = FunctionCache().get(json.dumps(schema).encode(), mapper_for(plan))
    assert convert is not None
    return convert(data, data.decode("latin-1"), 0, count, LATEST)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_golden_record_becomes_the_golden_event(path: Path) -> None:
    golden = json.loads(path.read_text(encoding="utf-8"))
    schema = schema_for(path.stem)
    data = encoded(schema, golden["record"])
    (outcome,), unclear, left_out, end = run(schema, EVERYTHING.plan(path.stem), data)
    assert (unclear, left_out, end) == ([], 0, len(data))
    if "event" in golden:
        assert outcome == golden["event"]
        assert list(outcome) == list(golden["event"])
    else:
        assert isinstance(outcome, Verdict)
        assert {"reason": outcome.reason, "detail": outcome.detail} == golden["verdict"]


def small_schema(**types: Any) -> dict[str, Any]:
    kinds = {"id": "string", "time": "int", "external_user_id": ["null", "string"]} | types
    fields = [{"name": name, "type": kind} for name, kind in kinds.items()]
    return {"type": "record", "name": "Thing", "namespace": "x.inner.users", "fields": fields}


PLAN = EVERYTHING.plan("users.Thing")
RECORD: Record = {"id": "an-id", "time": 1_790_000_123, "external_user_id": "customer-0001"}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("boolean", True),
        ("int", -64),
        ("int", 64),
        ("long", 1 << 40),
        ("float", 19.99),
        ("double", 0.1),
        ("string", ""),
        ("string", "x" * 63),
        ("string", "x" * 64),
        ("string", "x" * 1024),
        ("string", "ö" * 100),
        ({"type": "array", "items": ["null", "string"]}, [None, "a"]),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_field_of_any_covered_type_becomes_a_property(kind: Any, value: Any) -> None:
    for union in (kind, ["null", kind], [kind, "null"]):
        schema = small_schema(thing=union, behind="int")
        data = encoded(schema, RECORD | {"thing": value, "behind": 7})
        (event,), _, _, end = run(schema, PLAN, data)
        assert event["event_properties"] == {"thing": value, "behind": 7}
        assert end == len(data)
        if isinstance(union, list):
            (event,), *_ = run(schema, PLAN, encoded(schema, RECORD | {"thing": None, "behind": 7}))
            assert event["event_properties"] == {"behind": 7}


@pytest.mark.parametrize("length", [1025, 8191, 8192])
def test_a_text_that_has_to_be_cut_is_left_to_the_mapper(length: int) -> None:
    schema = small_schema(thing="string")
    data = encoded(schema, RECORD | {"thing": "x" * length})
    outcomes, unclear, _, end = run(schema, PLAN, data)
    assert outcomes == [None]
    assert unclear == [(0, 0, end)]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (["null", "string"], b"\x04\x02a"),
        (["null", "string"], b"\x01"),
        ("string", b"\x01"),
        ("string", b"\x83\x01"),
        ("string", b"\x82\x00a"),
        ("string", b"\x82\x80\x00a"),
        ("string", b"\x06\xff\xfe\xfd"),
        ("boolean", b"\x02"),
        ("long", b"\xff" * 9 + b"\x01"),
        ("float", b"\x00\x00\xc0\x7f"),
        ("float", b"\x00\x00\xc0"),
        ("double", b"\x00" * 7),
        ({"type": "array", "items": "string"}, b"\x01\x02\x00\x00"),
    ],
    ids=str,
)
def test_the_function_raises_for_bytes_that_it_is_not_sure_of(kind: Any, data: bytes) -> None:
    schema = small_schema(thing=kind)
    before = encoded(small_schema(), RECORD)
    with pytest.raises(Exception):  # noqa: B017 - of any type: fastavro then judges the block
        run(schema, PLAN, before + data)


def test_a_text_that_runs_over_the_end_shows_in_the_last_position() -> None:
    data = encoded(small_schema(thing="string"), RECORD | {"thing": "abcdef"})[:-3]
    *_, end = run(small_schema(thing="string"), PLAN, data)
    assert end == len(data) + 3


@pytest.mark.parametrize(
    "types",
    [
        {"id": "int"},
        {"time": "string"},
        {"time": "double"},
        {"external_user_id": "long"},
        {"device_id": {"type": "array", "items": "string"}},
        {"timezone": "int"},
    ],
    ids=str,
)
def test_a_field_that_decides_and_has_an_odd_type_is_not_covered(types: dict[str, Any]) -> None:
    fields = covered_fields(json.dumps(small_schema(**types)).encode())
    with pytest.raises(NotCoveredError):
        generate(PLAN, fields, Counter())


@pytest.mark.parametrize("missing", ["id", "time"])
def test_a_schema_without_what_every_event_needs_is_not_covered(missing: str) -> None:
    fields = [Field("id", "string"), Field("time", "int"), Field("external_user_id", "string")]
    with pytest.raises(NotCoveredError):
        generate(PLAN, [field for field in fields if field.name != missing], Counter())


def test_a_withheld_type_needs_no_field_and_reads_every_byte() -> None:
    plan = EventMapping.load(MappingSection()).plan("users.UserOrphan")
    schema = {"type": "record", "name": "R", "fields": [{"name": "anything", "type": "string"}]}
    data = encoded(schema, {"anything": "abc"}) * 2
    outcomes, unclear, _, end = run(schema, plan, data, 2)
    assert [outcome.reason for outcome in outcomes] == ["not_in_native"] * 2
    assert (unclear, end) == ([], len(data))


@pytest.mark.parametrize(
    ("change", "is_event"),
    [
        (lambda record: record | {"external_user_id": "Null"}, False),
        (lambda record: record | {"external_user_id": "[REDACTED]"}, False),
        (lambda record: record | {"id": ""}, False),
        (lambda record: record | {"time": LATEST + 1}, False),
        (lambda record: record | {"thing": "THING"}, False),
        (lambda record: record | {"thing": "thins"}, True),
    ],
)
def test_a_record_in_doubt_is_handed_back_with_its_bytes(
    change: Callable[[Record], Record], is_event: bool
) -> None:
    schema = small_schema(thing="string")
    first = encoded(schema, RECORD | {"thing": "first"})
    data = encoded(schema, change(RECORD | {"thing": "second"}))
    outcomes, unclear, _, _ = run(schema, PLAN, first + data, 2)
    assert (outcomes[1] is not None) == is_event
    assert unclear == ([] if is_event else [(1, len(first), len(first + data))])


def test_who_has_no_user_id_gets_the_identity_that_the_mapping_gives_and_passes_it_to_nobody() -> None:
    schema = small_schema(user_id="string")
    plan = EventMapping.load(MappingSection(identity={"anonymous": "braze_id"})).plan("users.Thing")
    anonymous = RECORD | {"external_user_id": None, "user_id": "64d2f0c1a2b3"}
    data = encoded(schema, anonymous) + encoded(schema, anonymous | RECORD)
    (first, second), unclear, left_out, _ = run(schema, plan, data, 2)
    assert (first["device_id"], "user_id" in first) == ("braze:64d2f0c1a2b3", False)
    assert (second["user_id"], "device_id" in second) == ("customer-0001", False)
    assert (unclear, left_out) == ([], 0)


def test_who_has_no_identity_at_all_is_filtered_without_the_mapper() -> None:
    schema = small_schema(user_id="string")
    data = encoded(schema, RECORD | {"external_user_id": None, "user_id": "64d2f0c1a2b3"})
    (outcome,), unclear, _, _ = run(schema, PLAN, data)
    assert (outcome.reason, unclear) == ("no_identity", [])
