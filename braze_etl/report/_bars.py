"""Bars that lie under their labels, so that a phone shows whole names and whole bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from braze_etl.report._chart import Spec, colour, finished, inks

_STEP: Final = 38
_NARROW: Final = 480
"""Pixels: below that, a label and a long figure would run into each other."""


@dataclass(frozen=True)
class Bar:
    """A labelled bar of one or several parts, by the name of their colour.

    `figure` stands at its right end, and `brief` instead where there is little room.
    """

    label: str
    parts: Mapping[str, float]
    figure: str
    brief: str


def bars(lines: Sequence[Bar], about: str, *, whole: bool = False) -> Spec:
    """The chart of these bars, in their order; *whole*: all are equally wide, and their parts are shares."""
    rows = [
        {"label": bar.label, "figure": bar.figure, "brief": bar.brief, "part": part, "value": value}
        for bar in lines
        for part, value in bar.parts.items()
    ]
    parts = list(dict.fromkeys(part for bar in lines for part in bar.parts))
    spec = {
        "encoding": {"y": {"field": "label", "type": "nominal", "sort": None, "axis": None}},
        "layer": [
            _track(),
            _bar(parts, whole=whole),
            _text("datum.label", align="left", x=0),
            _text(f"width < {_NARROW} ? datum.brief : datum.figure", align="right", x="width"),
        ],
    }
    return finished(spec, rows, about, height=_STEP * len(lines))


def _bar(parts: Sequence[str], *, whole: bool) -> Spec:
    return {
        "mark": {"type": "bar", "height": 10, "yOffset": 9},
        "encoding": {
            "x": {
                "field": "value",
                "type": "quantitative",
                "axis": None,
                "scale": {"nice": False},
                "stack": "normalize" if whole else "zero",
            },
            "color": {"field": "part", **inks({part: part for part in parts})},
            "tooltip": [
                {"field": "label", "title": "of"},
                {"field": "part", "title": "what"},
                {"field": "value", "type": "quantitative", "format": ",", "title": "records"},
            ],
        },
    }


def _track() -> Spec:
    """The ground on which a bar lies: it shows how long the longest could be."""
    return {
        "mark": {"type": "bar", "height": 10, "yOffset": 9, "color": colour("track"), "tooltip": None},
        "encoding": {"x": {"value": 0}, "x2": {"value": "width"}},
    }


def _text(words: str, *, align: str, x: int | str) -> Spec:
    return {
        "mark": {"type": "text", "align": align, "yOffset": -6, "text": {"expr": words}, "tooltip": None},
        "transform": [{"aggregate": [], "groupby": ["label", "figure", "brief"]}],
        "encoding": {"x": {"value": x}},
    }
