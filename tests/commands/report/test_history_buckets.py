"""Stretches of time for sums."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braze_etl.commands.report.history import Buckets

START = datetime(2026, 11, 24, 5, 20, tzinfo=UTC)
moments = st.datetimes(
    START.replace(tzinfo=None, year=2025), START.replace(tzinfo=None, year=2027), timezones=st.just(UTC)
)


@pytest.mark.parametrize(
    ("days", "hours"), [(0.1, 1), (5, 1), (7, 2), (30, 6), (60, 12), (100, 24), (366, 168)]
)
def test_the_longer_the_time_the_wider_the_stretches(days: float, hours: int) -> None:
    buckets = Buckets.covering(START, START + timedelta(days=days))
    assert buckets.hours == hours
    assert buckets.count <= 124


@given(moments, moments)
def test_they_cover_the_time_without_a_gap_and_no_more(one: datetime, other: datetime) -> None:
    since, until = min(one, other), max(one, other)
    ends = list(Buckets.covering(since, until))
    assert (ends[0][0], ends[-1][1]) == (since, until)
    assert all(before[1] == after[0] for before, after in pairwise(ends))
    assert all(end.minute == 0 for _, end in ends[:-1])


@given(moments, moments)
def test_none_of_several_is_so_short_that_a_rate_over_it_says_nothing(one: datetime, other: datetime) -> None:
    buckets = Buckets.covering(min(one, other), max(one, other))
    spans = [end - start for start, end in buckets]
    assert len(spans) == 1 or min(spans) >= buckets.width / 2
    assert all(span == buckets.width for span in spans[1:-1])


@given(st.integers(0, 10**9), moments, moments)
def test_what_is_spread_adds_up_whatever_the_clock_did(amount: int, begin: datetime, end: datetime) -> None:
    parts = list(Buckets.covering(START - timedelta(days=9), START).spread(amount, begin, end))
    assert sum(each for _, each in parts) == amount
    assert all(each >= 0 for _, each in parts)


def test_a_long_run_is_spread_by_its_time() -> None:
    buckets = Buckets.covering(START, START + timedelta(hours=5))
    begin = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
    assert list(buckets.spread(100, begin, begin + timedelta(hours=2))) == [(1, 25), (2, 50), (3, 25)]


def test_what_lies_outside_counts_at_the_edge() -> None:
    buckets = Buckets.covering(START, START + timedelta(hours=5))
    assert buckets.place(START - timedelta(days=1)) == 0
    assert buckets.place(START + timedelta(days=1)) == buckets.count - 1
