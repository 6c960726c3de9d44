"""How long the parts of bars are."""

from __future__ import annotations

import pytest

from braze_etl.commands.report.charts import Bar, Part, bars


def bar(label: str, *records: int) -> Bar:
    parts = [Part(f"part {number}", each, f"s{number}") for number, each in enumerate(records)]
    return Bar(label, parts, "figure", "brief")


def widths(*lines: Bar, whole: bool = False) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for row in bars(lines, "about", whole=whole)["data"]["values"]:
        found.setdefault(row["label"], []).append(round(row["high"] - row["low"], 5))
    return found


def test_bars_are_as_long_as_their_records_beside_the_longest() -> None:
    assert widths(bar("a", 100), bar("b", 25)) == {"a": [1.0], "b": [0.25]}


def test_shares_fill_the_whole_bar() -> None:
    assert widths(bar("a", 3, 1), bar("b", 1, 0), whole=True) == {"a": [0.75, 0.25], "b": [1.0, 0.0]}


@pytest.mark.parametrize("whole", [True, False])
def test_a_part_of_a_few_among_millions_can_be_seen(whole: bool) -> None:
    (found,) = widths(bar("a", 5_000_000, 2, 0), whole=whole).values()
    assert found == [0.992, 0.008, 0.0]


def test_a_small_bar_beside_a_large_one_can_be_seen() -> None:
    assert widths(bar("a", 5_000_000), bar("b", 1))["b"] == [0.008]


def test_bars_of_nothing_are_no_division_by_zero() -> None:
    assert widths(bar("a", 0), whole=True) == {"a": [0.0]}
