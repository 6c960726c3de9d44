"""The charts of the report, each with its numbers as a table: four questions have one.

Vega-Lite makes rates, shares and stacks of the numbers in the history, which are bounded whatever the number
of runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

from braze_etl.commands.report.words import count, share, short, stretch, when

Spec: TypeAlias = dict[str, Any]
Data: TypeAlias = Mapping[str, Any]

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
_TALL: Final = 260
_STEP: Final = 40
_NARROW: Final = 480
"""Pixels: below that, a label and a long figure would run into each other."""
_LETTER: Final = 7.6
"""Pixels that a letter of a figure takes at most, in any of the page's fonts."""
_LEAST: Final = 0.008
"""The share of the width that the smallest part gets: a part that can't be seen would be told as none."""
_FIGURE: Final = f"(width < {_NARROW} ? datum.brief : datum.figure)"
_FEW: Final = 24
"""So many points are shown as such; of more, the line alone."""
_ROOMY: Final = 14
"""Pixels: bars that are narrower are not parted from their neighbours."""
_MIDNIGHT: Final = "utchours(datum.value) + utcminutes(datum.value) == 0"

_OUTCOMES: Final = ("accepted", "filtered", "quarantined")
_COLOURS: Final = ("s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8")


@dataclass(frozen=True)
class Chart:
    """`about` says in one sentence what is to be seen, also to those who don't see it.

    The table, of `columns` and `rows`, has the same numbers. `legend` has pairs of a label and the name of a
    colour.
    """

    title: str
    about: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    spec: Spec
    legend: Sequence[tuple[str, str]] = ()


def charts(data: Data) -> dict[str, Chart]:
    """Those that have something to show, by the name of their place in the page."""
    made = {
        "latency": _latency(data),
        "backlog_age": _backlog_age(data),
        "delivered": _delivered(data),
        "outcomes": _outcomes(data),
    }
    return {name: chart for name, chart in made.items() if chart is not None}


def _finished(rows: Sequence[Spec], about: str, height: int, **spec: Any) -> Spec:
    """A whole specification, as wide as the page lets it be."""
    whole = {"description": about, "width": "container", "height": height, "config": _CONFIG}
    return {**whole, "data": {"name": ROWS, "values": list(rows)}, **spec}


def _inks(series: Mapping[str, str]) -> Spec:
    """The channel that colours each of the series, which are told apart by a legend outside of the chart."""
    scale = {"domain": list(series), "range": [_colour(each) for each in series.values()]}
    return {"field": "series", "type": "nominal", "scale": scale, "legend": None}


def _colour(name: str) -> str:
    return f"var(--{name})"


def _outcomes(data: Data) -> Chart | None:
    """Of each event type: what became of its records."""
    by_type = data["by_event_type"]
    if not by_type:
        return None
    about = "What became of the records of each event type, as shares of all its records."
    table = [
        [name, *(count(books[each]) for each in _OUTCOMES), count(sum(books.values()))]
        for name, books in by_type.items()
    ]
    rows = [row for name, books in by_type.items() for row in _parts(name, books)]
    return Chart(
        "By event type",
        about,
        ["event type", *_OUTCOMES, "all"],
        table,
        _shares(rows, about, bars=len(by_type)),
        [(each, each) for each in _OUTCOMES],
    )


def _parts(name: str, books: Mapping[str, int]) -> Iterator[Spec]:
    """A row for each outcome; the figure stands at the right end, and its brief form where room is scarce."""
    records = sum(books.values())
    accepted = share(books["accepted"], records) if books["accepted"] else "none"
    aside = f", {count(books['quarantined'])} quarantined" if books["quarantined"] else ""
    words = {"figure": f"{accepted} of {count(records)} accepted{aside}", "brief": accepted}
    for place, each in enumerate(_OUTCOMES):
        yield {"label": short(name), **words, "series": each, "place": place, "records": books[each]}


def _shares(rows: Sequence[Spec], about: str, *, bars: int) -> Spec:
    """A labelled bar for each event type, in their order; all are equally wide."""
    part = f"datum.records && max(datum.records / datum.all, {_LEAST})"
    return _finished(
        rows,
        about,
        _STEP * bars,
        encoding={"y": {"field": "label", "type": "nominal", "sort": None, "axis": None}},
        layer=[
            {
                "transform": [
                    {"joinaggregate": [{"op": "sum", "field": "records", "as": "all"}], "groupby": ["label"]},
                    {"calculate": part, "as": "part"},
                ],
                "mark": {
                    "type": "bar",
                    "height": 10,
                    "yOffset": 10,
                    "stroke": _colour("card"),
                    "tooltip": True,
                },
                "encoding": {
                    "x": {"field": "part", "type": "quantitative", "stack": "normalize", "axis": None},
                    "color": _inks({each: each for each in _OUTCOMES}),
                    "order": {"field": "place"},
                    "tooltip": [
                        {"field": "label", "title": "of"},
                        {"field": "series", "title": "what"},
                        {"field": "records", "type": "quantitative", "format": ",", "title": "records"},
                    ],
                },
            },
            _text("datum.label", f"max(60, width - {_LETTER} * length({_FIGURE}) - 12)", align="left", x=0),
            _text(_FIGURE, "width", align="right", x="width"),
        ],
    )


def _text(words: str, limit: str, *, align: str, x: int | str) -> Spec:
    """A text above each bar, no wider than *limit*; both are expressions."""
    cut = {"text": {"expr": words}, "limit": {"expr": limit}}
    return {
        "mark": {"type": "text", "align": align, "yOffset": -6, "tooltip": None, **cut},
        "transform": [{"aggregate": [], "groupby": ["label", "figure", "brief"]}],
        "encoding": {"x": {"value": x}},
    }


def _delivered(data: Data) -> Chart | None:
    """Accepted records an hour, by event type."""
    found = data["delivered"]
    series = dict(zip(found["event_types"], _COLOURS, strict=False))
    if not series:
        return None
    width = {1: "", 24: ", averaged over a day", 168: ", averaged over a week"}
    each = width.get(found["hours"], f", averaged over {found['hours']} hours")
    about = f"Records that Amplitude accepted, per hour{each}, by event type."
    table = [
        [stretch(bucket["from"], bucket["to"]), *map(count, bucket["accepted"].values())]
        for bucket in reversed(found["buckets"])
        if any(bucket["accepted"].values())
    ]
    return Chart(
        "Delivered per hour",
        about,
        ["UTC, all records of", *map(short, series)],
        table,
        _rates(data, series, about),
        [(short(name), ink) for name, ink in series.items()],
    )


def _rates(data: Data, series: Mapping[str, str], about: str) -> Spec:
    """Bars from `from` to `to`, stacked by series, the lowest first."""
    buckets = data["delivered"]["buckets"]
    rows = [
        {
            **{name: bucket[name] for name in ("from", "to", "hours")},
            "when": stretch(bucket["from"], bucket["to"]),
            "series": name,
            "place": place,
            "records": records,
        }
        for bucket in buckets
        for place, (name, records) in enumerate(bucket["accepted"].items())
        if records
    ]
    gap = {"expr": f"width > {_ROOMY * len(buckets)} ? 1 : 0"}
    return _finished(
        rows,
        about,
        _TALL,
        transform=[
            {"calculate": "datum.records / datum.hours", "as": "rate"},
            {
                "stack": "rate",
                "groupby": ["from"],
                "sort": [{"field": "place"}],
                "as": ["low", "high"],
            },
        ],
        mark={"type": "rect", "stroke": _colour("card"), "strokeWidth": gap},
        encoding={
            "x": _time("from", data, buckets[0]["from"]),
            "x2": {"field": "to"},
            "y": {"field": "low", "type": "quantitative", "axis": _amounts()},
            "y2": {"field": "high"},
            "color": _inks(series),
            "tooltip": [
                {"field": "when", "title": "when"},
                {"field": "series", "title": "event type"},
                {"field": "records", "type": "quantitative", "format": ",", "title": "accepted"},
            ],
        },
    )


def _latency(data: Data) -> Chart | None:
    """How old records were when Amplitude accepted them, against the objective."""
    objective = data["objective_hours"]
    about = (
        "Mean age of the records at their acceptance, since the beginning of their hour, by scheduled run."
        f" The objective is {objective:g} hours."
    )
    title = f"Latency against the {objective:g}-hour line"
    return _ages(title, about, data, data["latency"], ink="s1")


def _backlog_age(data: Data) -> Chart | None:
    """The age of the oldest undelivered hour, against the objective."""
    about = "Age of the oldest undelivered hour, or of the last complete listing, when runs ended."
    return _ages("Age of the backlog", about, data, data["backlog_age"], ink="s2")


def _ages(title: str, about: str, data: Data, points: Sequence[Data], *, ink: str) -> Chart | None:
    if not points:
        return None
    objective = data["objective_hours"]
    told = [(when(each["at"]), f"{each['hours']:.1f}", f"{objective - each['hours']:.1f}") for each in points]
    rows = [
        {**point, "when": moment, "figure": f"{age} hours, {left} left"}
        for point, (moment, age, left) in zip(points, told, strict=True)
    ]
    spec = _finished(rows, about, _TALL, layer=[_curve(data, ink, dotted=len(rows) <= _FEW), *_limits(data)])
    return Chart(title, about, ["UTC", "age in hours", "hours left"], told[::-1], spec)


def _curve(data: Data, ink: str, *, dotted: bool) -> Spec:
    """The line with the area below it, and its points: seen or not, they tell their value."""
    steps = {"interpolate": "step-after", "color": _colour(ink)}
    return {
        "mark": {
            "type": "area",
            "fillOpacity": 0.16,
            "line": {"strokeWidth": 2, **steps},
            "point": {"size": 55, "color": _colour(ink), "opacity": 1 if dotted else 0},
            **steps,
        },
        "encoding": {
            "x": _time("at", data),
            "y": {"field": "hours", "type": "quantitative", "axis": {**_amounts(" h"), "grid": False}},
            "tooltip": [{"field": "when", "title": "when"}, {"field": "figure", "title": "age"}],
        },
    }


def _limits(data: Data) -> list[Spec]:
    """The objective and the warning, as labelled lines."""
    objective, warn_at = data["objective_hours"], data["warn_at_hours"]
    values = [
        {"level": objective, "label": f"objective {objective:g} h", "ink": _colour("bad")},
        {"level": warn_at, "label": f"warning {warn_at:g} h", "ink": _colour("warn")},
    ]
    words = {"type": "text", "align": "right", "baseline": "top", "dy": 5, "fontWeight": 600}
    place = {
        "y": {"field": "level", "type": "quantitative"},
        "color": {"field": "ink", "type": "nominal", "scale": None},
    }
    lines = {"mark": {"type": "rule", "strokeDash": [6, 4], "tooltip": None}, "encoding": place}
    labels = {
        "mark": {**words, "tooltip": None},
        "encoding": {**place, "x": {"value": "width"}, "text": {"field": "label"}},
    }
    return [{"data": {"values": values}, **each} for each in (lines, labels)]


def _time(field: str, data: Data, *beginnings: str) -> Spec:
    """The axis reaches over the whole period: a chart must not hide that nothing has come for days."""
    first, last = min([data["period"]["since"], *beginnings]), data["period"]["until"]
    return {
        "field": field,
        "type": "temporal",
        "scale": {"type": "utc", "domainMin": _end(first), "domainMax": _end(last)},
        "axis": {
            "grid": False,
            "labelOverlap": "greedy",
            "labelExpr": f"utcFormat(datum.value, {_MIDNIGHT} ? '%-d %b' : '%H:%M')",
            "tickCount": {"expr": "max(3, round(width / 110))"},
        },
    }


def _end(moment: str) -> Spec:
    """In milliseconds, as an expression: what Vega-Lite makes of a number is beyond Vega's interpreter."""
    return {"expr": f"{datetime.fromisoformat(moment).timestamp() * 1000:.0f}"}


def _amounts(unit: str = "") -> Spec:
    return {
        "tickCount": 5,
        "domain": False,
        "ticks": False,
        "labelExpr": f"format(datum.value, '~s') + {unit!r}",
    }
