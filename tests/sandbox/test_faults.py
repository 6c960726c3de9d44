"""Which request meets which fault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from braze_etl.sandbox.faults import Answer, Conditions, Fault, Faults, RefuseGzip, RequestFacts, Rule

FAULT = Fault(Answer(503))
EVENTS: Sequence[Any] = (
    {"user_id": "user-1", "event_type": "users.purchase", "insert_id": "a"},
    {"user_id": "user-2", "event_type": "opened", "insert_id": "b"},
    "no event at all",
)


def hit(when: Conditions, requests: int = 10, times: int | None = None, **facts: Any) -> list[int]:
    """Return the numbers of the requests that meet one."""
    faults = Faults([Rule(when, FAULT, times)])
    asked = RequestFacts(**{"path": "/batch", "read_events": lambda: EVENTS, **facts})
    return [number for number in range(1, requests + 1) if faults.next(asked) is FAULT]


@pytest.mark.parametrize(
    ("when", "numbers"),
    [
        (Conditions(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (Conditions(request=3), [3]),
        (Conditions(every=4), [4, 8]),
        (Conditions(first=2), [1, 2]),
        (Conditions(after=8), [9, 10]),
        (Conditions(after=2, first=4), [3, 4]),
        (Conditions(path="/2/*"), []),
        (Conditions(path="/batch", request=1), [1]),
    ],
)
def test_conditions_on_number_and_path_must_all_hold(when: Conditions, numbers: list[int]) -> None:
    assert hit(when) == numbers


@pytest.mark.parametrize(
    ("when", "meets"),
    [
        (Conditions(event_type="*purchase"), True),
        (Conditions(event_type="purchase"), False),
        (Conditions(user_id="user-2"), True),
        (Conditions(insert_id="b", user_id="user-2"), True),
        (Conditions(insert_id="b", user_id="user-1"), False),
    ],
)
def test_conditions_on_events_must_hold_for_one_event(when: Conditions, *, meets: bool) -> None:
    assert hit(when, requests=1) == ([1] if meets else [])


def test_events_are_read_only_when_a_rule_looks_at_them() -> None:
    def read() -> Sequence[Any]:
        raise AssertionError("the body was read")

    assert hit(Conditions(request=2), read_events=read) == [2]
    assert hit(Conditions(request=11, user_id="user-1"), read_events=read) == []


def test_a_share_is_about_kept_and_repeats_itself() -> None:
    numbers = hit(Conditions(share=0.1, seed=7), requests=2_000)
    assert 150 < len(numbers) < 250
    assert numbers == hit(Conditions(share=0.1, seed=7), requests=2_000)
    assert numbers != hit(Conditions(share=0.1, seed=8), requests=2_000)
    assert hit(Conditions(share=0.0)) == []
    assert len(hit(Conditions(share=1.0))) == 10


def test_a_rule_is_used_up_after_its_times() -> None:
    assert hit(Conditions(every=2), times=2) == [2, 4]


def test_the_first_rule_that_applies_wins_and_the_next_follows_when_it_is_used_up() -> None:
    second = Fault(Answer(500))
    faults = Faults([Rule(Conditions(), FAULT, 1), Rule(Conditions(), second)])
    facts = RequestFacts("/batch")
    assert [faults.next(facts) for _ in range(3)] == [FAULT, second, second]


def test_gzip_is_refused_to_gzip_only() -> None:
    refuse = Fault(RefuseGzip())
    faults = Faults([Rule(Conditions(), refuse)])
    assert faults.next(RequestFacts("/batch", gzip=True)) is refuse
    assert faults.next(RequestFacts("/batch", gzip=False)) is None


def test_a_script_can_be_restarted() -> None:
    faults = Faults([Rule(Conditions(request=1), FAULT, 1)])
    facts = RequestFacts("/batch")
    assert [faults.next(facts), faults.next(facts)] == [FAULT, None]
    faults.restart()
    assert faults.next(facts) is FAULT


def test_without_rules_nothing_goes_wrong() -> None:
    assert Faults().next(RequestFacts("/batch")) is None
