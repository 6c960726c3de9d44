"""One record of each event type and the event it becomes, kept in tests/golden/ for a person to read.

What the preset `raw` makes of the same records is in `raw.jsonl`, an event a line.

To write the files anew after an intended change:
`BRAZE_ETL_UPDATE_GOLDEN=1 pytest tests/mapping/test_golden.py`
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest

from braze_etl.braze.currents.catalogue import EventType, load_catalogue
from braze_etl.mapping.mapper import mapper_for
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import Record, Verdict

GOLDEN = Path(__file__).parents[1] / "golden"
UPDATE = bool(os.environ.get("BRAZE_ETL_UPDATE_GOLDEN"))
HOUR = 1_790_000_000.0
EVERYTHING = EventMapping.load(MappingSection(send=("*",)))
RAW = EventMapping.load(MappingSection(preset="raw"))
RAW_EVENTS = GOLDEN / "raw.jsonl"

VALUES: dict[str, Any] = {
    "time": 1_790_000_123,
    "external_user_id": "customer-0001",
    "user_id": "64d2f0c1a2b3c4d5e6f70819",
    "device_id": "7a8b9c0d-1e2f-4a3b-8c4d-5e6f7a8b9c0d",
    "timezone": "Europe/Berlin",
    "currency": "EUR",
    "price": 19.99,
    "properties": '{"size": "M", "gift": true, "tags": ["new", "sale"], "note": null}',
    "ad_id_type": "google_ad_id",
    "machine_open": "true",
}
BY_TYPE: dict[str, Any] = {
    "int": 42,
    "long": 42_000,
    "float": 1.5,
    "boolean": True,
    "array<string>": ["one", "two"],
    "array<null|string>": ["one", None],
}


def build(kind: EventType) -> Record:
    """Make a record with a value in every field; the same one every time."""
    record = {name: BY_TYPE.get(field.avro, f"some {name}") for name, field in kind.fields.items()}
    record |= {name: value for name, value in VALUES.items() if name in record}
    if "id" in record:
        record["id"] = str(uuid5(NAMESPACE_URL, kind.name))
    return record


def outcome_of(event_type: str, record: Record, mapping: EventMapping = EVERYTHING) -> dict[str, Any]:
    outcome = mapper_for(mapping.plan(event_type))(record, HOUR)
    if isinstance(outcome, Verdict):
        return {"verdict": {"reason": outcome.reason.value, "detail": outcome.detail}}
    return {"event": outcome}


def stored() -> dict[str, Record]:
    """The golden records by event type."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))["record"] for path in GOLDEN.glob("*.json")
    }


def write(records: dict[str, Record]) -> None:
    """Write the golden files anew; fields that a file has already stay where they are."""
    before = stored()
    for name, fields in records.items():
        record = {field: fields[field] for field in before.get(name, {}) if field in fields} | fields
        text = json.dumps({"record": record, **outcome_of(name, record)}, indent=1, ensure_ascii=False)
        (GOLDEN / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def test_every_type_with_known_fields_has_its_golden_file() -> None:
    records = {name: build(kind) for name, kind in load_catalogue().items() if kind.fields}
    if UPDATE:
        write(records)
    assert stored() == records


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_the_golden_record_becomes_the_golden_event(path: Path) -> None:
    golden = json.loads(path.read_text(encoding="utf-8"))
    record = golden.pop("record")
    outcome = outcome_of(path.stem, record)
    assert outcome == golden
    if "event" in golden:
        assert list(outcome["event"]) == list(golden["event"])


def raw_lines() -> list[str]:
    """What `raw` makes of the golden records, a line for each type."""
    lines = []
    for path in sorted(GOLDEN.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))["record"]
        found = {"event_type": path.stem, **outcome_of(path.stem, record, RAW)}
        lines.append(json.dumps(found, ensure_ascii=False))
    return lines


def test_the_golden_records_become_the_golden_events_of_the_raw_preset_too() -> None:
    lines = raw_lines()
    if UPDATE:
        RAW_EVENTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert RAW_EVENTS.read_text(encoding="utf-8").splitlines() == lines


def test_raw_sends_every_type_by_its_own_name_and_every_field_by_its_own() -> None:
    top = {"id", "time", "user_id", "external_user_id", "device_id"}
    for line in RAW_EVENTS.read_text(encoding="utf-8").splitlines():
        found = json.loads(line)
        record = json.loads((GOLDEN / f"{found['event_type']}.json").read_text(encoding="utf-8"))["record"]
        if "event" in found:
            assert found["event"]["event_type"] == found["event_type"]
            assert found["event"]["event_properties"] == {
                field: value for field, value in record.items() if field not in top
            }
        else:
            assert found["verdict"]["reason"] == "no_identity"
