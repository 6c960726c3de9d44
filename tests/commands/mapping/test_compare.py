from __future__ import annotations

from typing import Any

import pytest

from braze_etl.commands.mapping.compare import compare
from braze_etl.commands.mapping.taxonomy import Taxonomy
from braze_etl.commands.mapping.tracking_plan import planned
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection

OPEN = "[Appboy] Email Open"


def a_project(**options: Any) -> Taxonomy:
    """A project whose taxonomy is just what the mapping with these options sends."""
    theirs = Taxonomy(is_complete=True)
    for event in planned(EventMapping.load(MappingSection.model_validate(options))).events.values():
        if event.pattern is None and event.is_expected:
            for name, each in event.properties.items():
                theirs.event(event.name).note(name, each.kind)
            theirs.event(event.name)
    return theirs


def compared(theirs: Taxonomy, **options: Any) -> dict[str, Any]:
    return compare(planned(EventMapping.load(MappingSection.model_validate(options))), theirs)


def test_a_project_that_has_just_our_names_does_not_differ() -> None:
    found = compared(a_project())
    assert not found["differs"]
    assert found["events"] == {}


def test_names_of_either_side_are_listed_and_the_near_ones_told() -> None:
    theirs = a_project()
    theirs.events["[Appboy] Send"] = theirs.events.pop("[Appboy] LINE Send")
    theirs.event("[Appboy] News Card Seen")
    found = compared(theirs)
    assert found["only_ours"] == ["[Appboy] LINE Send"]
    assert found["only_theirs"] == ["[Appboy] News Card Seen", "[Appboy] Send"]
    (near,) = found["near"]
    assert (near["ours"], near["theirs"]) == ("[Appboy] LINE Send", "[Appboy] Send")


def test_properties_are_compared_event_by_event() -> None:
    theirs = a_project()
    properties = theirs.events[OPEN].properties
    del properties["machine_open"]
    properties["dispatchId"] = properties.pop("dispatch_id")
    properties["esp"] = {"string"}
    properties["user_agent"] = {"number"}
    found = compared(theirs)["events"]
    assert list(found) == [OPEN]
    assert found[OPEN]["only_ours"] == ["dispatch_id", "machine_open"]
    assert found[OPEN]["only_theirs"] == ["dispatchId"]
    assert [near["differs_in"] for near in found[OPEN]["near"]] == ["spaces and punctuation"]
    assert found[OPEN]["types"] == {"user_agent": {"ours": "string", "theirs": "number"}}


def test_the_products_own_events_are_no_difference() -> None:
    theirs = a_project()
    theirs.event("Song Played")
    found = compared(theirs)
    assert found["others"] == ["Song Played"]
    assert not found["differs"]


@pytest.mark.parametrize("name", ["[Appboy] Song Played", "[Braze Custom Event] x", "Song Played By Braze"])
def test_events_that_come_from_braze_are_told_by_their_name_or_their_library(name: str) -> None:
    theirs = a_project()
    theirs.event(name).is_brazes = name == "Song Played By Braze"
    assert compared(theirs)["only_theirs"] == [name]


def test_custom_events_of_theirs_are_ours_whatever_they_are_called() -> None:
    theirs = a_project()
    custom = theirs.event("[Appboy] [Custom Event] ate cake")
    for name in (
        planned(EventMapping.load(MappingSection())).events["[Appboy] [Custom Event] {name}"].properties
    ):
        custom.note(name, "any")
    custom.note("[Custom event property] flavour", "string")
    assert not compared(theirs)["differs"]
    custom.note("flavour", "string")
    assert list(compared(theirs)["events"]) == ["[Appboy] [Custom Event] ate cake"]


def test_what_the_configuration_does_not_send_is_said_with_its_reason_and_is_no_difference() -> None:
    found = compared(a_project(), choose={"exclude": ["users.messages.email.Open"]})
    assert found["not_sent"] == {OPEN: "not_selected"}
    assert not found["differs"]


def test_types_that_braze_no_longer_writes_may_be_there_or_not() -> None:
    theirs = a_project()
    theirs.event("[Appboy] News Feed Card Click").note("anything", "string")
    assert not compared(theirs)["differs"]


def test_what_exported_events_do_not_show_may_simply_not_have_happened() -> None:
    theirs = Taxonomy()
    theirs.observe({"event_type": OPEN, "library": "Braze", "event_properties": {"campaign_id": "c"}})
    found = compared(theirs)
    assert "[Appboy] Email Click" in found["only_ours"]
    assert "campaign_name" in found["events"][OPEN]["only_ours"]
    assert not found["differs"]
    theirs.observe({"event_type": OPEN, "library": "Braze", "event_properties": {"another": 1}})
    assert compared(theirs)["differs"]


def test_another_preset_shows_in_every_name() -> None:
    found = compared(a_project(), preset="raw")
    assert "users.messages.email.Open" in found["only_ours"]
    assert OPEN in found["only_theirs"]
