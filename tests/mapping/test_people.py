"""Whom an event belongs to, by the mapping's `identity` section, its lists and its tables."""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from braze_etl.mapping.identity import People
from braze_etl.mapping.mapping import EventMapping as Rules
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import Event, Reason, Record, Verdict
from tests.people import suppressing

OPEN = "users.messages.email.Open"
CUSTOM = "users.behaviors.CustomEvent"
BRAZE = "64d2f0c1a2b3c4d5e6f70819"
NOBODY = {"external_user_id": None, "device_id": None}
ANONYMOUS = {"external_user_id": None, "device_id": "device-0001"}


@dataclass(frozen=True)
class Table:
    """A table that is no file."""

    ids: MappingType[str, str]

    def find(self, key: str) -> str | None:
        return self.ids.get(key)


def ids_or_reason(outcome: Event | Verdict) -> Any:
    if isinstance(outcome, Verdict):
        return outcome.reason.value
    return {key: outcome[key] for key in ("user_id", "device_id") if key in outcome}


BOTH = {"user_id": "customer-0001", "device_id": "device-0001"}
WAYS: list[tuple[str, Record, Any]] = [
    ("{}", {}, BOTH),
    ("{anonymous: device}", ANONYMOUS, {"device_id": "device-0001"}),
    ("{anonymous: device}", NOBODY, "no_identity"),
    ("{anonymous: drop}", {}, BOTH),
    ("{anonymous: drop}", ANONYMOUS, "no_identity"),
    ("{anonymous: drop}", {**ANONYMOUS, "device_id": "[REDACTED]"}, "no_identity"),
    ("{anonymous: braze_id}", ANONYMOUS, {"device_id": "device-0001"}),
    ("{anonymous: braze_id}", NOBODY, {"device_id": f"braze:{BRAZE}"}),
    ("{anonymous: braze_id}", {**NOBODY, "user_id": None}, "no_identity"),
    ("{anonymous: braze_id}", {**NOBODY, "user_id": "[REDACTED]"}, "redacted_identity"),
    ("{user_prefix: a-}", {}, {**BOTH, "user_id": "a-customer-0001"}),
    ("{device_prefix: d-}", {}, {**BOTH, "device_id": "d-device-0001"}),
    ("{user_prefix: acme-}", {"external_user_id": "7"}, {"user_id": "acme-7", "device_id": "device-0001"}),
    ("{user_prefix: a-}", {"external_user_id": "7"}, "invalid_user_id"),
    ("{user_prefix: acme-}", {"external_user_id": "null"}, "invalid_user_id"),
    ("{user_prefix: acme-}", {"external_user_id": "x" * 1020}, "invalid_user_id"),
    ("{device_prefix: d-}", {**ANONYMOUS, "device_id": "abc"}, {"device_id": "d-abc"}),
    ("{device_prefix: d-}", {**ANONYMOUS, "device_id": "ab"}, "invalid_device_id"),
    ("{device_prefix: d-, anonymous: braze_id}", NOBODY, {"device_id": f"d-braze:{BRAZE}"}),
    ("{lower_case: true}", {"external_user_id": "Ann@X"}, {**BOTH, "user_id": "ann@x"}),
    ("{lower_case: true, user_prefix: A-}", {"external_user_id": "Ann"}, {**BOTH, "user_id": "A-ann"}),
    ("{lower_case: true}", {"device_id": "DEVICE"}, {"user_id": "customer-0001", "device_id": "DEVICE"}),
    ("{shared: [customer-0001]}", {}, "shared_id"),
    ("{shared: customer-0001}", {"external_user_id": "Customer-0001"}, {**BOTH, "user_id": "Customer-0001"}),
    ("{shared: [device-0001]}", {}, {"user_id": "customer-0001"}),
    ("{shared: [device-0001]}", ANONYMOUS, "shared_id"),
    ("{shared: [device-0001], anonymous: braze_id}", ANONYMOUS, "shared_id"),
]  # fmt: skip


@pytest.mark.parametrize(("identity", "fields", "expected"), WAYS)
def test_the_identity_section_says_whose_event_it_is(
    mapped: Any, identity: str, fields: Record, expected: Any
) -> None:
    assert ids_or_reason(mapped(f"identity: {identity}", OPEN, fields)) == expected


TABLE = Table({"customer-0001": "crm-1", BRAZE: "crm-2", "short": "x", "word": "null"})
Key = Literal["external_user_id", "user_id"]
LOOKUPS: list[tuple[Key, str, Record, Any]] = [
    ("external_user_id", "pass", {}, {"user_id": "crm-1", "device_id": "device-0001"}),
    ("external_user_id", "pass", {"external_user_id": "other-1"}, {**BOTH, "user_id": "other-1"}),
    ("external_user_id", "filter", {"external_user_id": "other-1"}, "unknown_user"),
    ("external_user_id", "quarantine", {"external_user_id": "other-1"}, "invalid_user_id"),
    ("external_user_id", "filter", ANONYMOUS, {"device_id": "device-0001"}),
    ("external_user_id", "filter", {"external_user_id": "[REDACTED]"}, "redacted_identity"),
    ("external_user_id", "filter", {"external_user_id": "short"}, "invalid_user_id"),
    ("external_user_id", "filter", {"external_user_id": "word"}, "invalid_user_id"),
    ("user_id", "pass", {}, {"user_id": "crm-2", "device_id": "device-0001"}),
    ("user_id", "pass", ANONYMOUS, {"user_id": "crm-2", "device_id": "device-0001"}),
    ("user_id", "pass", NOBODY, {"user_id": "crm-2"}),
    ("user_id", "pass", {"user_id": "new"}, BOTH),
    ("user_id", "pass", {**NOBODY, "user_id": "new"}, "no_identity"),
    ("user_id", "filter", {**ANONYMOUS, "user_id": "new"}, "unknown_user"),
    ("user_id", "filter", {"user_id": "new"}, "unknown_user"),
    ("user_id", "quarantine", {"user_id": "new"}, "invalid_user_id"),
    ("user_id", "filter", {"user_id": None}, BOTH),
    ("user_id", "filter", {**NOBODY, "user_id": None}, "no_identity"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "missing", "fields", "expected"), LOOKUPS)
def test_a_table_gives_the_user_id(
    mapped: Any, key: Key, missing: Any, fields: Record, expected: Any
) -> None:
    people = People(table=TABLE, key=key, missing=missing)
    assert ids_or_reason(mapped("", OPEN, fields, people)) == expected


def test_what_a_table_gives_is_changed_like_any_id(mapped: Any) -> None:
    people = People(table=Table({"customer-0001": "CRM"}))
    event = mapped("identity: {user_prefix: p-, lower_case: true}", OPEN, {}, people)
    assert event["user_id"] == "p-crm"


@pytest.mark.parametrize(
    ("fields", "is_sent"),
    [
        ({}, True),
        ({"external_user_id": "customer-0002"}, False),
        ({"external_user_id": "Customer-0002"}, True),
        ({"device_id": "device-0002"}, False),
        ({**ANONYMOUS, "device_id": "device-0002"}, False),
        ({"user_id": "braze-0002"}, False),
        ({**ANONYMOUS, "user_id": "braze-0002"}, False),
    ],
)
@pytest.mark.parametrize("identity", ["{}", "{anonymous: drop}", "{user_prefix: p-, lower_case: true}"])
def test_nothing_is_sent_of_people_on_the_list_under_any_of_their_ids(
    mapped: Any, fields: Record, identity: str, *, is_sent: bool
) -> None:
    people = People(suppressed=suppressing("customer-0002", "device-0002", "braze-0002"))
    outcome = mapped(f"identity: {identity}", OPEN, fields, people)
    anonymous_dropped = "drop" in identity and fields.get("external_user_id", "") is None
    expected = Reason.NO_IDENTITY if anonymous_dropped else Reason.SUPPRESSED
    assert isinstance(outcome, dict) if is_sent else outcome.reason is expected


STAGES: list[tuple[Reason, Record]] = [
    (Reason.NOT_SELECTED, {"app_id": "test-app"}),
    (Reason.TEST_EVENT, {"id": "f47ac10b-filler-events"}),
    (Reason.SUPPRESSED, {"user_id": "braze-0002"}),
    (Reason.SHARED_ID, {"external_user_id": "shared-0001"}),
    (Reason.UNKNOWN_USER, {"external_user_id": "ab"}),
    (Reason.FROM_AMPLITUDE, {"name": "cohort entered"}),
    (Reason.INVALID_USER_ID, {"external_user_id": "short"}),
    (Reason.INVALID_EVENT, {"time": None}),
]
"""What brings a record under each reason, in the order of checking."""
FULL = """
choose: {exclude: [{where: {app_id: test-app}}]}
loop_guard: {names: cohort entered}
identity: {shared: [shared-0001]}
"""


@pytest.mark.parametrize("first", range(len(STAGES)))
def test_of_several_reasons_the_first_in_the_order_of_the_contract_counts(mapped: Any, first: int) -> None:
    fields: Record = {"name": "joined"}
    for _, stage in reversed(STAGES[first:]):
        fields |= stage
    table = Table({"customer-0001": "crm-00001", "shared-0001": "crm-00002", "short": "x"})
    people = People(suppressed=suppressing("braze-0002"), table=table, missing="filter")
    assert mapped(FULL, CUSTOM, fields, people).reason is STAGES[first][0]


@pytest.mark.parametrize("person", [NOBODY, {"external_user_id": "ab"}, {"external_user_id": "[REDACTED]"}])
def test_an_event_from_amplitude_is_filtered_also_where_its_id_is_bad(mapped: Any, person: Record) -> None:
    outcome = mapped(FULL, CUSTOM, {"name": "cohort entered", **person})
    expected = Reason.NO_IDENTITY if person is NOBODY else Reason.FROM_AMPLITUDE
    assert outcome.reason is expected


def test_a_type_that_is_withheld_is_so_before_anything_else_and_a_held_one_after_the_choice(
    mapped: Any,
) -> None:
    mapping = "{unknown_types: hold, choose: {exclude: [{where: {app_id: test-app}}]}}"
    test = {"app_id": "test-app", "id": "f47ac10b-filler-events"}
    assert mapped(mapping, "users.UserOrphan", test).reason is Reason.NOT_IN_NATIVE
    assert mapped(mapping, "users.new.Thing", test).reason is Reason.NOT_SELECTED
    assert mapped(mapping, "users.new.Thing", {**test, "app_id": "a"}).reason is Reason.HELD


def test_lists_and_tables_are_no_part_of_the_fingerprint_and_travel_with_the_plan() -> None:
    people = People(table=TABLE)
    with_people, without = Rules.load(MappingSection(), people), Rules.load(MappingSection())
    assert with_people.fingerprint == without.fingerprint
    assert with_people.plan(OPEN).identity.people is people
