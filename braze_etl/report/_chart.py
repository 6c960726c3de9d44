"""A chart: what Vega-Lite draws, the same numbers as a table, and the words around both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

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
