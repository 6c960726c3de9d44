"""Files of a release that is not known yet, through the whole program."""

from __future__ import annotations

from collections.abc import Mapping

from fixtures.generate import declared_fields, sample_record, schema_of, write_avro
from tests.workplace import Workplace

OPEN = "users.messages.email.Open"
NAP = "users.behaviors.app.Nap"


def put(place: Workplace, event_type: str, fields: Mapping[str, str], count: int = 3) -> None:
    """A file of *count* records, whose schema has these fields."""
    export = "dataexport.prod-01.S3.integration.ab"
    folder = place.source / export / f"event_type={event_type}/date=2026-10-01-05/version=13/us-01"
    schema = schema_of(event_type, fields)
    of_type = OPEN if event_type == NAP else event_type
    records = [
        {**sample_record(of_type, seed), "mood": "calm", "time": 1_790_830_800} for seed in range(count)
    ]
    number = len(place.files())
    write_avro(folder / f"{export}+0+{number}.avro", event_type, records, schema=schema)


def test_what_a_new_release_brings_is_named_in_the_report_the_log_and_status(workplace: Workplace) -> None:
    fields = declared_fields(OPEN) | {"mood": "string?", "time": "long"}
    del fields["send_time"]
    put(workplace, OPEN, fields)
    put(workplace, OPEN, fields)
    put(
        workplace,
        NAP,
        {name: fields[name] for name in ("id", "external_user_id", "user_id", "mood")} | {"time": "int"},
    )
    workplace.configure(mapping={"unknown_types": "hold"})
    ended = workplace.do("run", "--output", "json")
    drift = ended.json["drift"]
    assert drift["unknown_event_types"] == {
        NAP: {"records": 3, "outcome": "held", "name": "[Appboy] Nap", "fields": 5}
    }
    assert drift["unknown_fields"][OPEN]["mood"]["sent_as"] == "mood"
    assert drift["vanished_fields"][OPEN]["send_time"]["was"] == "int?"
    assert drift["changed_types"][OPEN]["time"]["now"] == "long"
    assert ended.err.count("files differ from what this release knows of Currents") == 1
    told = workplace.do("status", "--output", "json").json["drift"]
    assert told["unknown_event_types"] == {NAP: 3}
    assert told["unknown_fields"] == drift["unknown_fields"]
    text = workplace.do("status").out
    assert f"1 unknown: {OPEN}.mood (sent as mood)" in text
    assert f"{NAP} (3 read)" in text


def test_a_new_field_that_is_dropped_is_named_and_does_not_leave(workplace: Workplace) -> None:
    put(workplace, OPEN, declared_fields(OPEN) | {"mood": "string?"})
    workplace.configure(mapping={"unknown_fields": "drop"})
    ended = workplace.do("run")
    assert f"1 unknown: {OPEN}.mood (dropped)" in ended.out
    events = list(workplace.project.events())
    assert len(events) == 3
    assert not any("mood" in event["event_properties"] for event in events)
