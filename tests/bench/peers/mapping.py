"""The mapping as a person would write it by hand, for the two event types that are measured.

Gives what the preset `native` gives for them (docs/mapping.md); `test_bench.py` compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from fastavro import reader

Record: TypeAlias = dict[str, Any]

BATCH = 2000

_IDENTITY = {"id", "time", "user_id", "external_user_id", "device_id"}
_DROPPED = {
    *("canvas_step_message_variation_id", "sdk_version", "carrier", "resolution", "country", "gender"),
    *("language", "timezone", "sending_ip", "button_action_type", "button_string", "phone_number"),
    *("app_group_api_id", "canvas_api_id", "canvas_variation_api_id", "canvas_step_api_id"),
}
_NOT_PROPERTIES = _IDENTITY | _DROPPED
_ADVERTISING = {"google_ad_id": "adid", "ios_idfa": "idfa"}


def to_event(record: Record) -> Record:
    """An Amplitude event for an `email.Open` or a `CustomEvent`."""
    properties = {k: v for k, v in record.items() if v is not None and k not in _NOT_PROPERTIES}
    event = {
        "event_type": "[Appboy] Email Open",
        "time": record["time"] * 1000,
        "insert_id": record["id"],
        "library": "Braze",
        "event_properties": properties,
    }
    for ours, theirs in (("user_id", "external_user_id"), ("device_id", "device_id")):
        if record.get(theirs):
            event[ours] = record[theirs]
    if "properties" in record:
        _as_custom(record, event, properties)
    return event


def _as_custom(record: Record, event: Record, properties: Record) -> None:
    event["event_type"] = f"[Appboy] [Custom Event] {record['name']}"
    properties.pop("name", None)
    if (key := _ADVERTISING.get(record["ad_id_type"])) and record["ad_id"]:
        event[key] = record["ad_id"]
    text = properties.pop("properties", None)
    if text:
        for name, value in json.loads(text).items():
            if value is not None:
                properties[f"[Custom event property] {name}"] = value


def files(folder: str) -> list[Path]:
    """The Avro files below *folder*, in the order of their keys."""
    return sorted(Path(folder).rglob("*.avro"))


def batches(events: Iterator[Record]) -> Iterator[list[Record]]:
    """The events in lists as long as a request may be."""
    while batch := list(islice(events, BATCH)):
        yield batch


def events_of(path: Path) -> Iterator[Record]:
    """The events that one file becomes."""
    with path.open("rb") as stream:
        for record in reader(stream):
            assert isinstance(record, dict)
            yield to_event(record)
