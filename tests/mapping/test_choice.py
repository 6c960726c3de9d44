"""Which records are sent: the sections `choose` and `loop_guard`, as they are written."""

from __future__ import annotations

from typing import Any

import pytest

from braze_etl.model import Event, Reason, Record, Verdict

OPEN = "users.messages.email.Open"
CLICK = "users.messages.email.Click"
PUSH = "users.messages.pushnotification.Open"
SEND = "users.messages.sms.Send"
CUSTOM = "users.behaviors.CustomEvent"
PURCHASE = "users.behaviors.Purchase"
FIRST_SESSION = "users.behaviors.app.FirstSession"
LIST_CHANGE = "users.behaviors.subscriptiongroup.StateChange"


def was_sent(outcome: Event | Verdict, reason: Reason = Reason.NOT_SELECTED) -> bool:
    if isinstance(outcome, Verdict):
        assert outcome.reason is reason
        assert outcome.detail
        return False
    return True


BY_TYPE = [
    ("choose: {include: [users.messages.email.Open]}", {OPEN}),
    ("choose: {include: ['users.messages.email.*']}", {OPEN, CLICK}),
    ("choose: {include: ['users.messages.*.Open']}", {OPEN, PUSH}),
    ("choose: {include: [engagement]}", {OPEN, CLICK, PUSH, SEND, LIST_CHANGE}),
    ("choose: {include: [behavior]}", {CUSTOM, PURCHASE, FIRST_SESSION}),
    ("choose: {include: [behavior, users.messages.sms.Send]}", {CUSTOM, PURCHASE, FIRST_SESSION, SEND}),
    ("choose: {exclude: [engagement]}", {CUSTOM, PURCHASE, FIRST_SESSION}),
    ("choose: {exclude: ['*.Send', behavior]}", {OPEN, CLICK, PUSH, LIST_CHANGE}),
    ("choose: {include: [engagement], exclude: ['users.messages.email.*']}", {PUSH, SEND, LIST_CHANGE}),
    ("choose: {include: [{events: engagement}], exclude: [{events: '*.Open'}]}", {CLICK, SEND, LIST_CHANGE}),
    ("choose: {include: [users.messages.email.open]}", set()),
    ("choose: {include: [{events: [engagement, '!users.messages.email.*']}]}", {PUSH, SEND, LIST_CHANGE}),
    ("choose: {include: [{events: ['!engagement']}]}", {CUSTOM, PURCHASE, FIRST_SESSION}),
    ("choose: {exclude: ['!engagement']}", {OPEN, CLICK, PUSH, SEND, LIST_CHANGE}),
]


@pytest.mark.parametrize(("mapping", "sent"), BY_TYPE)
@pytest.mark.parametrize(
    "event_type", [OPEN, CLICK, PUSH, SEND, CUSTOM, PURCHASE, FIRST_SESSION, LIST_CHANGE]
)
def test_types_are_chosen_by_glob_and_group_and_excludes_win(
    mapped: Any, mapping: str, sent: set[str], event_type: str
) -> None:
    assert was_sent(mapped(mapping, event_type, {"name": "x"})) is (event_type in sent)


MACHINE = "choose: {exclude: [{events: users.messages.email.*, where: {machine_open: true}}]}"
ANY_MACHINE = "choose: {exclude: [{where: {machine_open: '*'}}]}"
BOT = "choose: {exclude: [{where: {is_suspected_bot_click: true}}]}"
APPS = "choose: {include: [{where: {app_id: [app-1, app-2]}}]}"
NO_APP = "choose: {exclude: [{where: {app_id: null}}]}"
CAMPAIGNS = "choose: {exclude: [{where: {campaign_id: [c-1, c-2], canvas_id: [null]}}]}"
NAMES = "choose: {include: [{events: users.behaviors.CustomEvent, where: {name: ['app *', '!app debug*']}}]}"
NOT_NAMES = "choose: {include: [{where: {name: '!debug*'}}]}"
NUMBERS = "choose: {exclude: [{where: {price: [0, 9.5]}}]}"
CODES = "choose: {exclude: [{where: {codes: [x1, null]}}]}"
NOT_CODES = "choose: {include: [{where: {codes: ['*', '!x*']}}]}"
KEYS = "choose: {exclude: [{where: {properties.source: [braze, 7, null]}}]}"
EITHER = "choose: {include: [{where: {app_id: app-1}}, {where: {campaign_id: c-1}}]}"
BOTH = """
choose:
  include: [{where: {app_id: app-1}}]
  exclude: [{where: {campaign_id: c-1}}]
"""

BY_FIELD: list[tuple[str, str, Record, bool]] = [
    (MACHINE, OPEN, {"machine_open": True}, False),
    (MACHINE, OPEN, {"machine_open": "true"}, False),
    (MACHINE, OPEN, {"machine_open": "True"}, False),
    (MACHINE, OPEN, {"machine_open": "false"}, True),
    (MACHINE, OPEN, {"machine_open": 1}, True),
    (MACHINE, OPEN, {"machine_open": None}, True),
    (MACHINE, OPEN, {}, True),
    (MACHINE, PUSH, {"machine_open": True}, True),
    (ANY_MACHINE, OPEN, {"machine_open": "Apple"}, False),
    (ANY_MACHINE, OPEN, {"machine_open": None}, True),
    (BOT, CLICK, {"is_suspected_bot_click": True}, False),
    (BOT, CLICK, {"is_suspected_bot_click": "true"}, False),
    (BOT, CLICK, {"is_suspected_bot_click": False}, True),
    (APPS, PUSH, {"app_id": "app-2"}, True),
    (APPS, PUSH, {"app_id": "app-22"}, False),
    (APPS, PUSH, {}, False),
    (NO_APP, PUSH, {"app_id": None}, False),
    (NO_APP, PUSH, {"app_id": ""}, True),
    (NO_APP, PUSH, {"app_id": "null"}, True),
    (CAMPAIGNS, OPEN, {"campaign_id": "c-2"}, False),
    (CAMPAIGNS, OPEN, {"campaign_id": "c-2", "canvas_id": "v-1"}, True),
    (CAMPAIGNS, OPEN, {"campaign_id": "c-3"}, True),
    (NAMES, CUSTOM, {"name": "app opened"}, True),
    (NAMES, CUSTOM, {"name": "app debug on"}, False),
    (NAMES, CUSTOM, {"name": "opened"}, False),
    (NOT_NAMES, CUSTOM, {"name": "debug on"}, False),
    (NOT_NAMES, CUSTOM, {"name": "Debug on"}, True),
    (NUMBERS, PURCHASE, {"price": 0}, False),
    (NUMBERS, PURCHASE, {"price": 0.0}, False),
    (NUMBERS, PURCHASE, {"price": 9.5}, False),
    (NUMBERS, PURCHASE, {"price": "0"}, False),
    (NUMBERS, OPEN, {"price": False}, True),
    (NUMBERS, PURCHASE, {"price": 9}, True),
    (CODES, OPEN, {"codes": ["a", "x1"]}, False),
    (CODES, OPEN, {"codes": ["a", None]}, False),
    (CODES, OPEN, {"codes": ["a"]}, True),
    (CODES, OPEN, {"codes": []}, True),
    (NOT_CODES, OPEN, {"codes": ["a", "b"]}, True),
    (NOT_CODES, OPEN, {"codes": ["a", "x1"]}, False),
    (KEYS, CUSTOM, {"name": "n", "properties": '{"source": "braze"}'}, False),
    (KEYS, CUSTOM, {"name": "n", "properties": '{"source": 7}'}, False),
    (KEYS, CUSTOM, {"name": "n", "properties": '{"source": null}'}, False),
    (KEYS, CUSTOM, {"name": "n", "properties": "{}"}, False),
    (KEYS, CUSTOM, {"name": "n", "properties": "no JSON"}, False),
    (KEYS, CUSTOM, {"name": "n", "properties": '["source"]'}, False),
    (KEYS, CUSTOM, {"name": "n", "properties": None}, False),
    (KEYS, CUSTOM, {"name": "n", "properties": '{"source": "app"}'}, True),
    (KEYS, CUSTOM, {"name": "n", "properties": '{"source": "app", "ratio": NaN}'}, True),
    (EITHER, PUSH, {"app_id": "app-1"}, True),
    (EITHER, PUSH, {"campaign_id": "c-1"}, True),
    (EITHER, PUSH, {"campaign_id": "c-2"}, False),
    (BOTH, PUSH, {"app_id": "app-1"}, True),
    (BOTH, PUSH, {"app_id": "app-1", "campaign_id": "c-1"}, False),
    (BOTH, PUSH, {"campaign_id": "c-2"}, False),
]


@pytest.mark.parametrize(("mapping", "event_type", "fields", "sent"), BY_FIELD)
def test_records_are_chosen_by_conditions_on_their_fields(
    mapped: Any, mapping: str, event_type: str, fields: Record, *, sent: bool
) -> None:
    assert was_sent(mapped(mapping, event_type, fields)) is sent


def test_the_verdict_names_the_selector_that_decided(mapped: Any) -> None:
    assert mapped(MACHINE, OPEN, {"machine_open": "true"}).detail == (
        "excluded by choose.exclude 1 (machine_open: True)"
    )
    assert mapped(APPS, OPEN, {}).detail == "meets no condition of choose.include 1 (app_id: app-1 or app-2)"
    assert mapped("choose: {include: [behavior]}", OPEN, {}).detail == "no choose.include names this type"
    assert mapped("choose: {exclude: ['*.Send', '*.Open']}", OPEN, {}).detail == (
        "excluded by choose.exclude 2 (*.Open)"
    )


def test_a_type_named_without_conditions_is_sent_whole_whatever_other_includes_ask_for(mapped: Any) -> None:
    mapping = "choose: {include: [{where: {app_id: app-1}}, users.messages.email.Open]}"
    assert was_sent(mapped(mapping, OPEN, {}))
    assert not was_sent(mapped(mapping, CLICK, {}))


LOOP = """
loop_guard:
  names: ["[Amplitude] *", cohort entered]
  properties: {source: amplitude, echo: true}
"""


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"name": "[Amplitude] Cohort"}, False),
        ({"name": "A Cohort"}, True),
        ({"name": "cohort entered"}, False),
        ({"name": "opened", "properties": '{"source": "amplitude"}'}, False),
        ({"name": "opened", "properties": '{"echo": "true"}'}, False),
        ({"name": "opened", "properties": '{"echo": true}'}, False),
        ({"name": "opened", "properties": '{"source": "app", "echo": false}'}, True),
        ({"name": "opened"}, True),
    ],
)
def test_custom_events_that_came_from_amplitude_are_not_sent_back(
    mapped: Any, fields: Record, *, sent: bool
) -> None:
    assert was_sent(mapped(LOOP, CUSTOM, fields), Reason.FROM_AMPLITUDE) is sent


def test_other_types_are_not_asked_where_they_came_from(mapped: Any) -> None:
    assert was_sent(mapped(LOOP, PURCHASE, {"name": "cohort entered", "properties": '{"echo": true}'}))
