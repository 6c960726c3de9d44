"""The preset against the documentation of the native connector: every name, every property."""

from __future__ import annotations

from typing import Any

import pytest

from braze_etl.mapping.mapper import mapper_for
from braze_etl.mapping.mapping import EventMapping, TypePlan
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import Record

# The documented titles of LINE and RCS are bare (`Send`) and clash with each other; ours carry the channel.
CHANNEL_NAMES = {
    "users.messages.line.Abort": "LINE Abort",
    "users.messages.line.Click": "LINE Click",
    "users.messages.line.Send": "LINE Send",
    "users.messages.rcs.Abort": "RCS Abort",
    "users.messages.rcs.Click": "RCS Click",
    "users.messages.rcs.Delivery": "RCS Delivery",
    "users.messages.rcs.InboundReceive": "RCS Inbound Receive",
    "users.messages.rcs.Read": "RCS Read",
    "users.messages.rcs.Rejection": "RCS Rejection",
    "users.messages.rcs.Send": "RCS Send",
}
# The documentation's stand-in for the name, in the form of ours.
TEMPLATES = {"users.behaviors.CustomEvent": "[Custom Event] {name}"}

# Fields that Currents has added since the properties were documented (currents.md, changelog of versions 11
# and 12); they are sent, as no rule drops them.
WHEN_ADDED = {
    "is_unique": "version 11, 2026-08-05",
    "send_time": "version 12, 2026-09-02",
    "has_url_parameters": "version 12, 2026-09-02",
    "link_aliasing_enabled": "version 12, 2026-09-02",
    "message_extras": "version 12, 2026-09-02, of the aborts",
}
_ABORTS = ("email", "line", "pushnotification", "rcs", "sms", "webhook", "whatsapp")
_MAILS = ("Bounce", "Deferral", "Delivery", "MarkAsSpam", "Open", "SoftBounce")
_UNIQUE = (
    "banner.Click", "banner.Impression", "contentcard.Click", "contentcard.Dismiss", "contentcard.Impression",
    "featureflag.Impression",
)  # fmt: skip
ADDED_SINCE = {
    "users.messages.email.Click": {"send_time", "has_url_parameters", "link_aliasing_enabled"},
    **{f"users.messages.email.{name}": {"send_time"} for name in _MAILS},
    **{f"users.messages.{channel}.Abort": {"message_extras"} for channel in _ABORTS},
    **{f"users.messages.{name}": {"is_unique"} for name in _UNIQUE},
}

IDENTITY = {
    "external_user_id": "customer-0001",
    "device_id": "device-0001",
    "user_id": "64d2f0c1a2b3c4d5e6f70819",
}
EVERYTHING = EventMapping.load(MappingSection(send=("*",)))
DOCUMENTED = [name for name in EVERYTHING.event_types if EVERYTHING.plan(name).documented]


def test_the_preset_lists_the_types_of_the_documentation(native: dict[str, Any]) -> None:
    assert set(EVERYTHING.event_types) == set(native)
    documented = {name for name, facts in native.items() if facts["properties_basis"] != "none documented"}
    assert set(DOCUMENTED) == documented


def test_every_name_is_the_documented_title_with_the_prefix(native: dict[str, Any]) -> None:
    expected = {name: facts["title"] for name, facts in native.items()} | CHANNEL_NAMES | TEMPLATES
    names = {name: EVERYTHING.plan(name).name for name in native}
    assert names == {name: f"[Appboy] {title}" for name, title in expected.items()}
    assert len(set(names.values())) == len(names)


def documented_record(facts: dict[str, Any], fields: dict[str, Any]) -> Record:
    """Fill every field that the documentation or the catalogue knows of a type."""
    sources = {source or name for name, source in facts["event_properties"].items()}
    names = sources | set(facts["dropped_fields"]) | set(fields)
    texts = {"id": "a1", "name": "Signed up"} | ({"product_id": "SKU-7"} if "product_id" in names else {})
    return dict.fromkeys(sorted(names), 7) | IDENTITY | texts | {"time": 1_790_000_123}


@pytest.mark.parametrize("event_type", DOCUMENTED)
def test_the_properties_are_exactly_the_documented_ones(
    event_type: str, native: dict[str, Any], catalogue: dict[str, Any]
) -> None:
    facts = native[event_type]
    record = documented_record(facts, catalogue[event_type]["fields"])
    if "properties" in record:
        record["properties"] = '{"{key}": 1}'
    if event_type != "users.behaviors.CustomEvent":
        del record["name"]
    event = mapper_for(EVERYTHING.plan(event_type))(record, 1_790_000_000.0)
    assert isinstance(event, dict)
    properties = set(event["event_properties"])
    assert properties - ADDED_SINCE.get(event_type, set()) == set(facts["event_properties"])
    assert ADDED_SINCE.get(event_type, set()) <= properties


def properties_of(plan: TypePlan) -> set[str]:
    return {name for field in plan.rules.known for name, _ in plan.targets(field)}.union(plan.fixed)


def test_the_59_types_whose_properties_were_read_in_the_documentation_differ_by_younger_fields_alone(
    native: dict[str, Any], catalogue: dict[str, Any]
) -> None:
    was_read = [name for name, facts in native.items() if facts["properties_basis"] == "Amplitude tab read"]
    assert len(was_read) == 59
    differing = {}
    for event_type in was_read:
        plan, facts = EVERYTHING.plan(event_type), native[event_type]
        documented = {name for name in facts["event_properties"] if "{key}" not in name}
        if found := properties_of(plan) ^ documented:
            differing[event_type] = found
        assert properties_of(plan).isdisjoint(facts["dropped_fields"])
    assert differing == {name: ADDED_SINCE[name] for name in was_read if name in ADDED_SINCE}
    assert set().union(*differing.values()) == set(WHEN_ADDED)


@pytest.mark.parametrize("event_type", DOCUMENTED)
def test_every_documented_property_counts_as_known(event_type: str, native: dict[str, Any]) -> None:
    plan = EVERYTHING.plan(event_type)
    expected = {name for name in native[event_type]["event_properties"] if "{key}" not in name}
    assert properties_of(plan) - ADDED_SINCE.get(event_type, set()) == expected


def test_what_the_catalogue_knows_of_undocumented_types_counts_as_known(catalogue: dict[str, Any]) -> None:
    strict = EventMapping.load(MappingSection(send=("*",), unknown_fields="drop"))
    for event_type in set(EVERYTHING.event_types) - set(DOCUMENTED):
        for field in catalogue[event_type]["fields"]:
            name = strict.plan(event_type).property_name(field)
            assert name == EVERYTHING.plan(event_type).property_name(field), (event_type, field)
