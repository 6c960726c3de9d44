"""Numbers and times as people read them."""

from __future__ import annotations

import pytest

from braze_etl.commands.report import words as _words


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [
        (0, 5, "0%"),
        (5, 5, "100%"),
        (1, 3, "33.3%"),
        (3, 1_234_572, "<0.1%"),
        (1_234_567, 1_234_572, ">99.9%"),
        (3_910, 3_000, "130.3%"),
        (10_000, 1, "1,000,000%"),
        (0, 0, "–"),  # noqa: RUF001 - what stands for nothing
    ],
)
def test_a_share_never_says_all_or_nothing_of_what_is_nearly_so(part: int, whole: int, said: str) -> None:
    assert _words.share(part, whole) == said


def test_things_are_counted_in_good_english() -> None:
    assert [_words.counted(number, "run") for number in (0, 1, 1_200)] == ["0 runs", "1 run", "1,200 runs"]


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("2026-11-24T12:30:00Z", "just now"),
        ("2026-11-24T12:26:30Z", "3.5 min ago"),
        ("2026-11-24T10:30:00Z", "2 h ago"),
        ("2026-11-12T12:30:00Z", "12 d ago"),
    ],
)
def test_how_long_ago_is_told_as_people_would(moment: str, said: str) -> None:
    assert _words.ago(moment, "2026-11-24T12:30:00Z") == said


@pytest.mark.parametrize(
    ("begin", "end", "said"),
    [
        ("2026-11-24T05:00:00Z", "2026-11-24T11:00:00Z", "24 Nov 05:00 to 11:00"),
        ("2026-11-23T23:00:00Z", "2026-11-24T00:30:00Z", "23 Nov 23:00 to 00:30"),
        ("2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z", "24 Nov"),
        ("2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z", "16 Nov to 22 Nov"),
        ("2026-11-23T00:00:00Z", "2026-11-24T09:10:00Z", "23 Nov 00:00 to 24 Nov 09:10"),
    ],
)
def test_a_stretch_of_time_says_no_more_than_it_needs(begin: str, end: str, said: str) -> None:
    assert _words.stretch(begin, end) == said


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c", "d"], "a, b, c and d"),
        (["a", "b", "c", "d", "e"], "a, b, c and 2 others"),
    ],
)
def test_of_many_names_a_few_are_listed(names: list[str], said: str) -> None:
    assert _words.listed(names) == said
