from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from braze_etl.commands.mapping.compare import compare
from braze_etl.commands.mapping.taxonomy import COLUMNS, Taxonomy, read_csv, write_taxonomy
from braze_etl.commands.mapping.tracking_plan import planned
from braze_etl.errors import UsageError
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection


def exported(**options: Any) -> str:
    stream = io.StringIO()
    write_taxonomy(planned(EventMapping.load(MappingSection.model_validate(options))), stream)
    return stream.getvalue()


def read(text: str) -> Taxonomy:
    taxonomy = Taxonomy()
    read_csv(io.StringIO(text), "plan.csv", taxonomy)
    return taxonomy


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"preset": "raw"},
        {"send": ["*"], "privacy": {"hash": ["pii"], "salt": "s"}},
        {"rules": [{"name": "Braze: {title}", "rename": {"*": "braze {field}"}, "set": {'a, "b"': 1}}]},
    ],
)  # fmt: skip
def test_what_is_exported_does_not_differ_from_the_mapping(options: dict[str, Any]) -> None:
    plan = planned(EventMapping.load(MappingSection.model_validate(options)))
    found = compare(plan, read(exported(**options)))
    assert not found["differs"]
    assert (found["only_ours"], found["only_theirs"]) == ([], [])
    assert (found["others"], found["events"]) == ([], {})


def test_sends_are_inactive_and_opens_are_active_and_properties_stand_below_their_event() -> None:
    rows = list(csv.DictReader(io.StringIO(exported())))
    assert tuple(rows[0]) == COLUMNS
    activity = {row["Object Name"]: row["Event Activity"] for row in rows if row["Object Type"] == "Event"}
    assert activity["[Appboy] Email Send"] == activity["[Appboy] SMS Abort"] == "Inactive"
    assert activity["[Appboy] Email Open"] == activity["[Appboy] Purchase"] == "Active"
    start = next(n for n, row in enumerate(rows) if row["Object Name"] == "[Appboy] Email Click") + 1
    below = {row["Event Property Name"]: row for row in rows[start : start + 40] if not row["Object Type"]}
    assert below["url"]["Property Value Type"] == "string"
    assert below["is_suspected_bot_click"]["Property Value Type"] == "boolean"
    assert below["suspected_bot_click_reason"]["Property Is Array"] == "True"


def test_names_that_nobody_knows_and_retired_types_are_not_exported() -> None:
    assert "Custom Event" not in exported()
    assert "News Feed" not in exported()


DOWNLOAD = """\
Action,Object Type,Object Name,Event Schema Status,Property Type,Property Group Names,Event Property Name,Property Value Type,Property Is Array
IGNORE,Property Group,Common,,,,,,
,,,,Event Property,,app_id,string,FALSE
IGNORE,Event,[Appboy] Email Open,LIVE,,,,,
,,,,Event Property Group,Common,,,
,,,,Event Property,,machine_open,boolean,FALSE
,,,,Event Property,,links,string,TRUE
,,,,Event Property,,whatever,any,
IGNORE,Event,Old,DELETED,,,,,
,,,,Event Property,,nothing,string,
IGNORE,Custom Event,Combined,LIVE,,,,,
,,,,Event Property,,nothing,string,
"""  # noqa: E501 - a line of a file


@pytest.mark.parametrize("begin", ["", "\ufeff"])
def test_a_download_of_amplitudes_is_read_with_its_groups(begin: str) -> None:
    taxonomy = read(begin.encode().decode("utf-8-sig") + DOWNLOAD)
    assert taxonomy.is_complete
    assert {name: event.properties for name, event in taxonomy.events.items()} == {
        "[Appboy] Email Open": {
            "app_id": {"string"},
            "machine_open": {"boolean"},
            "links": {"string[]"},
            "whatever": set(),
        }
    }


def test_a_header_in_other_letters_is_understood() -> None:
    text = "object type,Object name,Event property name\nEvent,Login,\n,,method\n"
    assert list(read(text).events["Login"].properties) == ["method"]


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2\n", "Action,Property Type,Property Name\n,User Property,age\n"]
)
def test_what_is_no_taxonomy_of_events_is_said_to_be_none(text: str) -> None:
    with pytest.raises(UsageError, match=r"plan\.csv is no taxonomy of events") as raised:
        read(text)
    assert "not that of user properties" in raised.value.remedy
