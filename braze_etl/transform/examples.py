"""The tests that stand in a mapping: a record, and the event that it must become."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from braze_etl.config import Example
from braze_etl.model import Event, Record, Verdict
from braze_etl.transform.mapper import mapper_for
from braze_etl.transform.mapping import Mapping

_FILLED_IN = {
    "id": "11111111-2222-4333-8444-555555555555",
    "user_id": "64d2f0c1a2b3c4d5e6f70819",
    "external_user_id": "customer-0001",
}
_TIME = 1_790_000_000


def outcome_of(example: Example, mapping: Mapping) -> Event | Verdict:
    """Map the record of an example; what every record has and this one is not given is filled in."""
    record: Record = {**_FILLED_IN, "time": _TIME, **example.record}
    time = record["time"]
    horizon = time if isinstance(time, int | float) else _TIME
    return mapper_for(mapping.plan(example.event_type))(record, horizon)


def differences(example: Example, mapping: Mapping) -> list[str]:
    """Say where the outcome is not the one that the example states; empty when it is.

    Of an event, the keys that are stated are compared, and of `event_properties` the properties that are.
    """
    outcome = outcome_of(example, mapping)
    if isinstance(outcome, Verdict):
        if example.not_sent == outcome.reason.value:
            return []
        return [f"not sent: {outcome.reason.value} ({outcome.detail})"]
    if example.event is None:
        return [f"sent as {outcome['event_type']!r}, and must not be: {example.not_sent}"]
    return list(_compared(example.event, outcome))


def _compared(stated: dict[str, Any], event: Event) -> Iterator[str]:
    for key, value in stated.items():
        if key == "event_properties" and isinstance(value, dict):
            properties = event["event_properties"]
            yield from (
                _said(name, properties.get(name), want)
                for name, want in value.items()
                if properties.get(name) != want
            )
        elif event.get(key) != value:
            yield _said(key, event.get(key), value)


def _said(name: str, found: Any, wanted: Any) -> str:
    return f"{name} is {found!r}, and must be {wanted!r}"
