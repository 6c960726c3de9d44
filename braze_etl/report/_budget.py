"""What is spent of the budget: bars of the month and of the day, and what there is to say of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from braze_etl.report._bars import Bar, Part, bars
from braze_etl.report._chart import Chart, Table
from braze_etl.report._words import count, listed, share, short, when

_ABOUT = "Events spent of what may be sent in this month and on this day, as the state has them now."


def budget(data: Mapping[str, Any]) -> Chart | None:
    """The chart, or None where no bound is configured."""
    found = data["now"].get("budget", {})
    bounds = {name: each for name in ("month", "day") if (each := found.get(name)) and each["limit"]}
    if not bounds:
        return None
    lines = [_bar(f"{name} {each['period']}", each) for name, each in bounds.items()]
    rows = [
        [f"{name} {each['period']}", *(count(each[column]) for column in ("spent", "limit", "left"))]
        for name, each in bounds.items()
    ]
    table = Table(["budget", "spent", "limit", "left"], rows)
    notes = [*_ends(bounds), *budget_notes(data)]
    return Chart("budget", "Budget", _ABOUT, bars(lines, _ABOUT, whole=True), table, notes=notes)


def budget_notes(data: Mapping[str, Any]) -> Iterator[str]:
    """What the budget has held, and what was spent in money."""
    if held := data["held"]:
        types = listed([short(name) for name in held["event_types"]])
        yield f"The last complete run held {count(held['records'])} records of {types}."
    if cost := data["now"].get("budget", {}).get("cost"):
        yield f"Cost: {cost['month']} {cost['currency']} this month, {cost['day']} {cost['currency']} today."


def _bar(label: str, bound: Mapping[str, Any]) -> Bar:
    tone = "bad" if not bound["left"] else "warn" if bound["warned"] else "accepted"
    parts = [Part("spent", bound["spent"], tone), Part("left", bound["left"], "track")]
    spent = share(bound["spent"], bound["limit"])
    return Bar(label, parts, f"{spent} of {count(bound['limit'])} spent", spent)


def _ends(bounds: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, each in bounds.items():
        if not each["left"]:
            yield f"Of the {name} nothing is left until {when(each['ends_at'])}."
