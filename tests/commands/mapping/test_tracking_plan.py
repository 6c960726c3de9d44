from __future__ import annotations

from typing import Any

import pytest

from braze_etl.commands.mapping.tracking_plan import PlannedEvent, TrackingPlan, kind_of, planned
from braze_etl.mapping.mapper import mapper_for
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from fixtures.generate import described_types, sample_record

PURCHASE = "users.behaviors.Purchase"


def plan_with(**options: Any) -> TrackingPlan:
    return planned(EventMapping.load(MappingSection.model_validate(options)))


def of_type(plan: TrackingPlan, event_type: str) -> PlannedEvent:
    (event,) = (event for event in plan.events.values() if event_type in event.types)
    return event


@pytest.mark.parametrize("preset", ["native", "raw"])
def test_the_plan_of_a_type_is_what_a_complete_record_becomes(preset: str) -> None:
    mapping = EventMapping.load(MappingSection(preset=preset, test_events="send", send=("*",)))
    plan = planned(mapping)
    for event_type in described_types():
        record = sample_record(event_type) | {"external_user_id": "somebody-else"}
        event = mapper_for(mapping.plan(event_type))(record, 1_790_812_800.0)
        assert isinstance(event, dict)
        found = plan.find(event["event_type"])
        assert found is not None
        properties = event["event_properties"]
        missing = [name for name in found.properties if name not in properties]
        unplanned = [
            name
            for name in properties
            if name not in found.properties and not name.startswith(found.prefixes)
        ]
        assert (event_type, missing, unplanned) == (event_type, [], [])
        for name, each in found.properties.items():
            assert each.kind in ("any", kind_of([properties[name]])), (event_type, name)


def test_what_is_not_sent_is_not_planned_and_named_with_its_reason() -> None:
    plan = plan_with(unknown_types="hold", choose={"exclude": ["users.behaviors.*"]})
    assert plan.not_sent["[Appboy] User Orphan"] == "not_in_native"
    assert plan.not_sent["[Appboy] Purchase"] == "not_selected"
    assert "[Appboy] Purchase" not in plan.events
    unselected = planned(EventMapping.load(MappingSection()), lambda event_type: event_type != PURCHASE)
    assert unselected.not_sent["[Appboy] Purchase"] == "source.event_types"


def test_events_that_a_field_names_are_found_by_their_pattern() -> None:
    plan = plan_with()
    found = plan.find("[Appboy] [Custom Event] ate {a} cake")
    assert found is not None
    assert found.types == ("users.behaviors.CustomEvent",)
    assert plan.find("[Custom Event] ate cake") is None
    assert plan.find("[Appboy] [Custom Event] ") is None


def test_two_types_of_one_name_are_one_event_with_the_properties_of_both() -> None:
    sends = ["users.messages.rcs.Send", "users.messages.email.Send"]
    plan = plan_with(rules=[{"events": sends, "name": "Message Sent", "set": {"is_message": True}}])
    event = plan.events["Message Sent"]
    assert set(event.types) == set(sends)
    assert {"email_address", "to_phone_number"} <= event.properties.keys()
    assert event.properties["is_message"].kind == "boolean"
    assert event.properties["campaign_id"].fields == ("campaign_id",)


def test_a_hashed_field_is_text_and_a_mapped_one_may_be_anything() -> None:
    plan = plan_with(
        rules=[{"events": PURCHASE, "values": {"currency": {"EUR": 1}}}],
        privacy={"hash": ["ad_tracking_enabled"], "drop": ["device_model"], "salt": "s"},
    )
    properties = of_type(plan, PURCHASE).properties
    assert properties["ad_tracking_enabled"].kind == "string"
    assert properties["currency"].kind == "any"
    assert "device_model" not in properties


def test_only_what_happens_to_a_message_on_its_way_is_inactive() -> None:
    plan = plan_with()
    inactive = {name for event in plan.events.values() if event.is_inactive for name in event.types}
    passive = [
        "email.Send",
        "email.Delivery",
        "email.Bounce",
        "email.SoftBounce",
        "sms.Abort",
        "sms.Rejection",
    ]
    assert {f"users.messages.{name}" for name in passive} <= inactive
    active = ["email.Open", "email.Click", "sms.InboundReceive", "whatsapp.Read", "pushnotification.Open"]
    assert not {f"users.messages.{name}" for name in active} & inactive
    assert not any(name.startswith("users.behaviors.") for name in inactive)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", None], "string"),
        ([1, 2.5], "number"),
        ([True], "boolean"),
        ([["a", None], []], "string[]"),
        ([[1]], "any"),
        ([{}], "any"),
        (["a", 1], "any"),
        ([], "any"),
    ],
)
def test_kinds_are_told_by_values(values: list[Any], kind: str) -> None:
    assert kind_of(values) == kind
