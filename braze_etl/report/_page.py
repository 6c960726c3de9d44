"""The page itself: words, data, style and the script of the charts in one file that asks for nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from braze_etl.errors import UsageError
from braze_etl.quoting import visible
from braze_etl.report import _charts, _words
from braze_etl.report._budget import budget, budget_notes
from braze_etl.report._drift import drift_table
from braze_etl.report._verdict import verdict

_ROOM: Final = files("braze_etl.report")
_ENDINGS: Final = {
    "0": ("good", "everything due was delivered"),
    "1": ("bad", "failed"),
    "3": ("warn", "finished; records were set aside"),
    "4": ("warn", "work was left for the next run"),
    "130": ("warn", "interrupted"),
    "143": ("warn", "interrupted"),
    "killed": ("bad", "killed: it has no end and no report"),
    "at_work": ("", "at work now"),
}
_OTHER_ENDING: Final = ("bad", "ended early")


def _ending(ending: str) -> tuple[str, str]:
    return _ENDINGS.get(ending, _OTHER_ENDING)


_WORDS: Final = ("ago", "count", "counted", "share", "size", "span", "when")
_FILTERS: Final = {"ending": _ending} | {name: getattr(_words, name) for name in _WORDS}


def render(data: Mapping[str, Any]) -> str:
    """Write the page of what `report --output json` prints.

    `UsageError` where the libraries of the `report` extra are not installed.
    """
    try:
        import vl_convert  # noqa: F401 - looked for before anything is made
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise UsageError(
            f"the page needs a library that is not installed ({error.name})",
            remedy="Install it from the checkout with pip install '.[report]', or use --output json.",
        ) from error
    data = _shown(data)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= _FILTERS
    scripts = [_charting(), _inline(_read("page.js"))]
    return environment.from_string(_read("page.html.jinja")).render(
        data=data,
        charts=_drawn(data),
        drift=drift_table(data["drift"]),
        budget_notes=list(budget_notes(data)),
        verdict=verdict(data),
        wrong=any(run["error"] or run["ending"] == "killed" for run in data["runs"]),
        style=_read("page.css"),
        scripts=scripts,
        hashes=[_hash(script) for script in scripts],
    )


def _shown(value: Any) -> Any:
    """The data with every character of its texts to be seen: names stand in tables, charts and errors."""
    if isinstance(value, Mapping):
        return {visible(str(key)): _shown(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(each) for each in value]
    return visible(value) if isinstance(value, str) else value


@cache
def _charting() -> str:
    """The script of Vega-Lite with all that it needs; bundling it takes more than a second."""
    from vl_convert import javascript_bundle

    return _inline(javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def _drawn(data: Mapping[str, Any]) -> dict[str, Any]:
    """The charts that have something to show, by the name of their place in the page."""
    drawn = {
        "outcomes": _charts.outcomes(data),
        "delivered": _charts.delivered(data),
        "latency": _charts.latency(data),
        "backlog_age": _charts.backlog_age(data),
        "backlog": _charts.backlog(data),
        "filtered": _charts.reasons(data, "filtered", "Filtered, by reason"),
        "quarantined": _charts.reasons(data, "quarantined", "Quarantined, by reason"),
        "budget": budget(data),
    }
    return {name: chart for name, chart in drawn.items() if chart is not None}


def _read(name: str) -> str:
    return (_ROOM / name).read_text(encoding="utf-8")


def _inline(script: str) -> str:
    """A script as it may stand in a page: nothing in it ends it early."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _hash(script: str) -> str:
    """What the page's content security policy knows a script by; no other runs."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
