"""The generated decoder against fastavro and the mapper: equal events, or the same verdict."""

from __future__ import annotations

import io
import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from braze_etl.compile import EventReader
from braze_etl.currents import Damage
from braze_etl.model import FileRef
from braze_etl.transform import Mapping, MappingOptions
from fixtures.generate import described_types, sample_record, schema_for

HOUR = datetime(2026, 10, 1, 5, tzinfo=UTC)
OPEN = "users.messages.email.Open"
MAPPINGS = [
    Mapping.load(MappingOptions()),
    Mapping.load(MappingOptions(send=("*",), test_events="send", unknown_fields="drop", min_id_length=1)),
    Mapping.load(MappingOptions(anonymous="braze_id")),
]
ODD_TEXTS = [
    "",
    "null",
    "abc",
    "[REDACTED]",
    "ANONYMOUS",
    "Größe",
    "日本",
    "\N{KELVIN SIGN}ind",
    "x" * 1100,
    "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    "f1234abc",
    "12345qwert",
    "a-filler-events",
    "Test Campaign 1",
    "campaign_name",
    "TIMEZONE",
    '{"a": 1, "b": null}',
    "{bad",
    "[1]",
    "x" * 64,
]


def avro(schema: dict[str, Any], records: list[dict[str, Any]], codec: str = "null") -> bytes:
    stream = io.BytesIO()
    fastavro.writer(stream, schema, records, codec=codec, sync_interval=2000, sync_marker=b"0123456789abcdef")
    return stream.getvalue()


def seen(
    data: bytes, event_type: str, mapping: Mapping, decoder: Any
) -> tuple[Any, Counter[str], Counter[str]]:
    reader = EventReader(mapping, decoder=decoder)
    ref = FileRef("some/key.avro", "e", len(data), HOUR, event_type, HOUR)
    blocks: list[Any] = []
    for block in reader.read(ref, io.BytesIO(data)):
        if isinstance(block, Damage):
            blocks.append(("damage", block.offset, block.length))
        else:
            # As text, so that the order of keys counts, and 1 is not 1.0 or True.
            blocks.append((block.offset, block.count, [repr(outcome) for outcome in block.outcomes]))
    return blocks, reader.take_repairs(), reader.ways


def assert_equal(data: bytes, event_type: str) -> Counter[str]:
    ways: Counter[str] = Counter()
    for mapping in MAPPINGS:
        *fused, taken = seen(data, event_type, mapping, "auto")
        *plain, _ = seen(data, event_type, mapping, "fastavro")
        assert fused == plain
        ways += taken
    return ways


def varied(event_type: str, seed: int) -> dict[str, Any]:
    """A believable record with some of its fields replaced by odd values, or by null."""
    rng = random.Random(f"{event_type}{seed}")
    record = sample_record(event_type, seed)
    for name, kind in described_types()[event_type].fields.items():
        if rng.random() < 0.75:
            continue
        if kind.nullable and rng.random() < 0.5:
            record[name] = None
        elif kind.avro == "string":
            record[name] = rng.choice([*ODD_TEXTS, name, name.upper()])
        elif kind.avro == "float":
            record[name] = rng.choice([0.0, -1.5, 19.99, 3.4e38, float("nan"), float("inf")])
        elif kind.avro in ("int", "long"):
            record[name] = rng.choice([0, -1, 63, 64, 8191, 8192, 2**31 - 1, -(2**31)])
    return record


@pytest.mark.parametrize("event_type", sorted(described_types()))
def test_every_type_of_the_catalogue_comes_out_the_same(event_type: str) -> None:
    schema = schema_for(event_type)
    plain = [sample_record(event_type, seed) for seed in range(10)]
    odd = [varied(event_type, seed) for seed in range(150)]
    ways = assert_equal(avro(schema, plain), event_type)
    assert (ways["generated"] > 0, ways["given_up"]) == (True, 0)
    assert_equal(avro(schema, odd, "deflate"), event_type)


def test_fields_may_come_in_any_order_and_with_remarks() -> None:
    schema = schema_for(OPEN)
    fields = schema["fields"]
    random.Random(1).shuffle(fields)
    for field in fields:
        if isinstance(field["type"], list):
            field["type"] = [*reversed(field["type"])]
            del field["default"]
        elif field["type"] == "string":
            field["type"] = {"type": "string", "connect.doc": "a remark"}
    ways = assert_equal(avro(schema, [varied(OPEN, seed) for seed in range(50)]), OPEN)
    assert ways["generated"] > 0


def test_text_that_is_not_utf8_is_one_records_trouble() -> None:
    records = [sample_record(OPEN, seed) for seed in range(5)]
    records[2]["user_agent"] = "MARKER-MARKER"
    data = avro(schema_for(OPEN), records).replace(b"MARKER-MARKER", b"MARK\xff\xfe-MARKER")
    assert_equal(data, OPEN)
    blocks, _, _ = seen(data, OPEN, MAPPINGS[0], "auto")
    assert sum("invalid_event" in outcome for _, _, outcomes in blocks for outcome in outcomes) == 1


def test_every_flipped_byte_gives_the_same_verdict() -> None:
    kind = "users.messages.sms.InboundReceive"
    data = avro(schema_for(kind), [varied(kind, seed) for seed in range(3)])
    body = data.index(b"0123456789abcdef") + 16
    for place in range(body, len(data)):
        for mask in (0x01, 0x80, 0xFF):
            spoiled = bytearray(data)
            spoiled[place] ^= mask
            fused, _, _ = seen(bytes(spoiled), kind, MAPPINGS[0], "auto")
            plain, _, _ = seen(bytes(spoiled), kind, MAPPINGS[0], "fastavro")
            assert fused == plain, (place, mask)


def test_every_truncation_gives_the_same_verdict() -> None:
    kind = "users.behaviors.Purchase"
    data = avro(schema_for(kind), [sample_record(kind, seed) for seed in range(4)])
    body = data.index(b"0123456789abcdef") + 16
    for end in range(body, len(data)):
        fused, _, _ = seen(data[:end], kind, MAPPINGS[0], "auto")
        plain, _, _ = seen(data[:end], kind, MAPPINGS[0], "fastavro")
        assert fused == plain, end


NAMES = [
    "id",
    "time",
    "external_user_id",
    "user_id",
    "device_id",
    "ad_id",
    "ad_id_type",
    "name",
    "properties",
    "price",
    "product_id",
    "timezone",
    "campaign_name",
    "send_id",
    "dispatch_id",
    "new_field",
]
TYPES = [
    "users.behaviors.CustomEvent",
    "users.behaviors.Purchase",
    OPEN,
    "users.new.Thing",
    "users.UserOrphan",
]
ITEM = {"type": "array", "items": ["null", "string"]}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(max_size=12) | st.sampled_from(ODD_TEXTS),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32),
    "double": st.floats(),
    "boolean": st.booleans(),
    "bytes": st.binary(max_size=5),
    "array": st.lists(st.none() | st.text(max_size=5), max_size=4),
}


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, str]:
    """A file of any schema over telling names."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1))
    common = {"id": "string", "time": "int", "external_user_id": "string", "device_id": "string"}
    kinds = {name: draw(st.sampled_from([common.get(name, "string"), *sorted(VALUES)])) for name in names}
    fields, values = [], {}
    for name in names:
        kind: Any = ITEM if kinds[name] == "array" else kinds[name]
        order = draw(st.sampled_from(["bare", "null first", "null last"]))
        fields.append(
            {"name": name, "type": {"bare": kind, "null first": ["null", kind]}.get(order, [kind, "null"])}
        )
        values[name] = VALUES[kinds[name]] if order == "bare" else st.none() | VALUES[kinds[name]]
    records = draw(st.lists(st.fixed_dictionaries(values), min_size=1, max_size=4))
    schema = {"type": "record", "name": "Any", "namespace": "x.inner.users", "fields": fields}
    types = [
        "users.behaviors.CustomEvent",
        "users.behaviors.Purchase",
        OPEN,
        "users.new.Thing",
        "users.UserOrphan",
    ]
    return avro(schema, records), draw(st.sampled_from(types))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(files())
def test_any_records_of_any_schema_come_out_the_same(file: tuple[bytes, str]) -> None:
    assert_equal(*file)


def test_the_generated_decoder_can_be_turned_off() -> None:
    data = avro(schema_for(OPEN), [sample_record(OPEN)])
    assert seen(data, OPEN, MAPPINGS[0], "fastavro")[2]["generated"] == 0
    assert seen(data, OPEN, MAPPINGS[0], "auto")[2]["generated"] == 1
