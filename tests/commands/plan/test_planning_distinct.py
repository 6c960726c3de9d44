from __future__ import annotations

from braze_etl.commands.plan.planning import EXACT_UP_TO, STANDARD_ERROR, Distinct


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
