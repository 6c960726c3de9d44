"""Drift as an operator meets it: files with other schemas than the catalogue's."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from braze_etl.braze.currents.catalogue import load_catalogue
from braze_etl.flows.currents_to_amplitude import drift as declared
from braze_etl.flows.currents_to_amplitude.drift import (
    CATALOGUE_DATE,
    MOST_FIELDS,
    MOST_TYPES,
    Drift,
    FieldDrift,
    UnknownType,
)
from braze_etl.flows.currents_to_amplitude.reader import EventReader
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import FileRef
from fixtures.generate import declared_fields, described_types, sample_record, schema_of, write_avro

OPEN = "users.messages.email.Open"
CARD = "users.messages.contentcard.Click"
NAP = "users.behaviors.app.Nap"
TODAY = datetime(2026, 11, 1, tzinfo=UTC)
LAST_YEAR = datetime(2025, 11, 1, tzinfo=UTC)


def drift_of(
    event_type: str,
    declared: Mapping[str, str],
    *,
    hour: datetime = TODAY,
    reader: EventReader | None = None,
    **options: Any,
) -> Drift:
    """Have a reader meet a file of that type whose schema has these fields; it holds no record."""
    reader = reader or EventReader(EventMapping.load(MappingSection(**options)))
    stream = io.BytesIO()
    write_avro(stream, event_type, [], schema=schema_of(event_type, declared))
    ref = FileRef("some/key.avro", "e", stream.tell(), hour, event_type, hour)
    stream.seek(0)
    assert list(reader.read(ref, stream)) == []
    return reader.take_extras()


def test_what_the_catalogue_knows_is_no_drift() -> None:
    reader = EventReader(EventMapping.load(MappingSection()))
    for event_type in described_types():
        assert not drift_of(event_type, declared_fields(event_type), reader=reader)


def test_a_new_field_is_named_with_the_property_that_it_became() -> None:
    drift = drift_of(OPEN, declared_fields(OPEN) | {"mood": "string?"})
    assert drift.unknown_fields == {OPEN: {"mood": FieldDrift(None, "string?", "sent", "mood")}}
    assert drift.facts({})["unknown_fields"] == {
        OPEN: {"mood": {"was": None, "now": "string?", "outcome": "sent", "sent_as": "mood"}}
    }


def test_a_new_field_is_named_even_if_it_is_dropped() -> None:
    drift = drift_of(OPEN, declared_fields(OPEN) | {"mood": "string?"}, unknown_fields="drop")
    assert drift.unknown_fields[OPEN]["mood"] == FieldDrift(None, "string?", "dropped", None)


def test_a_new_field_is_told_for_files_of_any_age() -> None:
    drift = drift_of(CARD, declared_fields(CARD) | {"mood": "string?"}, hour=LAST_YEAR)
    assert drift.unknown_fields[CARD]["mood"].sent_as == "mood"


def test_a_field_that_was_removed_from_a_type_and_is_documented_for_it_is_not_new() -> None:
    assert not drift_of(CARD, declared_fields(CARD) | {"dispatch_id": "string?"}, hour=LAST_YEAR)


@pytest.mark.parametrize("event_type", [OPEN, "users.messages.email.Retry"])
def test_a_field_that_the_configuration_names_is_not_new_any_more(event_type: str) -> None:
    fields = declared_fields(event_type) | {"mood": "string?"}
    assert drift_of(event_type, fields)
    assert not drift_of(event_type, fields, fields=("mood",))


def test_a_vanished_field_is_named_with_the_property_that_is_missed() -> None:
    fields = declared_fields(CARD)
    del fields["content_card_id"]
    drift = drift_of(CARD, fields)
    assert drift.vanished_fields == {CARD: {"content_card_id": FieldDrift("string", None, "sent", "card_id")}}
    assert not drift.unknown_fields


@pytest.mark.parametrize(
    ("hour", "told"),
    [(CATALOGUE_DATE, True), (TODAY, True), (CATALOGUE_DATE - timedelta(hours=1), False), (LAST_YEAR, False)],
)
def test_what_vanished_or_changed_is_told_only_from_the_catalogues_date_on(
    hour: datetime, told: bool
) -> None:
    fields = declared_fields(OPEN) | {"user_agent": "long?"}
    del fields["send_time"]
    drift = drift_of(OPEN, fields, hour=hour)
    assert bool(drift.vanished_fields) is told
    assert bool(drift.changed_types) is told


@pytest.mark.parametrize(
    ("field", "now", "was"),
    [
        ("time", "long", "int"),
        ("time", "int?", "int"),
        ("user_id", "string?", "string"),
        ("user_agent", "array<string>?", "string?"),
    ],
)
def test_another_type_and_a_field_that_may_now_be_null_are_told(field: str, now: str, was: str) -> None:
    fields = declared_fields(OPEN)
    assert fields[field] == was
    found = drift_of(OPEN, fields | {field: now}).changed_types[OPEN][field]
    assert (found.was, found.now) == (was, now)


def test_a_field_that_is_required_and_was_optional_is_no_drift() -> None:
    assert not drift_of(OPEN, declared_fields(OPEN) | {"send_id": "string"})


@pytest.mark.parametrize(
    ("options", "outcome"),
    [({}, "sent"), ({"unknown_types": "hold"}, "held"), ({"unknown_types": "hold", "send": (NAP,)}, "sent")],
)
def test_an_unknown_event_type_is_told_with_its_outcome(options: dict[str, Any], outcome: str) -> None:
    drift = drift_of(NAP, {"id": "string", "time": "int", "depth": "float?"}, **options)
    assert drift.unknown_types == {NAP: UnknownType(outcome, "[Appboy] Nap", 3)}
    assert drift.facts({NAP: 7})["unknown_event_types"] == {
        NAP: {"records": 7, "outcome": outcome, "name": "[Appboy] Nap", "fields": 3}
    }


def test_a_type_that_is_only_announced_is_told_and_a_retired_one_is_not() -> None:
    catalogue = load_catalogue()
    announced = next(name for name, kind in catalogue.items() if kind.status == "announced")
    retired = next(name for name, kind in catalogue.items() if kind.status == "retired")
    assert drift_of(announced, {"id": "string"}).unknown_types[announced].announced
    assert not drift_of(retired, {"id": "string"})


def test_new_fields_of_a_type_that_is_not_sent_are_told_as_not_sent() -> None:
    orphan = "users.UserOrphan"
    drift = drift_of(orphan, declared_fields(orphan) | {"mood": "string?"})
    assert drift.unknown_fields[orphan]["mood"] == FieldDrift(None, "string?", "not_in_native", None)


def test_a_schema_is_looked_at_once_however_many_files_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    looked, declared_by = list[bytes](), declared.declared_fields

    def look(schema_json: bytes) -> dict[str, str]:
        looked.append(schema_json)
        return declared_by(schema_json)

    monkeypatch.setattr("braze_etl.flows.currents_to_amplitude.drift.declared_fields", look)
    reader = EventReader(EventMapping.load(MappingSection()))
    fields = declared_fields(OPEN) | {"mood": "string?"}
    assert drift_of(OPEN, fields, reader=reader)
    for _ in range(3):
        assert not drift_of(OPEN, fields, reader=reader)
    assert len(looked) == 1
    assert drift_of(OPEN, fields | {"verse": "int"}, reader=reader)


def test_a_record_with_a_new_field_is_mapped_as_ever() -> None:
    reader = EventReader(EventMapping.load(MappingSection()))
    stream = io.BytesIO()
    schema = schema_of(OPEN, declared_fields(OPEN) | {"mood": "string?"})
    write_avro(stream, OPEN, [sample_record(OPEN) | {"mood": "calm"}], schema=schema)
    ref = FileRef("some/key.avro", "e", stream.tell(), TODAY, OPEN, TODAY)
    stream.seek(0)
    (block,) = reader.read(ref, stream)
    (event,) = block.outcomes  # type: ignore[union-attr] # no damage here
    assert event["event_properties"]["mood"] == "calm"  # type: ignore[index] # an event


def test_drift_is_the_same_in_whatever_order_it_is_merged() -> None:
    one = drift_of(OPEN, declared_fields(OPEN) | {"mood": "string?"})
    two = drift_of(OPEN, declared_fields(OPEN) | {"verse": "int"})
    three = drift_of(NAP, {"id": "string"})
    first, second = Drift(), Drift()
    for drift in (one, two, three):
        first.merge(drift)
    for drift in (three, one, two, one):
        second.merge(drift)
    assert first.facts({}) == second.facts({})
    assert set(first.unknown_fields[OPEN]) == {"mood", "verse"}


def test_findings_beyond_the_bounds_are_counted_and_not_named() -> None:
    drift = drift_of(OPEN, declared_fields(OPEN) | {f"f{n}": "int" for n in range(MOST_FIELDS + 5)})
    for number in range(MOST_TYPES + 3):
        drift.note_type(f"users.New{number}", UnknownType("sent", "x", 1))
        drift.note_field("vanished_fields", f"users.New{number}", "x", FieldDrift("int", None, "sent", "x"))
    assert len(drift.unknown_fields[OPEN]) == MOST_FIELDS
    assert len(drift.unknown_types) == len(drift.vanished_fields) == MOST_TYPES
    unnamed = {"unknown_fields": 5, "unknown_event_types": 3, "vanished_fields": 3}
    assert drift.facts({})["unnamed"] == unnamed
