"""The generated decoder against fastavro and the mapper: equal events, or the same verdict."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from braze_etl.braze.currents.keys import parse_key
from braze_etl.mapping.mapping import EventMapping
from fixtures.container import CODECS
from fixtures.generate import (
    ExportSpec,
    described_types,
    generate,
    sample_record,
    schema_for,
    write_avro,
)
from tests.flows.currents_to_amplitude.compiled.comparing import (
    MAPPINGS,
    OPEN,
    SYNC,
    avro,
    both_agree,
    framed,
    payload_of,
    read_by,
)
from tests.flows.currents_to_amplitude.compiled.odd import ODD_TEXTS, varied

PURCHASE = "users.behaviors.Purchase"
INBOUND = "users.messages.sms.InboundReceive"


@pytest.mark.parametrize("event_type", sorted(described_types()))
def test_every_type_of_the_catalogue_is_read_by_generated_code_alone(event_type: str) -> None:
    records = [sample_record(event_type, seed) for seed in range(10)]
    ways = both_agree(avro(schema_for(event_type), records), event_type)
    assert ways["generated"] > 0
    assert (ways["fastavro"], ways["given_up"], ways["unclear"]) == (0, 0, 0)


@pytest.mark.parametrize("event_type", sorted(described_types()))
def test_odd_records_of_every_type_come_out_the_same(event_type: str) -> None:
    odd = [varied(event_type, seed) for seed in range(60)]
    both_agree(avro(schema_for(event_type), odd), event_type)


@pytest.mark.parametrize("codec", [*CODECS])
def test_every_codec_comes_out_the_same(codec: str, tmp_path: Path) -> None:
    path = tmp_path / "file.avro"
    write_avro(path, OPEN, [varied(OPEN, seed) for seed in range(50)], codec)
    assert both_agree(path.read_bytes(), OPEN)["generated"] > 0


def test_an_export_with_all_that_may_not_arrive_comes_out_the_same(tmp_path: Path) -> None:
    generate(tmp_path, ExportSpec(events=2000, hours=1, awkward=0.2, anonymous=0.2, codec="mixed"))
    for path in sorted(tmp_path.rglob("*.avro")):
        key = parse_key(str(path))
        assert key is not None
        ways = both_agree(path.read_bytes(), key.event_type)
        assert (ways["fastavro"], ways["given_up"]) == (0, 0)


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
    ways = both_agree(avro(schema, [varied(OPEN, seed) for seed in range(50)]), OPEN)
    assert ways["generated"] > 0


def test_text_that_is_not_utf8_is_one_records_trouble() -> None:
    records = [sample_record(OPEN, seed) for seed in range(5)]
    records[2]["user_agent"] = "MARKER-MARKER"
    data = avro(schema_for(OPEN), records).replace(b"MARKER-MARKER", b"MARK\xff\xfe-MARKER")
    both_agree(data, OPEN)
    outcomes = read_by("auto", data, OPEN).outcomes
    assert ["invalid_event" in outcome for outcome in outcomes] == [False, False, True, False, False]


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_every_flipped_byte_gives_the_same_verdict(mask: int) -> None:
    nullable = [name for name, kind in described_types()[INBOUND].fields.items() if kind.nullable]
    record = sample_record(INBOUND)
    data = avro(schema_for(INBOUND), [record, record | dict.fromkeys(nullable)])
    for place in range(data.index(SYNC) + len(SYNC), len(data)):
        spoiled = bytearray(data)
        spoiled[place] ^= mask
        both_agree(bytes(spoiled), INBOUND, MAPPINGS[:1])


def test_every_truncation_of_a_file_gives_the_same_verdict() -> None:
    data = avro(schema_for(PURCHASE), [sample_record(PURCHASE, seed) for seed in range(3)])
    for end in range(data.index(SYNC) + len(SYNC), len(data)):
        both_agree(data[:end], PURCHASE, MAPPINGS[:1])


def test_every_truncation_of_a_payload_is_damage() -> None:
    # The block's own frame is whole here: only the decoders can notice.
    schema = schema_for(PURCHASE)
    payload = payload_of(schema, [sample_record(PURCHASE, seed) for seed in range(3)])
    for end in range(3, len(payload)):
        data = framed(schema, 3, payload[:end])
        both_agree(data, PURCHASE, MAPPINGS[:1])
        assert read_by("auto", data, PURCHASE).outcomes == []


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_another_count_of_records_than_there_are_is_damage(count: int) -> None:
    schema = schema_for(OPEN)
    data = framed(schema, count, payload_of(schema, [sample_record(OPEN, seed) for seed in range(3)]))
    assert both_agree(data, OPEN)["given_up"] == len(MAPPINGS)
    assert read_by("auto", data, OPEN).outcomes == []


Edit = tuple[int, int, bytes]
EDITS = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 3), st.binary(max_size=4)), min_size=1, max_size=3
)


@settings(max_examples=150, deadline=None)
@given(EDITS, st.sampled_from([OPEN, PURCHASE, "users.messages.rcs.Read", "users.UserOrphan"]))
def test_a_payload_with_bytes_cut_out_and_put_in_gives_the_same_verdict(
    edits: list[Edit], event_type: str
) -> None:
    schema = schema_for(event_type)
    payload = payload_of(schema, [varied(event_type, seed) for seed in range(2)])
    for place, removed, inserted in edits:
        at = place % len(payload)
        payload = payload[:at] + inserted + payload[at + removed :]
    both_agree(framed(schema, 2, payload), event_type, MAPPINGS[:1])


TEXTS = ["ad_id", "ad_id_type", "name", "properties", "product_id", "timezone", "campaign_name", "send_id"]
ANY = ["price", "new_field", "event", "class", "pos"]
DECIDING = ["id", "time", "external_user_id", "device_id", "user_id"]
TYPES = ["users.behaviors.CustomEvent", PURCHASE, OPEN, "users.new.Thing", "users.UserOrphan"]
KINDS: dict[str, Any] = {
    "texts": {"type": "array", "items": "string"},
    "texts or nulls": {"type": "array", "items": ["null", "string"]},
}
TEXT = st.text(max_size=12) | st.sampled_from(ODD_TEXTS)
LONGS = st.integers(-(2**63), 2**63 - 1)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXT,
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": LONGS,
    "float": st.floats(width=32),
    "double": st.floats(),
    "boolean": st.booleans(),
    "bytes": st.binary(max_size=5),
    "texts": st.lists(TEXT, max_size=4),
    "texts or nulls": st.lists(st.none() | TEXT, max_size=4),
}
USUAL = dict.fromkeys(["id", "external_user_id", "device_id", "user_id", *TEXTS], "string") | {"time": "int"}
"""Of these kinds, so that most of the schemas are covered; now and then one of them is of another kind."""
TELLING: dict[str, st.SearchStrategy[Any]] = {
    "id": st.uuids().map(str),
    "time": st.integers(1_700_000_000, 1_800_000_000),
    "external_user_id": st.sampled_from(["customer-1", "customer-2"]),
    "name": st.sampled_from(["added to cart", "Größe"]),
    "ad_id_type": st.sampled_from(["google_ad_id", "ios_idfa", "roku_ad_id"]),
    "properties": st.sampled_from(['{"size": "M", "n": null}', '{"a": {"b": [1, 2.5]}}']),
}


@st.composite
def schemas(draw: st.DrawFn) -> list[tuple[str, str, str]]:
    """Name, kind and kind of union of some fields, in any order."""
    left_out = draw(st.sampled_from([None] * 8 + DECIDING))
    chosen = [name for name in DECIDING if name != left_out]
    chosen += draw(st.lists(st.sampled_from([*TEXTS, *ANY]), unique=True, max_size=6))
    kinds = {name: USUAL.get(name) or draw(st.sampled_from([*VALUES])) for name in chosen}
    if draw(st.integers(0, 9)) == 9:
        kinds[draw(st.sampled_from(chosen))] = draw(st.sampled_from([*VALUES]))
    order = st.sampled_from(["bare", "null first", "null last"])
    return [(name, kinds[name], draw(order)) for name in draw(st.permutations(chosen))]


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A file of any schema over telling names, with records of telling and of any values."""
    fields, values = [], {}
    for name, kind, union in draw(schemas()):
        avro_type = KINDS.get(kind, kind)
        types = {"bare": avro_type, "null first": ["null", avro_type], "null last": [avro_type, "null"]}
        fields.append({"name": name, "type": types[union]})
        telling = name in TELLING and kind == USUAL.get(name, "string")
        value = TELLING[name] | VALUES[kind] if telling else VALUES[kind]
        values[name] = value if union == "bare" else st.none() | value
    records = draw(st.lists(st.fixed_dictionaries(values), min_size=1, max_size=4))
    schema = {"type": "record", "name": "Any", "namespace": "x.inner.users", "fields": fields}
    return avro(schema, records)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(files(), st.sampled_from(TYPES), st.sampled_from(MAPPINGS))
def test_any_records_of_any_schema_come_out_the_same(
    file: bytes, event_type: str, mapping: EventMapping
) -> None:
    both_agree(file, event_type, [mapping])
