from __future__ import annotations

import pytest

from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection

DROPS = [
    "canvas_step_message_variation_id", "sdk_version", "carrier", "resolution", "country", "gender",
    "language", "timezone", "sending_ip", "button_action_type", "button_string", "phone_number",
    "app_group_api_id", "canvas_api_id", "canvas_variation_api_id", "canvas_step_api_id",
]  # fmt: skip


@pytest.fixture(scope="module")
def dropping() -> EventMapping:
    return EventMapping.load(MappingSection(unknown_fields="drop"))


@pytest.mark.parametrize("field", ["id", "time", "user_id", "external_user_id", "device_id"])
def test_identity_time_and_id_are_never_properties(mapping: EventMapping, field: str) -> None:
    for event_type in (*mapping.event_types, "users.messages.kakao.Send"):
        assert mapping.plan(event_type).property_name(field) is None


@pytest.mark.parametrize("field", DROPS)
def test_types_that_go_by_rule_drop_the_common_drops(mapping: EventMapping, field: str) -> None:
    assert mapping.plan("users.messages.email.Retry").property_name(field) is None
    assert mapping.plan("users.messages.kakao.Send").property_name(field) is None


@pytest.mark.parametrize(
    ("event_type", "field", "name"),
    [
        ("users.messages.line.Send", "timezone", "timezone"),
        ("users.messages.email.Deferral", "timezone", "timezone"),
        ("users.messages.email.Open", "timezone", None),
        ("users.messages.email.Open", "carrier", None),
        ("users.messages.inappmessage.Abort", "version", None),
        ("users.messages.inappmessage.Abort", "browser", None),
        ("users.messages.email.Open", "browser", "browser"),
        ("users.messages.contentcard.Click", "content_card_id", "card_id"),
        ("users.messages.kakao.Send", "content_card_id", "card_id"),
        ("users.messages.inappmessage.Click", "card_id", "card_id"),
        ("users.behaviors.CustomEvent", "name", None),
        ("users.behaviors.CustomEvent", "properties", None),
        ("users.behaviors.Purchase", "price", None),
        ("users.behaviors.Purchase", "product_id", None),
        ("users.behaviors.Purchase", "currency", "currency"),
        ("users.behaviors.Purchase", "ad_id", "ad_id"),
        ("users.messages.email.Open", "price", "price"),
        ("users.messages.kakao.Send", "name", "name"),
        ("users.messages.email.Open", "never_seen", "never_seen"),
    ],
)
def test_a_field_becomes_a_property_under_its_own_or_its_new_name(
    mapping: EventMapping, event_type: str, field: str, name: str | None
) -> None:
    assert mapping.plan(event_type).property_name(field) == name


def test_fields_that_nobody_has_seen_can_be_dropped(dropping: EventMapping) -> None:
    plan = dropping.plan("users.messages.email.Open")
    assert plan.property_name("never_seen") is None
    assert plan.property_name("machine_open") == "machine_open"
    assert dropping.plan("users.messages.email.Retry").property_name("retry_log") == "retry_log"
    assert dropping.plan("users.messages.email.Retry").property_name("machine_open") is None


def test_a_new_type_keeps_the_fields_that_other_types_have(dropping: EventMapping) -> None:
    plan = dropping.plan("users.messages.kakao.Send")
    assert plan.property_name("campaign_id") == "campaign_id"
    assert plan.property_name("kakao_channel") is None


def test_the_name_of_a_custom_event_shows_its_field(mapping: EventMapping) -> None:
    assert mapping.plan("users.behaviors.CustomEvent").name == "[Appboy] [Custom Event] {name}"
    assert mapping.plan("users.messages.email.Open").name == "[Appboy] Email Open"


def test_dropped_fields_do_not_count_as_properties(mapping: EventMapping) -> None:
    for event_type in (*mapping.event_types, "users.messages.kakao.Send"):
        plan = mapping.plan(event_type)
        assert not any(map(plan.targets, plan.rules.dropped))
