from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from braze_etl.engine.forecast import Window


def window(now: datetime, *, oldest: float | None, listed: float | None) -> Window:
    def ago(hours: float | None) -> datetime | None:
        return None if hours is None else now - timedelta(hours=hours)

    return Window(timedelta(hours=48), timedelta(hours=24), ago(oldest), ago(listed))


@pytest.mark.parametrize(
    ("oldest", "listed", "left", "at_risk"),
    [
        (None, 0, 48.0, False),
        (3, 0, 45.0, False),
        (23.9, 0, 24.1, False),
        (24, 0, 24.0, True),
        (50, 0, -2.0, True),
        (None, 30, 18.0, True),
        (3, 30, 18.0, True),
        (None, None, None, True),
    ],
)
def test_the_older_of_backlog_and_listing_counts(
    now: datetime, oldest: float | None, listed: float | None, left: float | None, at_risk: bool
) -> None:
    measured = window(now, oldest=oldest, listed=listed)
    assert measured.hours_left(now) == left
    assert measured.at_risk(now) is at_risk


def test_a_clock_behind_the_data_takes_no_time_away(now: datetime) -> None:
    assert window(now, oldest=-1, listed=0).hours_left(now) == 48.0
