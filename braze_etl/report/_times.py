"""Charts over time, in UTC: stacked bars of what came in each stretch, and lines against a limit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from braze_etl.report._chart import Spec, colour, finished, inks

Period: TypeAlias = tuple[str, str]
"""Where the axis begins and ends: a chart must not hide that nothing has come for days."""

_TALL: Final = 260
_MOST_TICKS: Final = 8
_STACK: Final[Spec] = {"stack": "value", "groupby": ["from"], "as": ["low", "high"]}


@dataclass(frozen=True)
class Limit:
    """A level that a line is seen against."""

    level: float
    label: str
    colour: str


def stacked(rows: Sequence[Spec], series: Mapping[str, str], about: str) -> Spec:
    """Bars of `value` by `series` from `from` to `to`; *series* has the colour of each, the lowest first."""
    order = {name: place for place, name in enumerate(series)}
    ranked = [{**row, "order": order[row["series"]]} for row in rows]
    spec = {
        "transform": [{**_STACK, "sort": [{"field": "order", "order": "ascending"}]}],
        "mark": {"type": "rect"},
        "encoding": {
            "x": _time("from"),
            "x2": {"field": "to"},
            "y": {"field": "low", "type": "quantitative", "axis": _amounts()},
            "y2": {"field": "high"},
            "color": {"field": "series", **inks(series)},
            "tooltip": [
                {"field": "when", "title": "when"},
                {"field": "series", "title": "event type"},
                {"field": "records", "type": "quantitative", "format": ",", "title": "accepted"},
            ],
        },
    }
    return finished(spec, ranked, about, height=_TALL)


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
    steps = {"interpolate": "step-after", "color": colour(ink)}
    y = {
        "field": "value",
        "type": "quantitative",
        "scale": scale,
        "axis": {**_amounts(unit), **_ticks(limits, highest)},
    }
    told = [{"field": "when", "title": "when"}, {"field": "figure", "title": measure}]
    layers: list[Spec] = [
        _ends(period),
        {"mark": {"type": "area", "opacity": 0.16, **steps}, "encoding": {"x": _time("at"), "y": y}},
        {"mark": {"type": "line", "strokeWidth": 2, **steps}, "encoding": {"x": _time("at"), "y": y}},
        {
            "mark": {"type": "point", "size": 60, "filled": True, "opacity": 0, "color": colour(ink)},
            "encoding": {"x": _time("at"), "y": y, "tooltip": told},
        },
        *(layer for limit in limits for layer in _limit(limit)),
    ]
    return finished({"layer": layers}, rows, about, height=_TALL)


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


def _time(field: str) -> Spec:
    return {
        "field": field,
        "type": "temporal",
        "scale": {"type": "utc"},
        "axis": {
            "grid": False,
            "labelOverlap": "greedy",
            "labelExpr": "utcFormat(datum.value, utchours(datum.value) ? '%H:%M' : '%-d %b')",
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
