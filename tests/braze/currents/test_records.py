from __future__ import annotations

import base64
import io
import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import given, settings
from hypothesis import strategies as st

from braze_etl.braze.currents.container import Block
from braze_etl.braze.currents.records import DamagedBlock, RecordReader
from braze_etl.errors import FileError
from braze_etl.model import Reason, Verdict

FIELDS = [
    {"name": "id", "type": "string"},
    {"name": "time", "type": "int"},
    {"name": "price", "type": ["null", "float"]},
    {"name": "tags", "type": {"type": "array", "items": ["null", "string"]}},
]
SCHEMA = {"type": "record", "name": "Open", "namespace": "dataexport.S3.inner.users.email", "fields": FIELDS}
RECORDS = [
    {"id": "one", "time": 1790812800, "price": 19.99, "tags": ["a", None]},
    {"id": "twö", "time": -1, "price": None, "tags": []},
    {"id": "", "time": 0, "price": 123456.78, "tags": ["b"]},
]


def _payload(schema: Any, records: list[Any]) -> bytes:
    stream = io.BytesIO()
    parsed = parse_schema(schema)
    for record in records:
        schemaless_writer(stream, parsed, record)
    return stream.getvalue()


def _block(payload: bytes, count: int) -> Block:
    return Block(1000, len(payload) + 20, count, payload)


def _reader(schema: Any = SCHEMA) -> RecordReader:
    return RecordReader(json.dumps(schema).encode())


def test_records_come_as_they_were_meant() -> None:
    assert list(_reader().decode(_block(_payload(SCHEMA, RECORDS), 3))) == RECORDS
    assert _reader().event_type == "users.email.Open"


def test_text_that_is_not_utf8_costs_its_own_record_only() -> None:
    payload = _payload(SCHEMA, RECORDS)
    spoiled = payload.replace("twö".encode(), b"tw\xff\xfe")
    first, verdict, last = _reader().decode(_block(spoiled, 3))
    assert verdict == Verdict(Reason.INVALID_EVENT, "text that is not UTF-8 in id")
    assert [first, last] == [RECORDS[0], RECORDS[2]]


def test_text_that_is_not_utf8_is_found_where_it_is_nested() -> None:
    payload = _payload(SCHEMA, RECORDS)[:-2] + b"\xff\x00"
    *_, verdict = _reader().decode(_block(payload, 3))
    assert isinstance(verdict, Verdict)
    assert verdict.detail == "text that is not UTF-8 in tags"


@pytest.mark.parametrize("count", [1, 2, 4, 100])
def test_another_count_than_the_bytes_hold_damages_the_block(count: int) -> None:
    with pytest.raises(DamagedBlock, match="at byte 1000") as caught:
        _reader().decode(_block(_payload(SCHEMA, RECORDS), count))
    assert isinstance(caught.value, FileError)
    assert caught.value.remedy


def test_a_payload_cut_anywhere_gives_no_record() -> None:
    payload = _payload(SCHEMA, RECORDS)
    for length in range(len(payload)):
        with pytest.raises(DamagedBlock):
            _reader().decode(_block(payload[:length], 3))


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("string", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01abc"),
        ("string", b"\x03abc"),
        ("bytes", b"\x03abc"),
        ("int", b"\xff" * 30),
        (["null", "string"], b"\x7f"),
        (["null", "string"], b"\x04"),
        ({"type": "array", "items": "string"}, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        ({"type": "array", "items": "boolean"}, b"\xfe\xff\xff\xff\x0f\x01\x01"),
        ({"type": "map", "values": "float"}, b"\x04\x02a"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, b"\x10"),
        ({"type": "fixed", "name": "F", "size": 1 << 20}, b"abc"),
    ],
)
def test_absurd_lengths_and_numbers_damage_the_block(kind: Any, payload: bytes) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": kind}]}
    with pytest.raises(DamagedBlock):
        _reader(schema).decode(_block(payload, 1))


def test_a_large_block_is_checked_before_its_first_record_and_then_decoded_lazily(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("braze_etl.braze.currents.records._LARGE", 10)
    payload = _payload(SCHEMA, RECORDS)
    with pytest.raises(DamagedBlock):
        _reader().decode(_block(payload + b"\0", 3))
    decoded = _reader().decode(_block(payload, 3))
    assert isinstance(decoded, Iterator)
    assert list(decoded) == RECORDS


def _long_records(monkeypatch: pytest.MonkeyPatch, longest: int) -> RecordReader:
    monkeypatch.setattr("braze_etl.braze.currents.records._LARGE", 10)
    reader = _reader()
    reader._schema = replace(reader._schema, longest=longest)
    return reader


def test_records_are_read_through_a_window_and_come_out_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [{**RECORDS[number % 3], "id": "x" * (number % 50)} for number in range(200)]
    for longest in (80, 150, 4000):
        reader = _long_records(monkeypatch, longest)
        assert list(reader.decode(_block(_payload(SCHEMA, records), 200))) == records


def test_a_record_longer_than_any_real_one_damages_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [*RECORDS * 20, {**RECORDS[0], "id": "x" * 300}, *RECORDS * 20]
    with pytest.raises(DamagedBlock, match="a record of more than 200 bytes"):
        _long_records(monkeypatch, 200).decode(_block(_payload(SCHEMA, records), 121))


def _types() -> st.SearchStrategy[Any]:
    names = ["boolean", "int", "long", "float", "double", "string", "bytes", "enum", "fixed"]
    return st.recursive(
        st.sampled_from(names).map(lambda name: {"type": name}),
        lambda inner: (
            inner.map(lambda items: {"type": "array", "items": items})
            | inner.map(lambda values: {"type": "map", "values": values})
            | inner.map(lambda kind: ["null", kind] if not isinstance(kind, list) else kind)
        ),
        max_leaves=3,
    )


def _complete(schema: Any, name: str) -> Any:
    """Give enums and fixed types what they need, with a name of their own."""
    if isinstance(schema, list):
        return ["null", _complete(schema[1], name)]
    parts = {key: _complete(schema[key], name) for key in ("items", "values") if key in schema}
    needs: dict[str, dict[str, Any]] = {
        "enum": {"name": name, "symbols": ["A", "B"]},
        "fixed": {"name": name, "size": 3},
    }
    return {**schema, **parts, **needs.get(schema["type"], {})}


def _values(schema: Any) -> st.SearchStrategy[Any]:
    if isinstance(schema, list):
        return st.none() | _values(schema[1])
    kind = schema["type"]
    if kind == "array":
        return st.lists(_values(schema["items"]), max_size=3)
    if kind == "map":
        return st.dictionaries(st.text(max_size=3), _values(schema["values"]), max_size=3)
    simple: dict[str, st.SearchStrategy[Any]] = {
        "boolean": st.booleans(),
        "int": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(2**63), 2**63 - 1),
        "float": st.floats(width=32, allow_nan=False),
        "double": st.floats(allow_nan=False),
        "string": st.text(max_size=5),
        "bytes": st.binary(max_size=5),
        "enum": st.sampled_from(["A", "B"]),
        "fixed": st.binary(min_size=3, max_size=3),
    }
    return simple[kind]


def _same(schema: Any, written: Any, read: Any) -> bool:
    if isinstance(schema, list):
        return read is None if written is None else _same(schema[1], written, read)
    kind = schema["type"]
    if kind == "array":
        pairs = zip(written, read, strict=True)
        return all(_same(schema["items"], one, other) for one, other in pairs)
    if kind == "map":
        values = schema["values"]
        same_keys: bool = written.keys() == read.keys()
        return same_keys and all(_same(values, written[key], read[key]) for key in written)
    if kind == "float":
        return struct.pack("<f", written) == struct.pack("<f", read)
    if kind in ("bytes", "fixed"):
        return bool(base64.b64decode(read) == written)
    return bool(written == read and type(written) is type(read))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_records_of_any_schema_come_back_plain(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(_types(), min_size=1, max_size=4))
    fields = [{"name": f"f{index}", "type": _complete(kind, f"T{index}")} for index, kind in enumerate(kinds)]
    schema = {"type": "record", "name": "Any", "fields": fields}
    values = st.fixed_dictionaries({field["name"]: _values(field["type"]) for field in fields})
    records = data.draw(st.lists(values, min_size=1, max_size=3))
    decoded = list(_reader(schema).decode(_block(_payload(schema, records), len(records))))
    json.dumps(decoded)
    for written, read in zip(records, decoded, strict=True):
        assert isinstance(read, dict)
        assert all(_same(field["type"], written[field["name"]], read[field["name"]]) for field in fields)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 200), st.binary(min_size=1, max_size=4))
def test_a_spoiled_block_gives_all_its_records_or_none(place: int, noise: bytes) -> None:
    payload = bytearray(_payload(SCHEMA, RECORDS))
    place %= len(payload)
    payload[place : place + len(noise)] = noise
    try:
        decoded = list(_reader().decode(_block(bytes(payload), 3)))
    except DamagedBlock:
        return
    assert len(decoded) == 3
