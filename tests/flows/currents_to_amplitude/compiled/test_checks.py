"""The checks of generated code against the rules that they stand for: never more lenient."""

from __future__ import annotations

import pytest

from braze_etl.flows.currents_to_amplitude.compiled.generator import bad_id, doubts
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection

PLAN = EventMapping.load(MappingSection()).plan("users.messages.email.Open")
GOOD = {
    "doubtful": False,
    "f_id": "0a1b2c3d-0000-4000-8000-00000000000a",
    "f_time": 1_790_000_123,
    "f_send_id": "q4-promotion",
    "f_dispatch_id": "8f2c61d94be07a35",
    "f_timezone": "Europe/Berlin",
    "latest": 1_800_000_000,
}
FIELDS = ["id", "time", "send_id", "dispatch_id", "timezone"]


def in_doubt(**values: object) -> bool:
    return any(eval(expression, GOOD | values) for expression in doubts(PLAN, FIELDS))


@pytest.mark.parametrize(
    "value",
    [
        "customer-0001",
        "abcde",
        "abcd",
        "",
        "NULL",
        "Undefined",
        "[REDACTED]",
        "[redacted]",
        "x" * 1024,
        "x" * 1025,
        "00000000-0000-0000-0000-000000000000",
    ],
)
def test_an_id_is_bad_where_the_rules_find_fault_with_it(value: str) -> None:
    rules = PLAN.identity
    names = {"value": value, "REFUSED": rules.refused}
    assert eval(bad_id(rules, "value"), names) == (value == rules.masked or bool(rules.fault(value)))


def test_a_plain_record_is_not_in_doubt() -> None:
    assert not in_doubt()
    assert not in_doubt(f_send_id=None, f_dispatch_id=None, f_timezone=None)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("doubtful", True),
        ("f_id", None),
        ("f_id", ""),
        ("f_id", "f47ac10b-58cc-4372-a567-0e02b2c3d479"),
        ("f_time", None),
        ("f_time", -1),
        ("f_time", 1_800_000_001),
        ("f_send_id", "f123456789"),
        ("f_dispatch_id", "12345qwert"),
        ("f_timezone", "0b9a3c52-7d1e-4f60-a8c4-5e2f91d7b603"),
    ],
)
def test_one_marker_or_one_gap_puts_a_record_in_doubt(variable: str, value: object) -> None:
    assert in_doubt(**{variable: value})


def test_test_events_that_are_sent_have_no_markers() -> None:
    plan = EventMapping.load(MappingSection(test_events="send")).plan("users.messages.email.Open")
    assert not any("f47ac10b" in expression for expression in doubts(plan, FIELDS))
