"""Index lists of a 400: every rule on event fields, amplitude.md 1.3 and 1.4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from braze_etl.sandbox.amplitude.events import OPERATIONS, RESERVED_EVENT_TYPES, RESERVED_IDS, validate
from braze_etl.sandbox.amplitude.replies import Limits

GOOD: list[dict[str, Any]] = [
    {"device_id": "device-1", "user_id": None},
    {"time": 1_790_000_000_000, "session_id": -1, "event_id": 3},
    {"event_properties": {"list": [1, {"a": None}], "none": None}},
    {"user_properties": {"plain": 1}},
    {"event_type": "$identify", "user_properties": {"$set": {"a": 1}, "$unset": {"b": "-"}}},
    {"event_type": "$identify", "user_properties": {"plain": 1}},
    {"event_type": "$groupidentify", "groups": {"org": "acme"}, "group_properties": {"$set": {"a": 1}}},
    {"event_type": "$groupidentify", "user_id": None, "groups": {"org": "acme"}, "group_properties": {}},
    {"groups": {"a": ["1", "2", "3", "4", "5", "6"], "b": "7", "c": "8", "d": "9", "e": "10"}},
    {"price": 3, "quantity": 2, "revenue": -19.99, "currency": "EUR", "productId": "p", "revenueType": "r"},
    {"location_lat": 1, "location_lng": 1.5},
    {"plan": {"branch": "b", "source": "s", "version": "1"}, "ingestion_metadata": {"source_name": "braze"}},
    {"$skip_user_properties_sync": True},
    {"user_id": "x" * 2_000},
    {"user_id": "Nobody", "device_id": "0000-00"},
]

INVALID: list[tuple[str, dict[str, Any]]] = [
    ("user_id", {"user_id": 1234567}),
    ("user_id", {"user_id": "Anonymous"}),
    ("device_id", {"device_id": "00000000-0000-0000-0000-000000000000"}),
    ("event_type", {"event_type": 5}),
    ("time", {"time": "2026-10-01T00:00:00Z"}),
    ("time", {"time": 1_790_000_000_000.0}),
    ("time", {"time": True}),
    ("session_id", {"session_id": "1"}),
    ("event_id", {"event_id": 1.5}),
    ("quantity", {"quantity": 1.0}),
    ("price", {"price": "19.99"}),
    ("revenue", {"revenue": False}),
    ("location_lat", {"location_lat": "1"}),
    ("insert_id", {"insert_id": 7}),
    ("app_version", {"app_version": 2.1}),
    ("event_properties", {"event_properties": []}),
    ("event_properties", {"event_properties": "{}"}),
    ("user_properties", {"user_properties": "x"}),
    ("user_properties", {"user_properties": {"$set": {"a": 1}}}),
    ("user_properties", {"event_type": "$identify", "user_properties": {"$set": {}, "plain": 1}}),
    ("group_properties", {"group_properties": {"a": 1}}),
    ("groups", {"groups": dict.fromkeys("abcdef", "x")}),
    ("groups", {"groups": {"a": [str(number) for number in range(11)]}}),
    ("plan", {"plan": {"version": 1}}),
    ("ingestion_metadata", {"ingestion_metadata": {"source_name": 1}}),
    ("$skip_user_properties_sync", {"$skip_user_properties_sync": "true"}),
]


@pytest.mark.parametrize("keys", GOOD)
def test_a_good_event_passes(keys: dict[str, Any], make_event: Callable[..., dict[str, Any]]) -> None:
    found = validate([make_event(**keys)], 5, Limits())
    assert found.refusal(only_first=False) is None
    assert not found.unknown


@pytest.mark.parametrize(("field", "keys"), INVALID)
def test_an_invalid_value_is_listed_by_field(
    field: str, keys: dict[str, Any], make_event: Callable[..., dict[str, Any]]
) -> None:
    reply = validate([make_event(), make_event(**keys)], 1, Limits()).refusal(only_first=False)
    assert reply is not None
    assert reply.body == {
        "code": 400,
        "error": "Invalid field values on some events",
        "events_with_invalid_fields": {field: [1]},
        "events_with_missing_fields": {},
        "events_with_invalid_id_lengths": {},
    }


@pytest.mark.parametrize("word", sorted(RESERVED_IDS))
@pytest.mark.parametrize("key", ["user_id", "device_id"])
def test_a_reserved_id_is_invalid_in_any_case_and_not_too_short_as_well(
    word: str, key: str, make_event: Callable[..., dict[str, Any]]
) -> None:
    found = validate([make_event(**{key: word.upper()})], 5, Limits())
    assert found.invalid == {key: [0]}
    assert not found.short


@pytest.mark.parametrize("name", sorted(RESERVED_EVENT_TYPES))
def test_a_reserved_event_type_is_invalid(name: str, make_event: Callable[..., dict[str, Any]]) -> None:
    assert validate([make_event(event_type=name)], 5, Limits()).invalid == {"event_type": [0]}


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_user_property_operations_belong_to_identify(
    operation: str, make_event: Callable[..., dict[str, Any]]
) -> None:
    properties = {operation: {"a": 1}}
    events = [make_event(user_properties=properties)]
    events.append(make_event(event_type="$identify", user_properties=properties))
    assert validate(events, 5, Limits()).invalid == {"user_properties": [0]}


@pytest.mark.parametrize(
    ("field", "event"),
    [
        ("event_type", {"user_id": "user-1"}),
        ("event_type", {"user_id": "user-1", "event_type": ""}),
        ("event_type", {"user_id": "user-1", "event_type": None}),
        ("user_id", {"event_type": "x"}),
        ("user_id", {"event_type": "x", "user_id": None, "device_id": None}),
    ],
)
def test_a_missing_field_of_an_event_is_listed(field: str, event: dict[str, Any]) -> None:
    reply = validate([event], 5, Limits()).refusal(only_first=False)
    assert reply is not None
    assert reply.body["error"] == "Request missing required field"
    assert "missing_field" not in reply.body  # that would mean a field of the request
    assert reply.body["events_with_missing_fields"] == {field: [0]}


def test_one_id_that_is_too_short_refuses_even_next_to_a_good_one(
    make_event: Callable[..., dict[str, Any]],
) -> None:
    events = [make_event(), make_event(user_id="1234"), make_event(device_id="abc")]
    reply = validate(events, 5, Limits()).refusal(only_first=False)
    assert reply is not None
    assert reply.body["error"] == "Invalid id length for user_id or device_id"
    assert reply.body["events_with_invalid_id_lengths"] == {"user_id": [1], "device_id": [2]}
    assert validate(events, 3, Limits()).refusal(only_first=False) is None


@pytest.mark.parametrize(("only_first", "listed"), [(False, [0, 2]), (True, [0])])
def test_all_bad_events_are_listed_or_the_first_of_each_field(
    *, only_first: bool, listed: list[int], make_event: Callable[..., dict[str, Any]]
) -> None:
    events = [make_event(time="x"), make_event(), make_event(time="x", event_id="y")]
    reply = validate(events, 5, Limits()).refusal(only_first=only_first)
    assert reply is not None
    assert reply.body["events_with_invalid_fields"] == {"time": listed, "event_id": [2]}


@pytest.mark.parametrize("key", ["event_properties", "user_properties"])
def test_nesting_beyond_the_limit_is_invalid(key: str, make_event: Callable[..., dict[str, Any]]) -> None:
    limits = Limits(max_depth=2)
    events = [make_event(**{key: {"a": {"b": 1}}}), make_event(**{key: {"a": {"b": {}}}})]
    assert validate(events, 5, limits).invalid == {key: [1]}


def test_unknown_keys_are_counted_and_tolerated(make_event: Callable[..., dict[str, Any]]) -> None:
    found = validate([make_event(colour="red"), make_event(colour="blue", extra={})], 5, Limits())
    assert found.unknown == {"colour": 2, "extra": 1}
    assert found.refusal(only_first=False) is None
