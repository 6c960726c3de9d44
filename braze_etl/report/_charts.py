"""The charts of the page, each from its part of the data; None where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from braze_etl.model import Reason
from braze_etl.report._bars import Bar, Part, bars
from braze_etl.report._chart import Chart, Spec, Table
from braze_etl.report._times import Limit, Period, line, stacked
from braze_etl.report._words import count, share, short, size, stretch, when

Data = Mapping[str, Any]

_OUTCOMES: Final = ("accepted", "filtered", "quarantined")
_COLOURS: Final = ("s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8")


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
