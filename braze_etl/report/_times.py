"""Charts over time, in UTC: stacked bars of what came in each stretch, and lines against a limit."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from braze_etl.report._chart import Spec, colour, finished, inks

Period: TypeAlias = tuple[str, str]
"""Where the axis begins and ends: a chart must not hide that nothing has come for days."""

_TALL: Final = 260
_MOST_TICKS: Final = 8
_FEW: Final = 24
"""So many points are shown as such; of more, the last one alone."""
_ROOMY: Final = 14
"""Pixels: bars that are narrower are not parted from their neighbours."""
_STACK: Final[Spec] = {"stack": "value", "groupby": ["from"], "as": ["low", "high"]}


@dataclass(frozen=True)
class Limit:
    """A level that a line is seen against."""

    level: float
    label: str
    colour: str


def stacked(rows: Sequence[Spec], series: Mapping[str, str], about: str, *, period: Period) -> Spec:
    """Bars of `value` by `series` from `from` to `to`; *series* has the colour of each, the lowest first."""
    order = {name: place for place, name in enumerate(series)}
    ranked = [{**row, "order": order[row["series"]]} for row in rows]
    spec = {
        "transform": [{**_STACK, "sort": [{"field": "order", "order": "ascending"}]}],
        "layer": [_ends(period), _amounts_by(series, len({row["from"] for row in rows})), _edges(rows)],
    }
    return finished(spec, ranked, about, height=_TALL)


def _amounts_by(series: Mapping[str, str], bars: int) -> Spec:
    gap = {"expr": f"width > {_ROOMY * bars} ? 1 : 0"}
    told = [
        {"field": "when", "title": "when"},
        {"field": "series", "title": "event type"},
        {"field": "records", "type": "quantitative", "format": ",", "title": "accepted"},
    ]
    ink = {"field": "series", **inks(series)}
    return {
        "mark": {"type": "rect", "stroke": colour("card"), "strokeWidth": gap},
        "encoding": {**_top(), "y2": {"field": "low"}, "color": ink, "tooltip": told},
    }


def _edges(rows: Sequence[Spec]) -> Spec:
    """Lines that part amounts from those above them, but for amounts that a line would hide."""
    heights = Counter[str]()
    for row in rows:
        heights[row["from"]] += row["value"]
    seen = 4 / _TALL * max(heights.values())
    return {
        "transform": [{"filter": f"datum.value > {seen}"}],
        "mark": {"type": "rule", "color": colour("card"), "strokeWidth": 1, "tooltip": None},
        "encoding": _top(),
    }


def _top() -> Spec:
    """The upper end of an amount, over its stretch of time."""
    high = {"field": "high", "type": "quantitative", "axis": _amounts()}
    return {"x": _time("from"), "x2": {"field": "to"}, "y": high}


def line(
    rows: Sequence[Spec],
    limits: Sequence[Limit],
    about: str,
    *,
    measure: str,
    unit: str,
    ink: str,
    period: Period,
) -> Spec:
    """A line of `value` at `at` whose axis reaches above every limit; points tell their `figure`."""
    highest = max([row["value"] for row in rows] + [limit.level * 1.08 for limit in limits], default=1)
    scale = {"domain": [0, highest or 1], "nice": False}
    y = {
        "field": "value",
        "type": "quantitative",
        "scale": scale,
        "axis": {**_amounts(unit), **_ticks(limits, highest)},
    }
    dotted = 0 if len(rows) <= _FEW else len(rows) - 1
    points = [{**row, "dot": place >= dotted} for place, row in enumerate(rows)]
    layers = [_ends(period), *_curve(y, ink, measure), *(layer for each in limits for layer in _limit(each))]
    return finished({"layer": layers}, points, about, height=_TALL)


def _curve(y: Spec, ink: str, measure: str) -> list[Spec]:
    """The line with the area below it, and its points: seen or not, they tell their value."""
    steps = {"interpolate": "step-after", "color": colour(ink)}
    place = {"x": _time("at"), "y": y}
    told = [{"field": "when", "title": "when"}, {"field": "figure", "title": measure}]
    dot = {"type": "point", "size": 55, "filled": True, "color": colour(ink)}
    return [
        {"mark": {"type": "area", "opacity": 0.16, **steps}, "encoding": place},
        {"mark": {"type": "line", "strokeWidth": 2, **steps}, "encoding": place},
        {"mark": dot, "encoding": {**place, "tooltip": told, "opacity": _DOTTED}},
    ]


_DOTTED: Final[Spec] = {"condition": {"test": "datum.dot", "value": 1}, "value": 0}


def _limit(limit: Limit) -> list[Spec]:
    only: Spec = {"values": [{}]}  # else there would be one for each point, on top of each other
    level = {"datum": limit.level, "type": "quantitative"}
    words = {"type": "text", "align": "right", "baseline": "bottom", "dy": -4, "fontWeight": 600}
    return [
        {
            "data": only,
            "mark": {"type": "rule", "strokeDash": [6, 4], "color": colour(limit.colour)},
            "encoding": {"y": level},
        },
        {
            "data": only,
            "mark": {**words, "color": colour(limit.colour)},
            "encoding": {"y": level, "x": {"value": "width"}, "text": {"value": limit.label}},
        },
    ]


def _ticks(limits: Sequence[Limit], highest: float) -> Spec:
    """Quarters of the first limit, so that no line of the grid runs close to a limit."""
    if not limits:
        return {}
    quarter = limits[0].level / 4
    steps = math.ceil(highest / quarter / _MOST_TICKS)
    return {"values": [quarter * steps * number for number in range(int(highest / quarter / steps) + 1)]}


def _ends(period: Period) -> Spec:
    """Nothing to see, but the axis reaches from end to end: a stated domain is not merged over layers."""
    return {
        "data": {"values": [{"at": moment} for moment in period]},
        "mark": {"type": "point", "opacity": 0, "tooltip": None},
        "encoding": {"x": _time("at")},
    }


_MIDNIGHT: Final = "utchours(datum.value) + utcminutes(datum.value) == 0"


def _time(field: str) -> Spec:
    return {
        "field": field,
        "type": "temporal",
        "scale": {"type": "utc"},
        "axis": {
            "grid": False,
            "labelOverlap": "greedy",
            "labelExpr": f"utcFormat(datum.value, {_MIDNIGHT} ? '%-d %b' : '%H:%M')",
            "tickCount": {"expr": "max(3, round(width / 110))"},
        },
    }


def _amounts(unit: str = "") -> Spec:
    return {
        "tickCount": 5,
        "domain": False,
        "ticks": False,
        "labelExpr": f"format(datum.value, '~s') + {unit!r}",
    }
