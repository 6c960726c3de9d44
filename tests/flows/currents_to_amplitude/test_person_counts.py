from __future__ import annotations

import pickle
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
    Users,
)
from braze_etl.model import Event

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
        most = max(most, len(busy._days[DAY]._counts))
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


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.integers(0, 30), max_size=30), max_size=6), st.integers(0, 20))
def test_users_that_were_counted_in_parts_are_those_that_were_counted_at_once(
    parts: list[list[int]], exact_up_to: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(people, "EXACT_UP_TO", exact_up_to)
        merged, at_once = Users(), Users()
        for part in parts:
            of_part = Users()
            for number in part:
                event: Event = {"user_id": f"user-{number}"}
                of_part.add(f"type-{number % 2}", event)
                at_once.add(f"type-{number % 2}", event)
            merged.merge(pickle.loads(pickle.dumps(of_part)))
    for mine, theirs in zip(
        [merged.total, *dict(sorted(merged.by_event_type.items())).values()],
        [at_once.total, *dict(sorted(at_once.by_event_type.items())).values()],
        strict=True,
    ):
        assert (mine.count, mine.exact) == (theirs.count, theirs.exact)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), max_size=200), max_size=6),
    st.integers(1, 10),
    st.integers(1, 60),
)
def test_ids_that_were_counted_in_parts_keep_the_bound(
    parts: list[list[tuple[int, int]]], counters: int, bound: int
) -> None:
    """Parts follow each other by their hours: the last day of one may be the first of the next."""
    in_order = sorted(each for part in parts for each in part)
    true: Counter[tuple[str, str]] = Counter()
    merged, at = BusyIds(bound), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(people, "COUNTERS", counters)
        patch.setattr(people, "_ROOM", counters)
        for part in parts:
            of_part = BusyIds(bound)
            for offset, number in in_order[at : at + len(part)]:
                of_part.add(DAY + timedelta(days=offset), {"user_id": str(number)})
                true[(DAY + timedelta(days=offset)).isoformat(), str(number)] += 1
            merged.merge(pickle.loads(pickle.dumps(of_part)))
            at += len(part)
    found = {day["day"]: day for day in days(merged)}
    assert list(found) == sorted(found)
    for day, line in found.items():
        events = sum(n for (of_day, _), n in true.items() if of_day == day)
        assert line["missed_at_most"] <= events / (counters + 1)
        for each in line["ids"]:
            exact = true[day, each["id"]]
            assert bound < each["events"] <= exact <= each["events"] + line["missed_at_most"]
    for (day, id_), events in true.items():
        missed = found[day]["missed_at_most"] if day in found else len(in_order) / (counters + 1)
        if events - missed > bound:
            assert id_ in {each["id"] for each in found[day]["ids"]}
