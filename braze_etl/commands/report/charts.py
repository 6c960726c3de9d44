"""The charts of the report: what Vega-Lite draws, the same numbers as a table, and the words around both."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from braze_etl.commands.report.words import count, listed, share, short, size, stretch, when
from braze_etl.model import Reason

Spec: TypeAlias = dict[str, Any]

ROWS: Final = "rows"
"""The name of a chart's data, for whoever asks Vega for it."""

_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
# Colours are the page's, so that light and dark are a matter of its style sheet alone.
_CONFIG: Final[Spec] = {
    "background": "transparent",
    "padding": {"left": 0, "top": 5, "right": 0, "bottom": 5},
    "font": _FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "labelFontSize": 12,
        "title": None,
    },
    "text": {"color": "var(--text)", "font": _FONT, "fontSize": 12.5},
    "rule": {"strokeWidth": 1.5},
}

_STEP: Final = 40
_NARROW: Final = 480
"""Pixels: below that, a label and a long figure would run into each other."""
_LETTER: Final = 7.6
"""Pixels that a letter of a figure takes at most, in any of the page's fonts."""
_LEAST: Final = 0.008
"""The share of the width that the smallest part gets: a part that can't be seen would be told as none."""
_FIGURE: Final = f"(width < {_NARROW} ? datum.brief : datum.figure)"

_MARK: Final[Spec] = {"type": "bar", "height": 10, "yOffset": 10, "tooltip": None}

Period: TypeAlias = tuple[str, str]
"""Where the axis begins and ends: a chart must not hide that nothing has come for days."""

_TALL: Final = 260
_MOST_TICKS: Final = 8
_FEW: Final = 24
"""So many points are shown as such; of more, the last one alone."""
_ROOMY: Final = 14
"""Pixels: bars that are narrower are not parted from their neighbours."""
_STACK: Final[Spec] = {"stack": "value", "groupby": ["from"], "as": ["low", "high"]}

_DOTTED: Final[Spec] = {"condition": {"test": "datum.dot", "value": 1}, "value": 0}

_MIDNIGHT: Final = "utchours(datum.value) + utcminutes(datum.value) == 0"

Data = Mapping[str, Any]

_OUTCOMES: Final = ("accepted", "filtered", "quarantined")
_BUDGET: Final = "Events spent of what may be sent in this month and on this day, as the state has them now."
_COLOURS: Final = ("s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8")


@dataclass(frozen=True)
class Table:
    """A heading and a row for each; the columns after the first are right-aligned if they are *numbers*."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: bool = True


@dataclass(frozen=True)
class Chart:
    """`about` says in one sentence what is to be seen, also to those who don't see it.

    `legend` has pairs of a label and the name of a colour, `notes` what else there is to say.
    """

    name: str
    title: str
    about: str
    spec: Spec
    table: Table
    legend: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()


def finished(spec: Spec, rows: Sequence[Spec], about: str, **height: Any) -> Spec:
    """A whole specification: *spec* with its data, as wide as the page lets it be."""
    return {
        "description": about,
        "width": "container",
        "config": _CONFIG,
        **height,
        **spec,
        "data": {"name": ROWS, "values": list(rows)},
    }


def inks(series: Mapping[str, str]) -> Spec:
    """The channel that colours each of the series, which are told apart by a legend outside of the chart."""
    return {
        "type": "nominal",
        "scale": {"domain": list(series), "range": [colour(each) for each in series.values()]},
        "legend": None,
    }


def colour(name: str) -> str:
    """A colour of the page."""
    return f"var(--{name})"


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
    tooltip = [
        {"field": "when", "title": "when"},
        {"field": "series", "title": "event type"},
        {"field": "records", "type": "quantitative", "format": ",", "title": "accepted"},
    ]
    ink = {"field": "series", **inks(series)}
    return {
        "mark": {"type": "rect", "stroke": colour("card"), "strokeWidth": gap},
        "encoding": {**_top(), "y2": {"field": "low"}, "color": ink, "tooltip": tooltip},
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
    tooltip = [{"field": "when", "title": "when"}, {"field": "figure", "title": measure}]
    dot = {"type": "point", "size": 55, "filled": True, "color": colour(ink)}
    return [
        {"mark": {"type": "area", "opacity": 0.16, **steps}, "encoding": place},
        {"mark": {"type": "line", "strokeWidth": 2, **steps}, "encoding": place},
        {"mark": dot, "encoding": {**place, "tooltip": tooltip, "opacity": _DOTTED}},
    ]


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


def outcomes(data: Data) -> Chart | None:
    """Of each event type: what became of its records."""
    by_type = data["by_event_type"]
    if not by_type:
        return None
    about = "What became of the records of each event type, as shares of all its records."
    lines = [
        Bar(
            short(name),
            [Part(each, books[each], each) for each in _OUTCOMES],
            _ended(books),
            _accepted(books),
        )
        for name, books in by_type.items()
    ]
    rows = [
        [name, *(count(books[each]) for each in _OUTCOMES), count(sum(books.values()))]
        for name, books in by_type.items()
    ]
    return Chart(
        "outcomes",
        "By event type",
        about,
        bars(lines, about, whole=True),
        Table(["event type", *_OUTCOMES, "all"], rows),
        [(each, each) for each in _OUTCOMES],
    )


def delivered(data: Data) -> Chart | None:
    """Accepted records an hour, by event type."""
    found = data["delivered"]
    series = dict(zip(found["event_types"], _COLOURS, strict=False))
    if not series:
        return None
    each = "" if found["hours"] == 1 else f", averaged over {_days(found['hours'])}"
    about = f"Records that Amplitude accepted, per hour{each}, by event type."
    rows = [row for bucket in found["buckets"] for row in _stack(bucket)]
    table = [
        [_stretch(bucket), *map(count, bucket["accepted"].values())]
        for bucket in reversed(found["buckets"])
        if any(bucket["accepted"].values())
    ]
    return Chart(
        "delivered",
        "Delivered per hour",
        about,
        stacked(rows, series, about, period=_period(data)),
        Table(["UTC, all records of", *map(short, series)], table),
        [(short(name), ink) for name, ink in series.items()],
    )


def _stack(bucket: Data) -> Iterator[Spec]:
    """What was delivered in a stretch of time; nothing is told once, so that the axis has its place."""
    for place, (name, records) in enumerate(bucket["accepted"].items()):
        if records or not place:
            yield {
                "from": bucket["from"],
                "to": bucket["to"],
                "when": _stretch(bucket),
                "series": name,
                "value": round(records / bucket["hours"], 2),
                "records": records,
            }


def _period(data: Data) -> Period:
    return data["period"]["since"], data["period"]["until"]


def _stretch(bucket: Data) -> str:
    return stretch(bucket["from"], bucket["to"])


def latency(data: Data) -> Chart | None:
    """How old records were when Amplitude accepted them, against the objective."""
    about = (
        "Mean age of the records at their acceptance, since the beginning of their hour, by scheduled run."
        f" The objective is {data['objective_hours']:g} hours."
    )
    title = f"Latency against the {data['objective_hours']:g}-hour line"
    return _ages("latency", title, about, data, data["latency"], ink="s1")


def backlog_age(data: Data) -> Chart | None:
    """The age of the oldest undelivered hour, against the objective."""
    about = "Age of the oldest undelivered hour, or of the last complete listing, when runs ended."
    return _ages("backlog_age", "Age of the backlog", about, data, data["backlog_age"], ink="s2")


def _ages(name: str, title: str, about: str, data: Data, points: list[Data], *, ink: str) -> Chart | None:
    if not points:
        return None
    objective, warn_at = data["objective_hours"], data["warn_at_hours"]
    rows = [
        {
            "at": point["at"],
            "when": when(point["at"]),
            "value": point["hours"],
            "figure": f"{point['hours']:.1f} hours, {objective - point['hours']:.1f} left",
        }
        for point in points
    ]
    limits = [
        Limit(objective, f"objective {objective:g} h", "bad"),
        Limit(warn_at, f"warning {warn_at:g} h", "warn"),
    ]
    table = [
        [when(each["at"]), f"{each['hours']:.1f}", f"{objective - each['hours']:.1f}"]
        for each in reversed(points)
    ]
    spec = line(rows, limits, about, measure="age", unit=" h", ink=ink, period=_period(data))
    return Chart(name, title, about, spec, Table(["UTC", "age in hours", "hours left"], table))


def backlog(data: Data) -> Chart | None:
    """The bytes that runs left for later."""
    points = data["backlog_size"]
    if not any(point["bytes"] for point in points):
        return None
    about = "Bytes of files that were due and not delivered when runs ended."
    rows = [
        {"at": each["at"], "when": when(each["at"]), "value": each["bytes"], "figure": size(each["bytes"])}
        for each in points
    ]
    table = [[when(each["at"]), count(each["files"]), size(each["bytes"])] for each in reversed(points)]
    spec = line(rows, [], about, measure="backlog", unit="B", ink="s2", period=_period(data))
    return Chart(
        "backlog",
        "Size of the backlog",
        about,
        spec,
        Table(["UTC", "files left by the run", "backlog"], table),
    )


def reasons(data: Data, outcome: str, title: str) -> Chart | None:
    """Why records were filtered, or quarantined."""
    counts = data["reasons"][outcome]
    if not counts:
        return None
    total = sum(counts.values())
    about = f"Records that were {outcome}, by reason."
    lines = [
        Bar(
            _worded(reason),
            [Part(outcome, records, outcome)],
            f"{count(records)} ({share(records, total)})",
            count(records),
        )
        for reason, records in counts.items()
    ]
    rows = [[_meaning(reason), count(records), share(records, total)] for reason, records in counts.items()]
    return Chart(outcome, title, about, bars(lines, about), Table(["reason", "records", "share"], rows))


def budget(data: Data) -> Chart | None:
    """The chart, or None where no bound is configured."""
    found = data["now"].get("budget", {})
    bounds = {name: each for name in ("month", "day") if (each := found.get(name)) and each["limit"]}
    if not bounds:
        return None
    lines = [_bound(f"{name} {each['period']}", each) for name, each in bounds.items()]
    rows = [
        [f"{name} {each['period']}", *(count(each[column]) for column in ("spent", "limit", "left"))]
        for name, each in bounds.items()
    ]
    table = Table(["budget", "spent", "limit", "left"], rows)
    notes = [*_used_up(bounds), *budget_notes(data)]
    return Chart("budget", "Budget", _BUDGET, bars(lines, _BUDGET, whole=True), table, notes=notes)


def budget_notes(data: Data) -> Iterator[str]:
    """What the budget has held, and what was spent in money."""
    if held := data["held"]:
        types = listed([short(name) for name in held["event_types"]])
        yield f"The last complete run held {count(held['records'])} records of {types}."
    if cost := data["now"].get("budget", {}).get("cost"):
        yield f"Cost: {cost['month']} {cost['currency']} this month, {cost['day']} {cost['currency']} today."


def _bound(label: str, bound: Mapping[str, Any]) -> Bar:
    tone = "bad" if not bound["left"] else "warn" if bound["warned"] else "accepted"
    parts = [Part("spent", bound["spent"], tone), Part("left", bound["left"], "track")]
    spent = share(bound["spent"], bound["limit"])
    return Bar(label, parts, f"{spent} of {count(bound['limit'])} spent", spent)


def _used_up(bounds: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, each in bounds.items():
        if not each["left"]:
            yield f"Of the {name} nothing is left until {when(each['ends_at'])}."


def _accepted(books: Mapping[str, int]) -> str:
    return share(books["accepted"], sum(books.values())) if books["accepted"] else "none"


def _ended(books: Mapping[str, int]) -> str:
    aside = f", {count(books['quarantined'])} quarantined" if books["quarantined"] else ""
    return f"{_accepted(books)} of {count(sum(books.values()))} accepted{aside}"


def _worded(reason: str) -> str:
    return reason.replace("_", " ")


def _meaning(reason: str) -> str:
    """A reason with what it means; one that only another release knows has its name alone."""
    return f"{reason}: {Reason(reason).meaning}" if reason in set(Reason) else reason


def _days(hours: int) -> str:
    return {24: "a day", 168: "a week"}.get(hours, f"{hours} hours")
