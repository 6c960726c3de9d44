"""Generated code against fastavro and the mapper under every rule: equal events, equal verdicts."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from braze_etl.amplitude.destination import BatchApi
from braze_etl.amplitude.settings import Amplitude
from braze_etl.config.yaml import YamlReader
from braze_etl.delivery.destination import Body, DictItems
from braze_etl.flows.currents_to_amplitude.reader import EventReader
from braze_etl.mapping.identity import People
from braze_etl.mapping.limits import mend_event
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import Damage, Event, FileRef, Verdict
from braze_etl.sandbox.amplitude.project import Project
from fixtures.generate import described_types, sample_record, schema_for
from tests.any_mapping import TYPES, mappings
from tests.flows.currents_to_amplitude.compiled.comparing import HOUR, avro, both_agree
from tests.flows.currents_to_amplitude.compiled.odd import varied
from tests.people import suppressing

KEY = "0123456789abcdef0123456789abcdef"
SETTINGS = Amplitude(region="US", endpoint="http://localhost:8099/batch", api_key=SecretStr(KEY), gzip=False)

CHOOSING = """
choose:
  include:
    - engagement
    - {events: behavior, where: {platform: [ios, android, null]}}
    - {events: "*.new.*"}
  exclude:
    - {where: {machine_open: true}}
    - {where: {campaign_name: ["Test*", campaign_name], campaign_id: "*"}}
    - {events: users.behaviors.CustomEvent, where: {name: ["*e*", "!*x"]}}
    - {where: {price: [19.99, null], properties.size: [M, null]}}
loop_guard: {names: ["*cart*"], properties: {a: "*", size: [M]}}
time: {min: 2024-01-01, max_future: 30d}
purchase: {revenue: ignore}
identity: {anonymous: drop, lower_case: true}
"""
NAMING = """
send: "*"
test_events: send
unknown_fields: drop
rules:
  - {name: "B: {title}", lift: [device, location], add: [timezone, "*_api_id"]}
  - {events: engagement, name: "{campaign_name:-} {name_before} {platform:-any}"}
  - {events: engagement, parse: {message_extras: "e "}}
  - {events: behavior, name: "{name_before} {price:-}{duration:-}"}
  - {keep: ["*"], drop: [esp, "*_variation_*"], rename: {"c*": "x {field}", "properties.*": "{field}"}}
  - {copy: {campaign_id: [c1, c2], properties.size: s}, set: {on: true, n: 7, text: Größe}}
  - {values: {platform: {ios: Apple, "*": null}, is_amp: {true: 1}, codes: {a: b}, price: {"19.99": 20}}}
"""
HIDING = """
privacy: {drop: [pii, properties.size, platform], hash: [campaign_name, external_user_id, name], salt: s}
identity: {anonymous: braze_id, user_prefix: p-, device_prefix: d-, shared: [customer-2]}
rules:
  - {copy: {email_address: to}, rename: {"*": "{property}!"}}
"""
RAW = """
preset: raw
send: "*"
unknown_types: hold
rules:
  - {parse: {properties: "p ", message_extras: ""}, lift: device, drop: "properties.s*"}
  - {events: users.messages.*, name: "{event_type} {campaign_name:-none}"}
purchase: {revenue: count}
privacy: {drop: [email_address, "*phone_number"]}
"""


class Table:
    """Half of all people are in it."""

    def find(self, key: str) -> str | None:
        return f"crm-{key[:20]}" if sum(key.encode()) % 2 else None


SUPPRESSED = suppressing("customer-1", "user-1")
LISTS = [
    People(),
    People(suppressed=SUPPRESSED),
    People(table=Table(), missing="filter"),
    People(suppressed=SUPPRESSED, table=Table(), key="user_id", missing="quarantine"),
]


def load(text: str, people: People) -> EventMapping:
    return EventMapping.load(MappingSection.model_validate(YamlReader().read(text)), people)


CUSTOM = "users.behaviors.CustomEvent"
RICH = [load(text, people) for text, people in zip((CHOOSING, NAMING, HIDING, RAW), LISTS, strict=True)]
LISTED = [load(text, LISTS[(number + 2) % 4]) for number, text in enumerate((CHOOSING, NAMING, HIDING, RAW))]


@pytest.mark.parametrize("event_type", sorted(described_types()))
def test_odd_records_of_every_type_come_out_the_same_under_every_rule(event_type: str) -> None:
    data = avro(schema_for(event_type), [varied(event_type, seed) for seed in range(25)])
    both_agree(data, event_type, [*RICH, *LISTED])


@pytest.mark.parametrize("event_type", sorted(described_types()))
def test_every_rule_is_compiled(event_type: str) -> None:
    data = avro(schema_for(event_type), [sample_record(event_type, seed) for seed in range(5)])
    ways = both_agree(data, event_type, RICH)
    assert ways["generated"] > 0
    assert (ways["fastavro"], ways["given_up"], ways["unclear"]) == (0, 0, 0)


@pytest.mark.parametrize("name", ["[Promo] seen", "{draft}", "[1"])
@pytest.mark.parametrize("called", ["{name}", "{title}", "{properties}"])
def test_names_that_privacy_looks_into_come_out_the_same(name: str, called: str) -> None:
    mapping = load(f"{{privacy: {{drop: pii}}, rules: [{{name: '{called}'}}]}}", People())
    record = {**sample_record(CUSTOM, 1), "name": name, "properties": "{broken"}
    both_agree(avro(schema_for(CUSTOM), [record]), CUSTOM, [mapping])


JSON_TEXTS = st.sampled_from(
    [
        '{"size": "M", "n": null}',
        '{"a": {"email_address": "x@y", "b": [1, {"phone": 2}]}, "size": 7}',
        '{"user": {"name": "x"}, "tier": "gold", "size": ["M", null]}',
        '{"size": NaN, "a": 9007199254740993, "": 1}',
        '{"half": "\\ud83d", "nul": "\\u0000", "a.b": true}',
        '{"size"',
        "[1]",
        "",
    ]
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "external_user_id": st.none()
    | st.sampled_from(["customer-1", "Customer-3", "customer-2", "ab", "[REDACTED]"]),
    "device_id": st.none() | st.sampled_from(["device-1", "unknown", "", "DEVICE-2"]),
    "user_id": st.none() | st.sampled_from(["64d2f0c1a2b3c4d5e6f70819", "customer-1"]),
    "properties": JSON_TEXTS,
    "message_extras": JSON_TEXTS,
    "name": st.sampled_from(["a", "ate cake", "x" * 1100, "[Amplitude] Revenue", "", "Größe"]),
    "platform": st.none() | st.sampled_from(["ios", "android", "p" * 1100]),
    "campaign_name": st.none() | st.sampled_from(["Sale", "", "Start Session", "campaign_name", "n" * 2000]),
    "machine_open": st.none() | st.sampled_from(["true", "Apple"]),
}


@st.composite
def records(draw: st.DrawFn, event_type: str) -> list[dict[str, Any]]:
    """Some records of a type: odd ones, with values that the rules ask for."""
    kinds = schema_for(event_type)["fields"]
    nullable = {field["name"]: isinstance(field["type"], list) for field in kinds}
    found = []
    for seed in draw(st.lists(st.integers(0, 500), min_size=1, max_size=4)):
        record = varied(event_type, seed)
        for name, values in FIELDS.items():
            if name in nullable and draw(st.booleans()):
                value = draw(values)
                record[name] = "" if value is None and not nullable[name] else value
        found.append(record)
    return found


def outcomes(file: bytes, event_type: str, mapping: EventMapping) -> list[Event | Verdict]:
    """What the records of a file became."""
    found: list[Event | Verdict] = []
    ref = FileRef("a.avro", "e", len(file), HOUR, event_type, HOUR)
    for block in EventReader(mapping).read(ref, io.BytesIO(file)):
        assert not isinstance(block, Damage)
        found += block.outcomes
    return found


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mappings(), st.data())
def test_any_records_under_any_mapping_come_out_the_same_and_amplitude_takes_them(
    mapping: EventMapping, data: st.DataObject
) -> None:
    event_type = data.draw(st.sampled_from([name for name in TYPES if name in described_types()]))
    written = data.draw(records(event_type))
    file = avro(schema_for(event_type), written)
    both_agree(file, event_type, [mapping])
    found = outcomes(file, event_type, mapping)
    assert len(found) == len(written)
    sent = [outcome for outcome in found if not isinstance(outcome, Verdict)]
    if sent:
        shortest = mapping.min_id_length
        amplitude = BatchApi(SETTINGS.model_copy(update={"min_id_length": shortest}), mend_event)
        body = amplitude.encode(DictItems(sent), gzip=False, limit=amplitude.limits.bytes)
        assert isinstance(body, Body)
        reply = Project(api_key=KEY).ingest("/batch", body.wire)
        assert reply.status == 200, reply.body
