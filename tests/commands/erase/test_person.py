from __future__ import annotations

from typing import Any

import orjson
import pytest

from braze_etl.commands.erase.erase import Person
from braze_etl.mapping.identity import People
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection


class Table:
    def find(self, key: str) -> str | None:
        return {"anna-ext": "1001-amp", "anna-old": "1001-amp"}.get(key)


def person(id_: str, *, table: bool = False, **identity: Any) -> Person:
    section = MappingSection.model_validate({"identity": identity})
    people = People(table=Table() if table else None)
    rules = EventMapping.load(section, people, min_id_length=1).plan("").identity
    return Person(id_, rules)


@pytest.mark.parametrize(
    "record",
    [
        {"external_user_id": "anna-1"},
        {"external_user_id": None, "device_id": "anna-1"},
        {"user_id": "anna-1", "external_user_id": "someone else"},
        {"push_token_device_id": "anna-1"},
        {"email_address": "anna-1"},
        {"properties": '{"friend": {"id": "anna-1"}}'},
        {"properties": '{"friends": ["x", "anna-1"]}'},
        {"url": "https://shop.example/?user=anna-1&x=1"},
        {"tags": [None, "anna-1"]},
    ],
)
def test_a_record_with_the_id_in_any_field_is_theirs(record: dict[str, Any]) -> None:
    assert person("anna-1").are_in(record)


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"external_user_id": "anna-10", "device_id": "x-anna-1", "user_id": "anna-1-x"},
        {"external_user_id": "ANNA-1"},
        {"properties": "{not json: anna"},
        {"time": 1, "clicked": True, "price": 1.0},
    ],
)
def test_a_record_of_somebody_else_is_not(record: dict[str, Any]) -> None:
    assert not person("anna-1").are_in(record)


SMITH = "smith@example.com"
OTHERS = ("john.smith@example.com", "john+smith@example.com", "smith@example.com.au", "o'smith@example.com")


@pytest.mark.parametrize(
    "other", [*OTHERS, "a%smith@example.com", "smith@example.com@relay", "x@smith@example.com"]
)
def test_an_address_that_holds_another_is_of_somebody_else(other: str) -> None:
    smith = person(SMITH)
    for record in (
        {"external_user_id": other},
        {"email_address": other},
        {"properties": f'{{"email": "{other}", "note": "from {other}"}}'},
        {"message_body": f"Write to {other}."},
        {"message_body": other},
    ):
        assert not smith.are_in(record)
    assert smith.blot_out(f"bad id {other}") == f"bad id {other}"


@pytest.mark.parametrize(
    "field", ["email_address", "email", "E-Mail", "push_token_device_id", "userId", "phones"]
)
def test_a_field_of_ids_or_addresses_is_compared_as_a_whole(field: str) -> None:
    smith = person(SMITH)
    for theirs in (SMITH, [None, SMITH]):
        assert smith.are_in({field: theirs})
        assert smith.are_in({"properties": orjson.dumps({field: theirs}).decode()})
    for other in (f"work/{SMITH}", f"{SMITH}:2", f"<{SMITH}>"):
        assert not smith.are_in({field: other})
        assert not smith.are_in({"properties": orjson.dumps({field: other}).decode()})


@pytest.mark.parametrize(
    "text",
    [
        "Write to smith@example.com.",
        "Write to smith@example.com. Or call.",
        "Write to smith@example.com...",
        "(smith@example.com.)",
        "mailto:smith@example.com?subject=x",
        "'smith@example.com', \"smith@example.com\"",
        "{smith@example.com is no JSON",
    ],
)
def test_a_name_is_found_in_a_text_whatever_stands_around_it(text: str) -> None:
    smith = person(SMITH)
    assert smith.are_in({"message_body": text})
    assert smith.are_in({"properties": orjson.dumps({"note": text}).decode()})
    assert SMITH not in smith.blot_out(text)


def test_a_key_within_json_may_be_the_name() -> None:
    assert person(SMITH).are_in({"properties": '{"smith@example.com": {"seen": 1}}'})


def test_a_short_id_is_no_word_of_a_text() -> None:
    someone = person("1")
    assert not someone.are_in({"message_body": "take 1", "external_user_id": "bert"})
    assert someone.are_in({"external_user_id": "1"})
    assert someone.are_in({"properties": '{"customer": 1}'})


def test_whoever_is_known_by_the_id_in_amplitude_is_found_by_that() -> None:
    record = {"external_user_id": "anna-ext"}
    assert person("1001-amp", table=True).are_in(record)
    assert not person("1001-amp").are_in(record)
    assert person("shop:anna", user_prefix="shop:", lower_case=True).are_in({"external_user_id": "Anna"})
    anonymous = {"external_user_id": None, "user_id": "64f0"}
    assert person("braze:64f0", anonymous="braze_id").are_in(anonymous)


def test_another_id_of_the_same_amplitude_user_is_the_same_person() -> None:
    assert person("anna-ext", table=True).are_in({"external_user_id": "anna-old"})


def test_names_are_the_id_and_those_it_is_sent_under() -> None:
    assert person("anna-ext", table=True).names == {"anna-ext", "1001-amp"}
    prefixed = person("Anna", user_prefix="u:", device_prefix="d:", lower_case=True, anonymous="braze_id")
    assert prefixed.names == {"Anna", "u:anna", "d:Anna", "d:braze:Anna"}


def test_a_text_loses_the_name_and_nothing_else() -> None:
    anna = person("anna-ext", table=True)
    assert anna.blot_out("anna-ext, 'anna-ext', anna-extra") == "[erased], '[erased]', anna-extra"
    assert anna.blot_out("HTTP 400: bad id 1001-amp") == "HTTP 400: bad id [erased]"
    assert person("a.b*").blot_out("a.b* axb* (a.b*)") == "[erased] axb* ([erased])"
