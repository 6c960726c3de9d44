from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braze_etl.flows.currents_to_amplitude import person_counts as people
from braze_etl.flows.currents_to_amplitude.person_counts import (
    COUNTERS,
    EXACT_UP_TO,
    STANDARD_ERROR,
    BusyIds,
    Distinct,
)

DAY = date(2026, 10, 5)


def counted(number: int) -> Distinct:
    distinct = Distinct()
    for each in range(number):
        distinct.add(f"user-{each}")
        distinct.add(f"user-{each // 2}")
    return distinct


def test_a_few_are_counted_exactly() -> None:
    assert (Distinct().count, Distinct().exact) == (0, True)
    few = counted(EXACT_UP_TO)
    assert (few.count, few.exact) == (EXACT_UP_TO, True)


def test_many_are_estimated_within_the_stated_error() -> None:
    for number in (EXACT_UP_TO + 1, 20_000, 50_000, 100_000):
        many = counted(number)
        assert not many.exact
        assert abs(many.count - number) <= 3 * STANDARD_ERROR * number


def days(busy: BusyIds) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = busy.as_dict()["days"]
    return found


def test_ids_above_the_bound_are_named_by_day_the_busiest_first() -> None:
    busy = BusyIds(10)
    for later, counts in enumerate(
        ({"anna": 11, "bert": 12, "carl": 10}, {"carl": 3}, {"anna": 6, "carl": 11})
    ):
        for id_, number in counts.items():
            for _ in range(number):
                busy.add(DAY + timedelta(days=later), {"user_id": id_})
    assert busy.as_dict() == {
        "flag_above": 10,
        "days": [
            {
                "day": "2026-10-05",
                "missed_at_most": 0,
                "ids": [{"id": "bert", "events": 12}, {"id": "anna", "events": 11}],
            },
            {"day": "2026-10-07", "missed_at_most": 0, "ids": [{"id": "carl", "events": 11}]},
        ],
    }


def test_events_are_counted_by_user_or_else_by_device() -> None:
    busy = BusyIds(1)
    for event in ({"user_id": "anna", "device_id": "d1"}, {"device_id": "d1"}, {"user_id": "anna"}):
        busy.add(DAY, event)
    assert [day["ids"] for day in days(busy)] == [[{"id": "anna", "events": 2}]]


def test_fifty_ids_of_a_day_are_named() -> None:
    busy = BusyIds(1)
    for number in range(80):
        for _ in range(100 - number):
            busy.add(DAY, {"user_id": f"user{number:03}"})
    (day,) = days(busy)
    assert [each["events"] for each in day["ids"]] == list(range(100, 50, -1))


def test_memory_is_bounded_and_the_busiest_is_found_among_a_hundred_thousand() -> None:
    busy, most = BusyIds(2_000), 0
    for batch in range(100):
        for number in range(1000):
            busy.add(DAY, {"user_id": f"user-{batch}-{number}"})
        for _ in range(50):
            busy.add(DAY, {"user_id": "everybody"})
        most = max(most, len(busy._counts))
    assert most <= 4 * COUNTERS
    (day,) = days(busy)
    (everybody,) = day["ids"]
    assert 5000 - day["missed_at_most"] <= everybody["events"] <= 5000
    assert day["missed_at_most"] <= 105_000 / COUNTERS


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 40), max_size=700), st.integers(1, 10), st.integers(1, 60))
def test_a_count_is_never_too_high_and_too_low_by_what_was_missed_at_most(
    numbers: list[int], counters: int, bound: int
) -> None:
    busy = BusyIds(bound)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(people, "COUNTERS", counters)
        patch.setattr(people, "_ROOM", counters)
        for number in numbers:
            busy.add(DAY, {"user_id": str(number)})
    true = Counter(map(str, numbers))
    for day in days(busy):
        missed = day["missed_at_most"]
        assert missed <= len(numbers) / (counters + 1)
        for each in day["ids"]:
            assert bound < each["events"] <= true[each["id"]] <= each["events"] + missed
        named = {each["id"] for each in day["ids"]}
        assert {id_ for id_, number in true.items() if number - missed > bound} <= named
