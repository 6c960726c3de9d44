from __future__ import annotations

import json
from typing import Any

import pytest

from braze_etl.braze.currents.schema import writer_schema
from braze_etl.errors import UnreadableFileError


def _json(*fields: Any, name: str = "Open") -> bytes:
    made = [{"name": f"f{index}", "type": kind} for index, kind in enumerate(fields)]
    schema = {"type": "record", "name": name, "namespace": "dataexport.S3.inner.users.email", "fields": made}
    return json.dumps(schema).encode()


@pytest.mark.parametrize(
    ("schema", "event_type"),
    [
        (
            {"name": "Open", "namespace": "dataexport.S3.inner.users.messages.email"},
            "users.messages.email.Open",
        ),
        ({"name": "dataexport.GCS.inner.users.canvas.Entry"}, "users.canvas.Entry"),
        ({"name": "Open"}, None),
    ],
)
def test_the_event_type_is_in_the_full_name(schema: dict[str, Any], event_type: str | None) -> None:
    full = {"type": "record", "fields": [{"name": "id", "type": "string"}], **schema}
    assert writer_schema(json.dumps(full).encode()).event_type == event_type


def test_one_schema_is_parsed_once() -> None:
    assert writer_schema(_json("string")) is writer_schema(_json("string"))


def test_fields_without_need_cost_no_conversion() -> None:
    assert (
        writer_schema(_json("string", ["null", "int"], {"type": "array", "items": "string"})).convert is None
    )
    assert writer_schema(_json("float")).convert is not None


FIXED = {"type": "fixed", "name": "F", "size": 0}
EMPTY = {"type": "record", "name": "E", "fields": []}
ITSELF = {"type": "array", "items": "dataexport.S3.inner.users.email.Open"}


@pytest.mark.parametrize(
    ("schema_json", "words"),
    [
        (b"", "not valid"),
        (b"\xff", "not valid"),
        (b'"string"', "root is no record"),
        (b'["null"]', "root is no record"),
        (b'{"type": "array", "items": "int"}', "root is no record"),
        (b'{"type": "record", "name": "R", "fields": 5}', "not valid"),
        (b'{"type": "record", "fields": []}', "not valid"),
        (b'{"type": "record", "name": "R", "__fastavro_parsed": true, "__named_schemas": {}}', "not valid"),
        (b"[" * 200_000, "not valid"),
        (_json(), "takes no bytes"),
        (_json("null"), "takes no bytes"),
        (_json("nope"), "nope"),
        (_json("string", EMPTY), "takes no bytes"),
        (_json({"type": "array", "items": "null"}), "items"),
        (_json({"type": "map", "values": "null"}), "items"),
        (_json(["null", {"type": "array", "items": {"type": "array", "items": "null"}}]), "items"),
        (_json({"type": "array", "items": FIXED}), "size of"),
        (_json("string", ITSELF), "contains itself"),
        (_json(["null", "dataexport.S3.inner.users.email.Open"]), "contains itself"),
        (
            _json("string").replace(b'"fields": [', b'"fields": [{"name": "f0", "type": "int"}, '),
            "two fields",
        ),
    ],
)
def test_a_schema_that_can_not_be_read_by_is_refused(schema_json: bytes, words: str) -> None:
    with pytest.raises(UnreadableFileError, match="not supported") as caught:
        writer_schema(schema_json)
    assert words in caught.value.message


def _record(name: str, *types: Any) -> dict[str, Any]:
    fields = [{"name": f"f{number}", "type": kind} for number, kind in enumerate(types)]
    return {"type": "record", "name": name, "fields": fields}


def _doubling(times: int, wrap: Any) -> Any:
    kind: Any = _record("R0", "int")
    for number in range(1, times + 1):
        kind = _record(f"R{number}", wrap(kind), wrap(f"R{number - 1}"))
    return kind


WRAPS = {
    "records": lambda kind: kind,
    "unions": lambda kind: ["null", kind],
    "arrays": lambda kind: {"type": "array", "items": kind},
    "maps": lambda kind: ["null", {"type": "map", "values": kind}],
}


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_schema_that_unfolds_without_end_is_refused_at_once(wrap: str) -> None:
    with pytest.raises(UnreadableFileError, match=r"unfolds to more|nest deeper|bytes at least"):
        writer_schema(_json(_doubling(40, WRAPS[wrap])))


def test_a_schema_far_above_all_of_currents_is_read() -> None:
    schema = writer_schema(_json(*[["null", "string"]] * 2000, _doubling(6, WRAPS["unions"])))
    assert schema.convert is None


def test_a_record_is_bounded_where_its_schema_can_repeat_values() -> None:
    plain, repeating = _json("string"), _json(["null", _record("R", {"type": "array", "items": "string"})])
    assert writer_schema(plain).longest > 900_000 * 8
    assert 900_000 < writer_schema(repeating).longest < writer_schema(plain).longest


def test_more_values_without_bytes_than_bytes_are_refused() -> None:
    assert writer_schema(_json("string", "null")).longest
    with pytest.raises(UnreadableFileError, match="more values that take no bytes than bytes"):
        writer_schema(_json("string", _record("R", "null", "null", "null", "int")))


def test_a_named_type_may_be_used_twice() -> None:
    part = {"type": "record", "name": "Part", "fields": [{"name": "x", "type": "float"}]}
    assert writer_schema(_json(part, "Part", {"type": "array", "items": "Part"})).convert is not None
