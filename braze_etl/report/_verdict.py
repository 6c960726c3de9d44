"""The first line of the page: whether all is well, and if not, what is wrong and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from braze_etl.report._words import counted, when

Data = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do next: a command, or a heading of the runbooks, and what it is good for."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`tone` is good, warn or bad; `head` says it in a few words, `text` all of it."""

    tone: str
    head: str
    text: str
    remedy: str = ""
    steps: Sequence[Step] = ()


_DOCTOR: Final = Step("braze-etl doctor", "tries everything that a run needs")
_FAILURES: Final = {None: "BrazeEtlNoSuccessfulRun", 4: "BrazeEtlNoProgress"}
_STATUS: Final = Step("braze-etl status", "shows what waits, and how runs ended")


def verdict(data: Data) -> Verdict:
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
        return Verdict("warn", "Too slow.", _sentences(data), steps=steps)
    return Verdict("good", "In time.", _sentences(data))


def _failing(data: Data) -> Verdict:
    """Runs fail: whatever the window says, it only gets worse until somebody acts."""
    failing = data["failing"]
    error, since = _error(failing), when(failing["since"])
    head = "The last run failed." if failing["runs"] == 1 else f"The last {failing['runs']:,} runs failed."
    if failing["all"] and failing["runs"] > 1:
        head = f"All {failing['runs']:,} runs of this period failed."
    heading = _FAILURES.get(failing["exit_code"], "Exit 1: failed")
    text = f"Since {since}: {_sentence(error['message'])} {_window(data)}"
    return Verdict("bad", head, text, error["remedy"], [_DOCTOR, _runbook(heading)])


def _error(failing: Data) -> Mapping[str, str]:
    """What the last of them says; a killed one says nothing."""
    if failing["exit_code"] is None:
        remedy = "Compare its memory limit and deadline with what it needs; --max-runtime must be shorter."
        return {"message": "the last one was killed before its end", "remedy": remedy}
    return failing["error"] or {"message": f"exit code {failing['exit_code']}", "remedy": ""}


def _never_listed(data: Data) -> Verdict:
    text = "No run has made a complete listing of the source yet."
    steps = [_DOCTOR, _STATUS if data["period"]["runs"] else Step("braze-etl run", "delivers what is due")]
    return Verdict("bad", "Never listed.", text, steps=steps)


def _late(data: Data, *, missed: bool) -> Verdict:
    tone, head = ("bad", "The window is missed.") if missed else ("warn", "At risk.")
    return Verdict(tone, head, _sentences(data), steps=_late_steps())


def _quiet(data: Data) -> Verdict:
    """Nothing is late, for nothing comes any more."""
    newest = data["now"]["source"]["newest_hour"]
    said = f"Its newest hour is {when(newest)}." if newest else "No file of it was ever found."
    steps = [_DOCTOR, _runbook("BrazeEtlSourceStale")]
    return Verdict("warn", "The source is quiet.", f"{said} {_sentences(data)}", steps=steps)


def _late_steps() -> list[Step]:
    return [_STATUS, _DOCTOR, _runbook("BrazeEtlObjectiveAtRisk")]


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
