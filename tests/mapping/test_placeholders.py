from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product
from typing import Any

import pytest

from braze_etl.mapping.mapper import mapper_for
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.placeholders import PlaceholderRules
from braze_etl.mapping.presets import load_preset
from braze_etl.model import Reason, Record, Verdict

HOUR = 1_790_000_000.0
YEAR = 365 * 86_400
OPEN = "users.messages.email.Open"
IDENTIFIERS: list[dict[str, Any]] = [
    {"id": "7d0c-filler-events"},
    {"id": "0a1b2c3d-0000-4000-8000-00000000000a-api"},
    {"campaign_id": "0a1b2c3d-0000-4000-8000-00000000000a-filler-events"},
    {"id": "f47ac10b-58cc-4372-a567-0e02b2c3d479"},
    {"send_id": "f1234567"},
    {"dispatch_id": "12345qwert"},
    {"timezone": "0a1b2c3d-0000-4000-8000-00000000000a"},
    {"campaign_id": "CAMPAIGN_ID"},
    {"external_user_id": "external_user_id"},
]
"""What no real record has: each is proof beside one more marker."""
HINTS: list[dict[str, Any]] = [
    {"campaign_name": "Test Campaign: spring"},
    {"canvas_step_name": "Test Step 2"},
    {"carrier": "Carrier"},
    {"browser": "browser"},
    {"time": HOUR + YEAR + 1},
    {"message_extras": "message_extras"},
    {"button_id": "button_id"},
]
"""What real records have too."""


@pytest.fixture(scope="module")
def rules() -> PlaceholderRules:
    return load_preset("native").test_events


@pytest.mark.parametrize("marker", [*IDENTIFIERS, *HINTS], ids=str)
def test_one_marker_alone_never_filters(transform: Any, record: Record, marker: Record) -> None:
    assert isinstance(transform(OPEN, record | marker), dict)


@pytest.mark.parametrize(("one", "other"), list(product(IDENTIFIERS, HINTS)), ids=str)
def test_a_placeholder_among_the_identifiers_and_one_more_marker_make_a_test_event(
    transform: Any, record: Record, one: Record, other: Record
) -> None:
    outcome = transform(OPEN, record | one | other)
    assert isinstance(outcome, Verdict)
    assert outcome.reason is Reason.TEST_EVENT


@pytest.mark.parametrize(("one", "other"), list(combinations(IDENTIFIERS[4:], 2)), ids=str)
def test_two_placeholders_among_the_identifiers_make_a_test_event(
    transform: Any, record: Record, one: Record, other: Record
) -> None:
    assert isinstance(transform(OPEN, record | one | other), Verdict)


@pytest.mark.parametrize(("one", "other"), list(combinations(HINTS, 2)), ids=str)
def test_names_carriers_browsers_and_clocks_never_make_a_real_event_a_test(
    transform: Any, record: Record, one: Record, other: Record
) -> None:
    assert isinstance(transform(OPEN, record | one | other), dict)


def test_all_that_real_records_may_have_at_once_is_no_test(transform: Any, record: Record) -> None:
    real: Record = record | {
        "campaign_name": "Test Campaign",
        "canvas_name": "Test Canvas",
        "message_variation_name": "Test Variation",
        "name": "name",
        "carrier": "Carrier",
        "browser": "Browser",
        "time": HOUR + 2 * YEAR,
        "external_user_id": "joe-api",
        "send_id": "spring-filler-events",
    }
    assert isinstance(transform(OPEN, real), dict)


@pytest.mark.parametrize(
    ("fields", "is_test"),
    [
        ({"id": "f47ac10b-api"}, True),
        ({"campaign_name": "campaign_name", "message_extras": "message_extras"}, False),
        ({"campaign_name": "CAMPAIGN_NAME", "message_extras": "Message_Extras", "url": "url"}, True),
        ({"campaign_name": "campaign_name", "message_extras": "message_extras", "carrier": "Carrier"}, False),
        ({"external_user_id": "external_user_id", "device_id": "device_id"}, True),
        ({"time": HOUR + YEAR, "send_id": "f1234"}, False),
        ({"timezone": "x" * 36, "send_id": "f1234"}, False),
        ({"campaign_id": "campaign id", "message_extras": "message-extras"}, False),
    ],
)
def test_three_fields_that_hold_their_own_names_are_proof_too(
    transform: Any, record: Record, fields: Record, is_test: bool
) -> None:
    assert isinstance(transform(OPEN, record | fields), Verdict) is is_test


def test_a_test_event_is_known_before_its_missing_identity(transform: Any) -> None:
    outcome = transform(OPEN, {"id": "x-api", "send_id": "f1234", "time": None})
    assert outcome.reason is Reason.TEST_EVENT


def test_the_verdict_names_the_markers(transform: Any, record: Record) -> None:
    outcome = transform(OPEN, record | {"dispatch_id": "12345qwert", "send_id": "send_id"})
    assert "dispatch_id" in outcome.detail
    assert "send_id" in outcome.detail


def test_test_events_are_sent_on_request(transform: Any, record: Record) -> None:
    fields = {"dispatch_id": "12345qwert", "send_id": "f1234"}
    assert isinstance(transform(OPEN, record | fields, test_events="send"), dict)


def test_far_future_is_measured_from_the_files_own_hour(transform: Any, record: Record) -> None:
    late = record | {"send_id": "f1234", "time": HOUR + YEAR + 60}
    assert isinstance(transform(OPEN, late, horizon=HOUR), Verdict)
    assert isinstance(transform(OPEN, late, horizon=HOUR + 60), dict)


@pytest.mark.parametrize("value", [None, 7, True, ["12345qwert"], float("nan"), {"a": 1}])
def test_values_of_any_type_are_looked_at_without_harm(rules: PlaceholderRules, value: Any) -> None:
    fields = ("id", "send_id", "dispatch_id", "timezone", "time", "campaign_name")
    assert rules.found(dict.fromkeys(fields, value), [], HOUR) == []


def test_how_many_markers_must_meet_is_data(mapping: EventMapping, record: Record) -> None:
    plan = mapping.plan(OPEN)
    assert plan.placeholders is not None
    stricter = mapper_for(replace(plan, placeholders=replace(plan.placeholders, needed=3)))
    two = record | {"dispatch_id": "12345qwert", "send_id": "f1234"}
    assert isinstance(stricter(two, HOUR), dict)
    assert isinstance(stricter(two | {"id": "x-api"}, HOUR), Verdict)
