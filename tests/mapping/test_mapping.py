from __future__ import annotations

import pickle

import pytest

from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import Reason

WITHHELD = [
    "agentconsole.AgentExecuted",
    "agentconsole.ToolInvocation",
    "agentconsole.NeverSeen",
    "contentoptimizer.ComponentStore",
    "users.profile.Update",
    "users.UserDeleteRequest",
    "users.UserOrphan",
    "users.RandomBucketNumberUpdate",
]


@pytest.mark.parametrize("event_type", WITHHELD)
def test_what_the_connector_does_not_send_is_withheld(mapping: EventMapping, event_type: str) -> None:
    assert mapping.plan(event_type).withheld is Reason.NOT_IN_NATIVE


def test_only_those_listed_types_are_withheld(mapping: EventMapping) -> None:
    withheld = {name for name in mapping.event_types if mapping.plan(name).withheld}
    assert withheld == set(WITHHELD) - {"agentconsole.NeverSeen"}


@pytest.mark.parametrize("glob", ["agentconsole.AgentExecuted", "agentconsole.*", "*"])
def test_mapping_send_asks_for_withheld_types_by_name_or_glob(glob: str) -> None:
    mapping = EventMapping.load(MappingSection(send=(glob,)))
    assert mapping.plan("agentconsole.AgentExecuted").withheld is None
    assert mapping.plan("users.UserOrphan").withheld is (None if glob == "*" else Reason.NOT_IN_NATIVE)


def test_unlisted_types_are_sent_or_held() -> None:
    held = EventMapping.load(MappingSection(unknown_types="hold"))
    assert EventMapping.load(MappingSection()).plan("users.messages.kakao.Send").withheld is None
    assert held.plan("users.messages.kakao.Send").withheld is Reason.HELD
    assert held.plan("users.messages.email.Open").withheld is None
    assert held.plan("users.messages.email.Retry").withheld is None
    assert held.plan("agentconsole.NeverSeen").withheld is Reason.NOT_IN_NATIVE


def test_a_held_type_that_mapping_send_names_is_sent() -> None:
    mapping = EventMapping.load(MappingSection(unknown_types="hold", send=("users.messages.kakao.*",)))
    assert mapping.plan("users.messages.kakao.Send").withheld is None


def test_plans_are_made_once_and_survive_pickling(mapping: EventMapping) -> None:
    plan = mapping.plan("users.messages.email.Open")
    assert mapping.plan("users.messages.email.Open") is plan
    copy = pickle.loads(pickle.dumps(mapping))
    assert copy.fingerprint == mapping.fingerprint
    for event_type in (*mapping.event_types, "users.messages.kakao.Send"):
        assert copy.plan(event_type) == mapping.plan(event_type)


def test_the_fingerprint_changes_with_every_option() -> None:
    options = [
        MappingSection(),
        MappingSection(unknown_types="hold"),
        MappingSection(unknown_fields="drop"),
        MappingSection(send=("users.UserOrphan",)),
        MappingSection(test_events="send"),
        MappingSection(identity={"anonymous": "braze_id"}),
    ]
    prints = {EventMapping.load(option).fingerprint for option in options}
    prints.add(EventMapping.load(MappingSection(), min_id_length=1).fingerprint)
    assert len(prints) == len(options) + 1
    assert EventMapping.load(MappingSection()).fingerprint in prints


def test_a_new_type_with_braces_in_its_name_is_no_template(mapping: EventMapping) -> None:
    plan = mapping.plan("users.messages.{odd}")
    assert plan.naming.fields == ()
    assert plan.name == "[Appboy] Odd"
