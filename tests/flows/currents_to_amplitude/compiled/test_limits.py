"""Amplitude's limits, from a file to the body of a request: what is mended and counted, or set aside."""

from __future__ import annotations

import io
import json
from collections import Counter
from math import inf, nan
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from braze_etl.amplitude.destination import BatchApi
from braze_etl.amplitude.settings import Amplitude
from braze_etl.delivery.destination import Body, DictItems
from braze_etl.flows.currents_to_amplitude.reader import Decoder, EventReader
from braze_etl.mapping.limits import mend_event
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import Damage, Event, FileRef, Reason, Verdict
from braze_etl.sandbox.amplitude.project import Project
from fixtures.generate import sample_record, schema_for
from tests.flows.currents_to_amplitude.compiled.comparing import HOUR, avro, both_agree

CUSTOM = "users.behaviors.CustomEvent"
PURCHASE = "users.behaviors.Purchase"
KEY = "0123456789abcdef0123456789abcdef"
SETTINGS = Amplitude(region="US", endpoint="http://localhost:8099/batch", api_key=SecretStr(KEY), gzip=False)
NATIVE = EventMapping.load(MappingSection())
PLAIN = EventMapping.load(
    MappingSection.model_validate({"preset": "raw", "rules": [{"events": CUSTOM, "name": "{name}"}]})
)
FOUND = {"name": "found", "properties": "{}"}


def custom(**fields: Any) -> dict[str, Any]:
    record = sample_record(CUSTOM) | {"external_user_id": "customer-0001", **FOUND, **fields}
    return {
        name: None if name in ("platform", "app_id", "ad_id") else value for name, value in record.items()
    }


def outcomes(
    data: bytes, event_type: str, mapping: EventMapping, decoder: Decoder
) -> tuple[list[Any], Counter[str]]:
    """What the records became, and what was mended until then."""
    reader = EventReader(mapping, decoder=decoder)
    found: list[Event | Verdict] = []
    for block in reader.read(FileRef("a.avro", "e", len(data), HOUR, event_type, HOUR), io.BytesIO(data)):
        assert not isinstance(block, Damage)
        found += block.outcomes
    return found, reader.take_repairs()


def sent(
    record: dict[str, Any], schema: dict[str, Any] | None = None, mapping: EventMapping = NATIVE
) -> tuple[Event | Verdict, Counter[str]]:
    """One custom event as Amplitude receives it, or its verdict; both decoders agree on it."""
    data = avro(schema or schema_for(CUSTOM), [record])
    both_agree(data, CUSTOM, [mapping])
    (outcome,), repairs = outcomes(data, CUSTOM, mapping, "auto")
    if isinstance(outcome, Verdict):
        return outcome, repairs
    amplitude = BatchApi(SETTINGS, mend_event)
    body = amplitude.encode(DictItems([outcome]), gzip=False, limit=amplitude.limits.bytes)
    assert isinstance(body, Body)
    assert Project(api_key=KEY).ingest("/batch", body.wire).status == 200
    event: Event = orjson.loads(body.wire)["events"][0]
    return event, repairs + body.repairs


def with_field(kind: Any) -> dict[str, Any]:
    schema = schema_for(CUSTOM)
    return {**schema, "fields": [*schema["fields"], {"name": "found", "type": kind}]}


ARRAY = {"type": "array", "items": "string"}
FIELDS = [
    ("string", "x" * 1024, "x" * 1024, {}),
    ("string", "x" * 1025, "x" * 1024, {"text_cut": 1}),
    ("string", "é" * 1024, "é" * 1024, {}),
    ("string", "é" * 1025, "é" * 1024, {"text_cut": 1}),
    ("string", "x" * 20_000, "x" * 1024, {"text_cut": 1}),
    ("string", "a\0b", "ab", {"nul_removed": 1}),
    ("string", "back\\u0000slash", "back\\u0000slash", {}),
    (["null", "string"], "\0", "", {"nul_removed": 1}),
    ("long", 2**53 - 1, 2**53 - 1, {}),
    ("long", 2**53, str(2**53), {"integer_as_text": 1}),
    ("long", -(2**63), str(-(2**63)), {"integer_as_text": 1}),
    (["long", "null"], 2**62, str(2**62), {"integer_as_text": 1}),
    (ARRAY, ["x" * 1025, "a\0"], ["x" * 1024, "a"], {"text_cut": 1, "nul_removed": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "arrives", "repairs"), FIELDS)
def test_a_field_that_amplitude_can_not_take_is_mended_and_counted(
    kind: Any, value: Any, arrives: Any, repairs: dict[str, int]
) -> None:
    event, counted = sent(custom(found=value), with_field(kind))
    assert isinstance(event, dict)
    assert event["event_properties"]["found"] == arrives
    assert counted == repairs


@pytest.mark.parametrize("kind", ["float", "double", ["null", "double"]])
@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_a_field_that_is_no_number_is_set_aside(kind: Any, value: float) -> None:
    outcome, _ = sent(custom(found=value), with_field(kind))
    assert isinstance(outcome, Verdict)
    assert outcome.reason is Reason.INVALID_EVENT
    assert outcome.detail == f"found is {value}, which JSON has no number for"


DEEP = '{"k": ' + "[" * 39 + "]" * 39 + "}"
TOO_DEEP = '{"k": ' + "[" * 40 + "]" * 40 + "}"
TEXTS = [
    ('{"k": NaN}', {}, {"number_left_out": 1}),
    ('{"k": [1, -Infinity, {"a": NaN}]}', {"k": [1, {}]}, {"number_left_out": 2}),
    ('{"k": 1e999, "l": 1}', {"l": 1}, {"number_left_out": 1}),
    ('{"k": 9007199254740991}', {"k": 2**53 - 1}, {}),
    ('{"k": 9007199254740993}', {"k": "9007199254740993"}, {"integer_as_text": 1}),
    ('{"k": {"a": [-9223372036854775808]}}', {"k": {"a": ["-9223372036854775808"]}}, {"integer_as_text": 1}),
    ('{"k": 18446744073709551615}', {"k": "18446744073709551615"}, {"integer_as_text": 1}),
    ('{"k": 18446744073709551616}', {"k": "18446744073709551616"}, {"integer_as_text": 1}),
    ('{"k": -9223372036854775809}', {"k": "-9223372036854775809"}, {"integer_as_text": 1}),
    (
        '{"k": 123456789012345678901234567890}',
        {"k": "123456789012345678901234567890"},
        {"integer_as_text": 1},
    ),
    (
        '{"a": [{"k": -98765432109876543210}], "l": 98765432109876543210}',
        {"a": [{"k": "-98765432109876543210"}], "l": "98765432109876543210"},
        {"integer_as_text": 2},
    ),
    ('{"k": 123456789012345678901234567890.5}', {"k": 1.2345678901234568e29}, {}),
    ('{"k": 12345678901234567890e10, "l": 7}', {"k": 1.2345678901234567e29, "l": 7}, {}),
    ('{"k": "123456789012345678901234567890"}', {"k": "123456789012345678901234567890"}, {}),
    (
        '{"k": NaN, "l": 98765432109876543210}',
        {"l": "98765432109876543210"},
        {"number_left_out": 1, "integer_as_text": 1},
    ),
    ('{"k": ' + "7" * 5000 + ', "l": 1}', {"k": "7" * 1024, "l": 1}, {"text_cut": 1}),
    ('{"k": "\\ud83d"}', {"k": "\ufffd"}, {"surrogates_replaced": 1}),
    ('{"\\udc00": 1}', {"\ufffd": 1}, {"surrogates_replaced": 1}),
    ('{"k": "\\ud83d\\ude00"}', {"k": "\U0001f600"}, {}),
    ('{"k": "a\\u0000b"}', {"k": "ab"}, {"nul_removed": 1}),
    ('{"k\\u0000": {"\\u0000a": 1}}', {"k": {"a": 1}}, {"nul_removed": 2}),
    (json.dumps({"k": "x" * 1025}), {"k": "x" * 1024}, {"text_cut": 1}),
    (json.dumps({"k": {"a": ["x" * 1025]}}), {"k": {"a": ["x" * 1024]}}, {"text_cut": 1}),
    (DEEP, json.loads(DEEP), {}),
]


@pytest.mark.parametrize(("text", "arrives", "repairs"), TEXTS)
def test_a_json_text_that_amplitude_can_not_take_is_mended_and_counted(
    text: str, arrives: Any, repairs: dict[str, int]
) -> None:
    event, counted = sent(custom(properties=text))
    assert isinstance(event, dict)
    prefix = "[Custom event property] "
    found = {key: value for key, value in event["event_properties"].items() if key.startswith(prefix)}
    assert found == {prefix + key: value for key, value in arrives.items()}
    assert counted == repairs


@pytest.mark.parametrize("inside", ["", "NaN", '"\\ud800"'])
@pytest.mark.parametrize("depth", [41, 200, 900, 5000])
def test_what_nests_too_deep_goes_whole_as_the_text_it_is(depth: int, inside: str) -> None:
    text = '{"k":' + "[" * (depth - 1) + inside + "]" * (depth - 1) + "}"
    event, counted = sent(custom(properties=text))
    assert isinstance(event, dict)
    assert event["event_properties"]["properties"] == text[:1024]
    assert counted == {"json_left_whole": 1} | ({"text_cut": 1} if len(text) > 1024 else {})


@pytest.mark.parametrize(("count", "is_sent"), [(1000, True), (1025, False), (3000, False)])
def test_more_properties_than_amplitude_takes_are_set_aside(count: int, *, is_sent: bool) -> None:
    text = json.dumps({f"k{number}": "\0" for number in range(count)})
    outcome, counted = sent(custom(properties=text, device_id="unknown"))
    assert isinstance(outcome, dict) is is_sent
    if isinstance(outcome, Verdict):
        assert outcome.reason is Reason.INVALID_EVENT
        assert outcome.detail.endswith("properties; Amplitude takes 1024")
        assert counted["device_id_left_out"] == 0
    else:
        assert counted == {"nul_removed": count, "device_id_left_out": 1}


@pytest.mark.parametrize("name", ["[Amplitude] Start Session", "[Amplitude] Revenue", "$identify", "_all"])
def test_a_custom_event_with_a_reserved_name_is_set_aside(name: str) -> None:
    outcome, _ = sent(custom(name=name), mapping=PLAIN)
    assert isinstance(outcome, Verdict)
    assert outcome.reason is Reason.INVALID_EVENT
    assert sent(custom(name=name))[0]["event_type"] == f"[Appboy] [Custom Event] {name}"  # type: ignore[index] # sent


def test_a_name_is_cut_like_other_texts() -> None:
    prefix = "[Appboy] [Custom Event] "
    for name, cut in (("x" * 999, 0), ("x" * 1000, 0), ("x" * 1001, 1), ("ö" * 1000, 0), ("ö" * 1001, 1)):
        event, counted = sent(custom(name=name))
        assert isinstance(event, dict)
        assert event["event_type"] == (prefix + name)[:1024]
        assert counted["text_cut"] == cut


def test_texts_at_the_top_of_an_event_are_cut_too() -> None:
    mapping = EventMapping.load(MappingSection.model_validate({"rules": [{"lift": "device"}]}))
    device = {"platform": "p" * 1100, "os_version": "1\0", "device_model": "m"}
    record = sample_record(PURCHASE) | {"external_user_id": "customer-0001", **device, "properties": "{}"}
    record |= {"product_id": "s" * 1100, "ad_id": "a" * 1100, "ad_id_type": "google_ad_id"}
    data = avro(schema_for(PURCHASE), [record])
    both_agree(data, PURCHASE, [mapping])
    (event,), _ = outcomes(data, PURCHASE, mapping, "auto")
    lengths = {key: len(event[key]) for key in ("platform", "productId", "adid", "device_model")}
    assert lengths == {"platform": 1024, "productId": 1024, "adid": 1024, "device_model": 1}


def test_a_price_beyond_what_json_keeps_is_set_aside() -> None:
    schema = schema_for(PURCHASE)
    fields = [{**field, "type": "long"} if field["name"] == "price" else field for field in schema["fields"]]
    record = sample_record(PURCHASE) | {"external_user_id": "customer-0001", "price": 2**60}
    data = avro({**schema, "fields": fields}, [record])
    both_agree(data, PURCHASE, [NATIVE])
    (outcome,), _ = outcomes(data, PURCHASE, NATIVE, "auto")
    assert outcome.reason is Reason.INVALID_EVENT
