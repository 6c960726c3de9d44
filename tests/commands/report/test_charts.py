"""What Vega-Lite draws of the charts, without a browser: as a picture in SVG, 1,000 pixels wide."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from vl_convert import vegalite_to_svg

from braze_etl.commands.report.charts import charts
from braze_etl.commands.report.history import History
from tests.commands.report.conftest import data_of
from tests.commands.report.past import NOW, books, report, run

BAR = re.compile(r'series: (\w+);[^"]*" [^>]* d="M([-.\d]+),([-.\d]+)h([-.\d]+)v([-.\d]+)')


def drawn(name: str, *hours_ago: int, **lines: dict[str, int]) -> list[tuple[str, list[float]]]:
    """Bars of a chart of runs that read this: the series, with left, top, width and height in pixels."""
    moments = [NOW - timedelta(hours=each) for each in hours_ago]
    runs = [run(at, report(at, {key: dict(each) for key, each in lines.items()})) for at in moments]
    spec = charts(data_of(History(runs, NOW, 30, timedelta(hours=48))))[name].spec
    found = BAR.findall(vegalite_to_svg({**spec, "width": 1000}))
    return [(series, [float(each) for each in box]) for series, *box in found]


def shares(**lines: dict[str, int]) -> list[tuple[str, float]]:
    return [(series, box[2] / 1000) for series, box in drawn("outcomes", 1, **lines) if box[2]]


def test_shares_fill_the_whole_bar() -> None:
    found = shares(a=books(3, 1), b=books(0, 0, 1))
    assert found == [("accepted", 0.75), ("filtered", 0.25), ("quarantined", 1.0)]


def test_a_part_of_a_few_among_millions_can_be_seen() -> None:
    (_, most), (name, few) = shares(a=books(5_000_000, 2))
    assert name == "filtered"
    assert few == pytest.approx(0.008, rel=0.02)
    assert most + few == pytest.approx(1)


def test_rates_are_stacked_over_the_time_that_they_stand_for_from_end_to_end() -> None:
    found = drawn("delivered", 1, 3, 5, a=books(300), b=books(100))
    assert [series for series, _ in found] == ["a", "b"] * 3
    (_, lower), (_, upper) = found[:2]
    assert [*lower[:2], lower[3]] == pytest.approx([0, 65, 195])
    assert [*upper[:2], upper[3]] == pytest.approx([0, 0, 65])
    # Three of the 5.5 hours until now, each an hour wide.
    assert [box[2] for _, box in found] == pytest.approx([1000 / 5.5] * 6)
