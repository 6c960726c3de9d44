"""Bars that lie under their labels, so that a phone shows whole names and whole bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from braze_etl.report._chart import Spec, colour, finished

_STEP: Final = 40
_NARROW: Final = 480
"""Pixels: below that, a label and a long figure would run into each other."""
_LETTER: Final = 7.6
"""Pixels that a letter of a figure takes at most, in any of the page's fonts."""
_LEAST: Final = 0.008
"""The share of the width that the smallest part gets: a part that can't be seen would be told as none."""
_FIGURE: Final = f"(width < {_NARROW} ? datum.brief : datum.figure)"


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a bar: what it is, how many records, and the name of its colour."""

    name: str
    records: int
    ink: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A labelled bar of one or several parts.

    `figure` stands at its right end, and `brief` instead where there is little room.
    """

    label: str
    parts: Sequence[Part]
    figure: str
    brief: str

    @property
    def records(self) -> int:
        """Those of all parts."""
        return sum(part.records for part in self.parts)


def bars(lines: Sequence[Bar], about: str, *, whole: bool = False) -> Spec:
    """The chart of these bars, in their order; *whole*: all are equally wide, and their parts are shares."""
    longest = max(bar.records for bar in lines)
    rows = [row for bar in lines for row in _rows(bar, bar.records if whole else longest)]
    spec = {
        "encoding": {"y": {"field": "label", "type": "nominal", "sort": None, "axis": None}},
        "layer": [
            {
                "mark": {**_MARK, "color": colour("track")},
                "encoding": {"x": {"value": 0}, "x2": {"value": "width"}},
            },
            _parts(),
            _text("datum.label", f"max(60, width - {_LETTER} * length({_FIGURE}) - 12)", align="left", x=0),
            _text(_FIGURE, "width", align="right", x="width"),
        ],
    }
    return finished(spec, rows, about, height=_STEP * len(lines))


def _rows(bar: Bar, full: int) -> Iterator[Spec]:
    """A row for each part, with where it begins and ends in a bar from 0 to 1."""
    words = {"label": bar.label, "figure": bar.figure, "brief": bar.brief}
    low = 0.0
    for part, width in zip(bar.parts, _widths(bar, full), strict=True):
        facts = {"part": part.name, "value": part.records, "ink": colour(part.ink)}
        yield {**words, **facts, "low": round(low, 5), "high": round(low + width, 5)}
        low += width


def _widths(bar: Bar, full: int) -> list[float]:
    """The shares of the parts; what the smallest get beyond theirs is taken from the largest one."""
    exact = [part.records / full if full else 0.0 for part in bar.parts]
    widths = [max(width, _LEAST) if width else 0.0 for width in exact]
    excess = max(0.0, sum(widths) - max(sum(exact), _LEAST))
    widths[widths.index(max(widths))] -= excess
    return widths


_MARK: Final[Spec] = {"type": "bar", "height": 10, "yOffset": 10, "tooltip": None}


def _parts() -> Spec:
    return {
        "mark": {**_MARK, "stroke": colour("card"), "strokeWidth": 1, "tooltip": True},
        "encoding": {
            "x": {"field": "low", "type": "quantitative", "axis": None, "scale": {"domain": [0, 1]}},
            "x2": {"field": "high"},
            "color": {"field": "ink", "type": "nominal", "scale": None},
            "tooltip": [
                {"field": "label", "title": "of"},
                {"field": "part", "title": "what"},
                {"field": "value", "type": "quantitative", "format": ",", "title": "records"},
            ],
        },
    }


def _text(words: str, limit: str, *, align: str, x: int | str) -> Spec:
    """A text above each bar, no wider than *limit*; both are expressions."""
    cut = {"text": {"expr": words}, "limit": {"expr": limit}}
    return {
        "mark": {"type": "text", "align": align, "yOffset": -6, "tooltip": None, **cut},
        "transform": [{"aggregate": [], "groupby": ["label", "figure", "brief"]}],
        "encoding": {"x": {"value": x}},
    }
