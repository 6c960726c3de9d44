from __future__ import annotations

from typing import Any

import pytest

from braze_etl.commands.mapping.inspect import list_types, show_type
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection

OPEN = "users.messages.email.Open"
PURCHASE = "users.behaviors.Purchase"
CLICK = "users.messages.contentcard.Click"
EMAIL_CLICK = "users.messages.email.Click"


def mapping_with(**options: Any) -> EventMapping:
    return EventMapping.load(MappingSection.model_validate(options))


def show(event_type: str, **options: Any) -> dict[str, Any]:
    return show_type(mapping_with(**options), event_type, lambda _: True)


def fate(event_type: str, field: str, **options: Any) -> tuple[str, str]:
    found = show(event_type, **options)["fields"][field]
    return ", ".join(found["becomes"]), found["rule"]


def test_every_type_is_listed_with_its_name_and_outcome() -> None:
    types = list_types(mapping_with(), lambda event_type: event_type != PURCHASE)
    assert types[OPEN]["name"] == "[Appboy] Email Open"
    assert types[OPEN]["outcome"] == "sent"
    assert types[OPEN]["properties"] == 26
    assert types["users.UserOrphan"]["outcome"] == "not_in_native"
    assert types[PURCHASE]["outcome"] == "source.event_types"
    assert types["users.messages.newsfeedcard.Click"]["status"] == "retired"


def test_a_type_that_is_sent_on_conditions_is_listed_as_that() -> None:
    machines = {"events": OPEN, "where": {"machine_open": True}}
    types = list_types(mapping_with(choose={"exclude": [machines]}), lambda _: True)
    assert types[OPEN]["conditional"]
    assert not types[PURCHASE]["conditional"]


@pytest.mark.parametrize(
    ("event_type", "field", "becomes", "rule"),
    [
        (OPEN, "campaign_id", "campaign_id", "preset native"),
        (OPEN, "external_user_id", "top level: user_id", "identity"),
        (OPEN, "user_id", "", "identity"),
        (OPEN, "id", "top level: insert_id", "identity"),
        ("users.messages.pushnotification.Open", "button_string", "", "preset native"),
        (CLICK, "content_card_id", "card_id", "preset native"),
        (PURCHASE, "price", "top level: price", "preset native"),
        (PURCHASE, "ad_id", "top level: adid or idfa, ad_id", "preset native"),
        (PURCHASE, "properties", "a property for each key: [Purchase property] <key>", "preset native"),
        ("users.behaviors.CustomEvent", "name", "the event's name", "preset native"),
    ],
)
def test_the_preset_decides_what_a_field_becomes(
    event_type: str, field: str, becomes: str, rule: str
) -> None:
    assert fate(event_type, field) == (becomes, rule)


@pytest.mark.parametrize(
    ("rule", "becomes"),
    [
        ({"drop": "campaign_*"}, ""),
        ({"rename": {"campaign_id": "campaign"}}, "campaign"),
        ({"copy": {"campaign_id": "campaign"}}, "campaign_id, campaign"),
        ({"values": {"campaign_id": {"a": "b"}}}, "campaign_id (its values mapped)"),
    ],
)
def test_a_rule_of_the_mapping_has_the_last_word(rule: dict[str, Any], becomes: str) -> None:
    found, by = fate(OPEN, "campaign_id", rules=[rule])
    assert found == becomes
    assert by == "rule 1"


@pytest.mark.parametrize(
    ("privacy", "field", "becomes", "rule"),
    [
        ({"drop": "email_address"}, "email_address", "", "privacy.drop"),
        ({"hash": "email_address", "salt": "s"}, "email_address", "email_address (hashed)", "privacy.hash"),
        ({"hash": "device_id", "salt": "s"}, "device_id", "top level: device_id (hashed)", "privacy.hash"),
    ],
)  # fmt: skip
def test_privacy_stands_above_all(privacy: dict[str, Any], field: str, becomes: str, rule: str) -> None:
    rules = [{"rename": {"email_address": "email_address"}}]
    assert fate("users.messages.email.Abort", field, privacy=privacy, rules=rules) == (becomes, rule)


def test_an_address_keeps_its_path_where_personal_data_must_not_travel() -> None:
    becomes, rule = fate("users.messages.email.Click", "url", privacy={"drop": "pii"})
    assert (becomes, rule) == ("url (without its query string)", "privacy, group pii")


def test_braze_ids_show_as_devices_where_they_are_used_as_such() -> None:
    becomes, _ = fate(OPEN, "user_id", identity={"anonymous": "braze_id"})
    assert becomes.startswith("top level: device_id, as braze:<user_id>")


def test_conditions_are_shown_with_who_set_them() -> None:
    shown = show(OPEN, choose={"exclude": [{"events": OPEN, "where": {"machine_open": "true"}}]})
    (clause,) = shown["conditions"]["exclude"]
    assert clause["where"] == {"machine_open": ["true"]}
    assert clause["by"]


def test_bounds_of_the_time_are_shown_where_there_are_any() -> None:
    assert show(OPEN)["time"] == {}
    bounds = {"min": "2026-10-01", "max_future": "2d"}
    assert show(OPEN, time=bounds)["time"] == {"min": "2026-10-01T00:00:00Z", "max_future": "2d"}


def test_a_type_that_nobody_knows_goes_by_rule_and_a_misspelt_one_names_the_nearest() -> None:
    shown = show("users.messages.pigeon.Coo")
    assert (shown["name"], shown["outcome"]) == ("[Appboy] Pigeon Coo", "sent")
    assert "fields come from the files" in shown["note"]
    assert show("users.messages.pigeon.Coo", unknown_types="hold")["outcome"] == "held"
    named = show("users.messages.pigeon.Coo", unknown_types="hold", send=["users.messages.pigeon.Coo"])
    assert named["outcome"] == "sent"
    assert f"did you mean {OPEN}?" in show("users.messages.emial.open")["note"]
    assert "did you mean" not in show("zzz")["note"]
    assert show(OPEN)["note"] == ""


@pytest.mark.parametrize("event_type", [OPEN, EMAIL_CLICK])
def test_privacy_is_told_of_the_fields_that_it_changes(event_type: str) -> None:
    shown = show(event_type, privacy={"drop": ["pii"]})["fields"]
    assert shown["external_user_id"]["becomes"] == ["top level: user_id"]
    assert shown["id"]["becomes"] == ["top level: insert_id"]
    assert shown["time"]["becomes"] == ["top level: time"]
    private = [name for name, found in shown.items() if "query string" in ", ".join(found["becomes"])]
    assert private == (["url"] if event_type == EMAIL_CLICK else [])


def test_a_type_without_a_known_schema_is_shown_without_fields() -> None:
    shown = show("users.messages.landingpage.Click")
    assert (shown["status"], shown["fields"]) == ("announced", {})
