"""Any record of any schema becomes an event that Amplitude takes, or a verdict with a reason."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import fastavro
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from braze_etl.flows.currents_to_amplitude.reader import EventReader
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import Damage, Event, FileRef, Verdict
from braze_etl.sandbox.amplitude.project import Project
from fixtures.generate import described_types, sample_record, schema_for

HOUR = datetime(2026, 10, 1, 5, tzinfo=UTC)
ALL = EventMapping.load(MappingSection(send=("*",), test_events="send"))

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.one_of(
        st.text(max_size=20),
        st.sampled_from(
            ["", "null", "[REDACTED]", "user-12345", '{"a": null, "b": [1]}', "{bad", "x" * 2000]
        ),
    ),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32),
    "double": st.floats(),
    "boolean": st.booleans(),
    "bytes": st.binary(max_size=10),
}
NAMES = st.sampled_from(
    ["id", "time", "external_user_id", "user_id", "device_id", "ad_id", "ad_id_type", "name", "properties",
     "price", "product_id", "timezone", "campaign_name", "new_field", "another_one"]
)  # fmt: skip


@st.composite
def files(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A schema, and records of it."""
    names = draw(st.lists(NAMES, unique=True, min_size=1))
    kinds = {name: draw(st.sampled_from(sorted(VALUES))) for name in names}
    optional = {name: draw(st.booleans()) for name in names}
    fields = [{"name": n, "type": ["null", kinds[n]] if optional[n] else kinds[n]} for n in names]
    values = {n: st.none() | VALUES[kinds[n]] if optional[n] else VALUES[kinds[n]] for n in names}
    records = draw(st.lists(st.fixed_dictionaries(values), min_size=1, max_size=5))
    return {"type": "record", "name": "Any", "namespace": "x.inner.users", "fields": fields}, records


def read(schema: dict[str, Any], records: list[dict[str, Any]], event_type: str) -> list[Event | Verdict]:
    stream = io.BytesIO()
    fastavro.writer(stream, schema, records)
    ref = FileRef("some/key.avro", "e", stream.tell(), HOUR, event_type, HOUR)
    stream.seek(0)
    outcomes: list[Event | Verdict] = []
    for block in EventReader(ALL).read(ref, stream):
        assert not isinstance(block, Damage)
        outcomes += block.outcomes
    return outcomes


def assert_amplitude_takes(outcomes: list[Event | Verdict]) -> None:
    events = [outcome for outcome in outcomes if not isinstance(outcome, Verdict)]
    if events:
        body = orjson.dumps({"api_key": "k", "events": events})
        reply = Project().ingest("/batch", body)
        assert reply.status == 200, reply.body


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    files(), st.sampled_from(["users.behaviors.CustomEvent", "users.behaviors.Purchase", "users.new.Thing"])
)
def test_any_record_of_any_schema_is_sent_or_has_a_reason(
    file: tuple[dict[str, Any], list[dict[str, Any]]], event_type: str
) -> None:
    schema, records = file
    outcomes = read(schema, records, event_type)
    assert len(outcomes) == len(records)
    assert_amplitude_takes(outcomes)


@pytest.mark.parametrize("event_type", sorted(described_types()))
def test_every_type_of_the_catalogue_is_taken(event_type: str) -> None:
    records = [sample_record(event_type, seed) for seed in range(3)]
    outcomes = read(schema_for(event_type), records, event_type)
    assert_amplitude_takes(outcomes)
    # The two of which no record has an identity.
    unsendable = event_type in ("agentconsole.ToolInvocation", "users.UserDeleteRequest")
    assert [isinstance(outcome, Verdict) for outcome in outcomes] == [unsendable] * 3
