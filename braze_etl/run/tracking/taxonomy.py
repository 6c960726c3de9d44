"""Amplitude's CSV of a tracking plan: events, each with its properties in the rows below it.

The columns are those that Amplitude documents for import (Amplitude's documentation of Data, ".CSV import and
export", events and event properties), spelled as in the files that Amplitude itself exports, whose further
columns an import ignores. Its header has to have them all.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TextIO

from braze_etl.errors import UsageError
from braze_etl.run.tracking.plan import PlannedEvent, PlannedProperty, TrackingPlan
from braze_etl.run.tracking.theirs import Theirs

COLUMNS: Final = (
    "Action",
    "Object Type",
    "Object Name",
    "Event Display Name",
    "Object Owner",
    "Object Description",
    "Event Category",
    "Tags",
    "Event Activity",
    "Event Hidden From Dropdowns",
    "Event Hidden From Persona Results",
    "Event Hidden From Pathfinder",
    "Event Hidden From Timeline",
    "Event Source",
    "Property Type",
    "Property Group Names",
    "Event Property Name",
    "Property Description",
    "Property Value Type",
    "Property Required",
    "Property Visibility",
    "Property Is Array",
    "String Property Value Min Length",
    "String Property Value Max Length",
    "Number Is Integer",
    "Number Property Value Min",
    "Number Property Value Max",
    "Array Unique Items",
    "Array Min Items",
    "Array Max Items",
    "Enum Values",
    "Const Value",
    "Property Regex",
)
_NEEDED = ("object type", "object name", "event property name")
_REMEDY = "Export it in Amplitude: Data, Events, the export icon (not that of user properties)."
_OPEN_KINDS = frozenset({"", "any", "enum", "const"})


def write_taxonomy(plan: TrackingPlan, stream: TextIO) -> int:
    """Write the plan as CSV and return the number of its events.

    Left out: events that a field names, for nobody knows their names, and those that Braze no longer writes.
    """
    writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    events = [each for _, each in sorted(plan.events.items()) if each.pattern is None and each.is_expected]
    for event in events:
        writer.writerow(_event_row(event))
        writer.writerows(_property_row(name, each) for name, each in sorted(event.properties.items()))
    return len(events)


def _event_row(event: PlannedEvent) -> dict[str, str]:
    return {
        "Object Type": "Event",
        "Object Name": event.name,
        "Object Description": f"Braze Currents: {', '.join(event.types)}",
        "Event Category": event.category,
        "Tags": "Braze",
        "Event Activity": "Inactive" if event.is_inactive else "Active",
    }


def _property_row(name: str, each: PlannedProperty) -> dict[str, str]:
    source = f"Currents field {', '.join(each.fields)}" if each.fields else "set by the mapping"
    return {
        "Property Type": "Event Property",
        "Event Property Name": name,
        "Property Description": source + "; personal data" * each.is_personal,
        "Property Value Type": each.kind.removesuffix("[]"),
        "Property Is Array": "True" if each.kind.endswith("[]") else "",
        "Number Is Integer": "True" if each.is_integer else "",
    }


def read_taxonomy(stream: Iterable[str], name: str, theirs: Theirs) -> None:
    """Add what the CSV plans to *theirs*; `UsageError` if it is no taxonomy of events."""
    reader = csv.DictReader(stream)
    try:
        header = {column.strip().lower(): column for column in reader.fieldnames or ()}
        missing = [column for column in _NEEDED if column not in header]
        if missing:
            raise UsageError(
                f"{name} is no taxonomy of events: it has no column {missing[0]!r}", remedy=_REMEDY
            )
        rows = ({key: (row[column] or "").strip() for key, column in header.items()} for row in reader)
        _Rows(theirs).read(rows)
    except csv.Error as error:
        raise UsageError(f"{name} is no CSV file: line {reader.line_num}: {error}", remedy=_REMEDY) from None
    theirs.is_complete = True


class _Rows:
    """Takes rows in their order: those of properties belong to the event or group above them."""

    def __init__(self, theirs: Theirs) -> None:
        self._theirs = theirs
        self._groups: dict[str, dict[str, str]] = {}
        self._members: list[tuple[str, str]] = []
        self._event: str | None = None
        self._group: str | None = None

    def read(self, rows: Iterable[Mapping[str, str]]) -> None:
        for row in rows:
            self._begin(row)
            self._take_property(row)
        for event, group in self._members:
            for name, kind in self._groups.get(group, {}).items():
                self._theirs.event(event).note(name, kind)

    def _begin(self, row: Mapping[str, str]) -> None:
        name = row["object name"]
        match row["object type"].lower():
            case "event" if row.get("event schema status", "").lower() != "deleted":
                self._event, self._group = name, None
                self._theirs.event(name)
            case "property group":
                self._event, self._group = None, name
            case "":
                return
            case _:
                self._event = self._group = None

    def _take_property(self, row: Mapping[str, str]) -> None:
        name, kind = row["event property name"], _kind(row)
        if self._event is not None:
            self._members += [(self._event, group) for group in _listed(row.get("property group names", ""))]
            if name:
                self._theirs.event(self._event).note(name, kind)
        elif self._group is not None and name:
            self._groups.setdefault(self._group, {})[name] = kind


def _listed(text: str) -> Iterator[str]:
    return (part.strip() for part in text.split(",") if part.strip())


def _kind(row: Mapping[str, str]) -> str:
    kind = row.get("property value type", "").lower()
    if kind in _OPEN_KINDS:
        return "any"
    return kind + "[]" * (row.get("property is array", "").lower() == "true")
