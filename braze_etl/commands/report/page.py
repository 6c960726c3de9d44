"""The page of the report: verdict, data, style and the script of the charts, in one file and no other."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from braze_etl.commands.report import words
from braze_etl.commands.report.charts import charts
from braze_etl.commands.report.words import NOTHING, count, counted, when
from braze_etl.errors import UsageError
from braze_etl.model import Reason
from braze_etl.quoting import visible

Data = Mapping[str, Any]
_FAILURES: Final = {None: "BrazeEtlNoSuccessfulRun", 4: "BrazeEtlNoProgress"}

_KINDS: Final = {
    "unknown_fields": "new field",
    "vanished_fields": "field has vanished",
    "changed_types": "type has changed",
}
_MOST: Final = 200

_ROOM: Final = files("braze_etl.commands.report")
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

_WORDS: Final = ("ago", "count", "counted", "listed", "share", "short", "size", "span", "when")


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
        charts=charts(data),
        drift=drift_rows(data["drift"]),
        bounds=_bounds(data["now"].get("budget", {})),
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


def _read(name: str) -> str:
    return (_ROOM / name).read_text(encoding="utf-8")


def _inline(script: str) -> str:
    """A script as it may stand in a page: nothing in it ends it early."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _hash(script: str) -> str:
    """What the page's content security policy knows a script by; no other runs."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do next: a command, or a heading of the runbooks, and what it is good for."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class PageVerdict:
    """`tone` is good, warn or bad; `head` says it in a few words, `text` all of it."""

    tone: str
    head: str
    text: str
    remedy: str = ""
    steps: Sequence[Step] = ()


_DOCTOR: Final = Step("braze-etl doctor", "tries everything that a run needs")
_STATUS: Final = Step("braze-etl status", "shows what waits, and how runs ended")


def verdict(data: Data) -> PageVerdict:
    """What somebody who opens the page should know first: the worst of what is the case."""
    window = data["now"]["window"]
    if data["failing"]:
        return _failing(data)
    if window["hours_left"] is None:
        return _never_listed(data)
    if window["hours_left"] <= 0 or window["at_risk"]:
        return _late(data, missed=window["hours_left"] <= 0)
    if data["now"].get("source", {}).get("stale"):
        return _quiet(data)
    if data["now"]["forecast"].get("in_time") is False:
        steps = [_STATUS, _runbook("BrazeEtlTooSlow")]
        return PageVerdict("warn", "Too slow.", _sentences(data), steps=steps)
    return PageVerdict("good", "In time.", _sentences(data))


def _failing(data: Data) -> PageVerdict:
    """Runs fail: whatever the window says, it only gets worse until somebody acts."""
    failing = data["failing"]
    error, since = _error(failing), when(failing["since"])
    head = "The last run failed." if failing["runs"] == 1 else f"The last {failing['runs']:,} runs failed."
    if failing["all"] and failing["runs"] > 1:
        head = f"All {failing['runs']:,} runs of this period failed."
    heading = _FAILURES.get(failing["exit_code"], "Exit 1: failed")
    text = f"Since {since}: {_sentence(error['message'])} {_window(data)}"
    return PageVerdict("bad", head, text, error["remedy"], [_DOCTOR, _runbook(heading)])


def _error(failing: Data) -> Mapping[str, str]:
    """What the last of them says; a killed one says nothing."""
    if failing["exit_code"] is None:
        remedy = "Compare its memory limit and deadline with what it needs; --max-runtime must be shorter."
        return {"message": "the last one was killed before its end", "remedy": remedy}
    return failing["error"] or {"message": f"exit code {failing['exit_code']}", "remedy": ""}


def _never_listed(data: Data) -> PageVerdict:
    text = "No run has made a complete listing of the source yet."
    steps = [_DOCTOR, _STATUS if data["period"]["runs"] else Step("braze-etl run", "delivers what is due")]
    return PageVerdict("bad", "Never listed.", text, steps=steps)


def _late(data: Data, *, missed: bool) -> PageVerdict:
    tone, head = ("bad", "The window is missed.") if missed else ("warn", "At risk.")
    steps = [_STATUS, _DOCTOR, _runbook("BrazeEtlObjectiveAtRisk")]
    return PageVerdict(tone, head, _sentences(data), steps=steps)


def _quiet(data: Data) -> PageVerdict:
    """Nothing is late, for nothing comes any more."""
    newest = data["now"]["source"]["newest_hour"]
    said = f"Its newest hour is {when(newest)}." if newest else "No file of it was ever found."
    steps = [_DOCTOR, _runbook("BrazeEtlSourceStale")]
    return PageVerdict("warn", "The source is quiet.", f"{said} {_sentences(data)}", steps=steps)


def _runbook(heading: str) -> Step:
    return Step(heading, "in docs/runbooks.md")


def _sentences(data: Data) -> str:
    return f"{_window(data)} {_forecast(data['now'])}".strip()


def _window(data: Data) -> str:
    left, objective = data["now"]["window"]["hours_left"], data["objective_hours"]
    if left is None:
        return "No run has made a complete listing of the source yet."
    if left <= 0:
        age = objective - left
        return f"The oldest undelivered data is {age:.1f} hours old; the objective is {objective:g}."
    return f"{left:.1f} of {objective:g} hours are left."


def _forecast(now: Data) -> str:
    """At the rate of past runs; if these delivered nothing, that is no rate to foretell from."""
    if not now["backlog"]["files"]:
        return "All that was listed is delivered."
    if now["last_delivery"] is None:
        return f"{counted(now['backlog']['files'], 'file')} are due, and nothing was delivered yet."
    return _sentence(f"Forecast: {now['forecast']['message']}")


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", "!", "?")) else ".")


def drift_rows(drift: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Event type, field, what, was and now, outcome of each finding; only the first few hundred."""
    rows = list(_findings(drift))
    more = [[f"and {count(len(rows) - _MOST)} more", *[""] * 4]] if len(rows) > _MOST else []
    return [*rows[:_MOST], *more]


def _findings(drift: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    for name, facts in drift.get("unknown_event_types", {}).items():
        read = f"{count(facts['records'])} read by a run"
        yield [name, NOTHING, "unknown event type", read, _outcome(facts, "name")]
    for kind, what in _KINDS.items():
        for event_type, fields in drift.get(kind, {}).items():
            for name, facts in fields.items():
                types = f"{facts['was'] or NOTHING}, {facts['now'] or NOTHING}"
                yield [event_type, name, what, types, _outcome(facts, "sent_as")]


def _outcome(facts: Mapping[str, Any], name: str) -> str:
    sent_as = facts.get(name)
    return f"sent as {sent_as}" if facts["outcome"] == "sent" and sent_as else str(facts["outcome"])


def _ending(ending: str) -> tuple[str, str]:
    return _ENDINGS.get(ending, _OTHER_ENDING)


def _bounds(budget: Mapping[str, Any]) -> dict[str, Any]:
    """The periods that have a bound, as the state has them."""
    return {name: each for name in ("month", "day") if (each := budget.get(name)) and each["limit"]}


def _meaning(reason: str) -> str:
    """A reason with what it means; one that only another release knows has its name alone."""
    return f"{reason}: {Reason(reason).meaning}" if reason in set(Reason) else reason


_FILTERS: Final = {"ending": _ending, "meaning": _meaning} | {name: getattr(words, name) for name in _WORDS}
