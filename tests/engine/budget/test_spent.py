from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from braze_etl.engine.budget import Spent

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SPENT = Spent("2026-11", 100, "2026-11-24", 10)


def test_months_and_days_are_those_of_utc() -> None:
    east = datetime(2026, 12, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert Spent.nothing(east) == Spent("2026-11", 0, "2026-11-30", 0)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (datetime(2026, 11, 24, 23, 59, 59, tzinfo=UTC), SPENT),
        (datetime(2026, 11, 25, tzinfo=UTC), Spent("2026-11", 100, "2026-11-25", 0)),
        (datetime(2026, 12, 1, tzinfo=UTC), Spent("2026-12", 0, "2026-12-01", 0)),
        (datetime(2027, 11, 24, tzinfo=UTC), Spent("2027-11", 0, "2027-11-24", 0)),
    ],
)
def test_a_new_day_begins_with_nothing_and_so_does_a_new_month(moment: datetime, expected: Spent) -> None:
    assert SPENT.at(moment) == expected


def test_what_is_on_its_way_at_midnight_counts_for_the_new_day() -> None:
    assert SPENT.at(NOON + timedelta(days=1), outstanding=7) == Spent("2026-11", 100, "2026-11-25", 7)


def test_a_clock_that_was_set_back_forgets_nothing() -> None:
    assert SPENT.at(NOON - timedelta(days=40)) == SPENT


def test_the_state_gives_back_what_it_was_told() -> None:
    assert Spent.from_note(SPENT.as_note(), NOON) == SPENT
    assert Spent.from_note({}, NOON) == Spent("2026-11", 0, "2026-11-24", 0)
