"""What an Amplitude project has: a taxonomy in CSV, read and written, and events of the Export API.

In the CSV, an event has its properties in the rows below it.

The columns are those that Amplitude documents for import (Amplitude's documentation of Data, ".CSV import and
export", events and event properties), spelled as in the files that Amplitude itself exports, whose further
columns an import ignores. Its header has to have them all.
"""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO, TypeAlias

import orjson

from braze_etl.commands.mapping.tracking_plan import PlannedEvent, PlannedProperty, TrackingPlan, kind_of
from braze_etl.errors import UsageError

_CONNECTOR = "Braze"
"""The `library` of the events that Braze's own connector sends, and this program under `native`."""

COLUMNS: Final = (
    *("Action", "Object Type", "Object Name", "Event Display Name", "Object Owner"),
    *("Object Description", "Event Category", "Tags", "Event Activity"),
    *("Event Hidden From Dropdowns", "Event Hidden From Persona Results"),
    *("Event Hidden From Pathfinder", "Event Hidden From Timeline", "Event Source"),
    *("Property Type", "Property Group Names", "Event Property Name", "Property Description"),
    *("Property Value Type", "Property Required", "Property Visibility", "Property Is Array"),
    *("String Property Value Min Length", "String Property Value Max Length", "Number Is Integer"),
    *("Number Property Value Min", "Number Property Value Max", "Array Unique Items"),
    *("Array Min Items", "Array Max Items", "Enum Values", "Const Value", "Property Regex"),
)
_NEEDED = ("object type", "object name", "event property name")
_REMEDY = "Export it in Amplitude: Data, Events, the export icon (not that of user properties)."
_OPEN_KINDS = frozenset({"", "any", "enum", "const"})

_Stream: TypeAlias = io.BufferedReader | gzip.GzipFile | zipfile.ZipExtFile

_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"
_EMPTY_ZIP: Final = b"PK\x05\x06"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_LAYERS: Final = 2
"""A zip of gzip files; archives that hold themselves would be unpacked for ever."""
_DAMAGED: Final = (EOFError, OSError, zlib.error, zipfile.BadZipFile, UnicodeDecodeError)
_EXPECTED: Final = {
    ".zip": "a zip of exported events",
    ".gz": "a gzip file",
    ".json": "events in JSON, one on each line",
}
"""What a file is by its name, where its first bytes do not show it."""
_SHOWN: Final = 20
"""Bytes that tell what a file is, and that an error text quotes."""
_FILE_REMEDY: Final = (
    "Name a taxonomy as Amplitude exports it (.csv), or files of the Export API (.zip, .json.gz, .json)."
)


@dataclass(slots=True)
class TaxonomyEvent:
    """The kinds seen of each property (none where that is open), and whether the event is surely Braze's."""

    properties: dict[str, set[str]] = field(default_factory=dict)
    is_brazes: bool = False

    def note(self, name: str, kind: str) -> None:
        """Add a property, or one more kind of its values; `any` says nothing."""
        self.properties.setdefault(name, set()).update(() if kind == "any" else (kind,))


@dataclass(slots=True)
class Taxonomy:
    """All events by name. `is_complete`: a taxonomy is among what was read: what is absent does not exist."""

    events: dict[str, TaxonomyEvent] = field(default_factory=dict)
    is_complete: bool = False
    events_read: int = 0

    def event(self, name: str) -> TaxonomyEvent:
        """The event of that name, which is made if it is not there."""
        return self.events.setdefault(name, TaxonomyEvent())

    def observe(self, exported: dict[str, Any]) -> None:
        """Take one event of the Export API (amplitude.md, 5.1)."""
        name, properties = exported["event_type"], exported.get("event_properties")
        event = self.event(str(name))
        self.events_read += 1
        event.is_brazes |= exported.get("library") == _CONNECTOR
        for key, value in (properties if isinstance(properties, dict) else {}).items():
            if value is not None:
                event.note(key, kind_of([value]))


def read_taxonomy(paths: Iterable[Path]) -> Taxonomy:
    """Read all files together; `UsageError` names the one that can't be read, and what is wrong with it."""
    taxonomy = Taxonomy()
    for path in paths:
        try:
            with path.open("rb") as stream:
                _read(stream, str(path), taxonomy)
        except _DAMAGED as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise UsageError(f"{path} can't be read: {reason}", remedy=_FILE_REMEDY) from None
    return taxonomy


def _read(stream: _Stream, name: str, taxonomy: Taxonomy, layers: int = 0) -> None:
    begin = stream.peek(_SHOWN)[:_SHOWN]
    if begin.startswith((_ZIP, _GZIP)):
        if layers == _LAYERS:
            raise UsageError(f"{name} is packed more than {_LAYERS} times", remedy=_FILE_REMEDY)
        _unpack(stream, name, taxonomy, layers + 1, is_zip=begin.startswith(_ZIP))
    elif begin.removeprefix(_BYTE_ORDER_MARK).lstrip().startswith(b"{"):
        _read_events(stream, name, taxonomy)
    else:
        expected = _EXPECTED.get(Path(name.removesuffix(".gz") if layers else name).suffix.lower())
        if expected is not None:
            raise UsageError(f"{name} should be {expected}, but {_found(begin)}", remedy=_FILE_REMEDY)
        read_csv(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), name, taxonomy)


def _found(begin: bytes) -> str:
    if not begin:
        return "is empty"
    if begin.startswith(_EMPTY_ZIP):
        return "is a zip file with nothing in it"
    is_text = all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in begin)
    return f"begins with {begin.decode()!r}" if is_text else f"begins with the bytes {begin.hex(' ')}"


def _unpack(stream: _Stream, name: str, taxonomy: Taxonomy, layers: int, *, is_zip: bool) -> None:
    if not is_zip:
        with gzip.GzipFile(fileobj=stream) as inner:
            _read(inner, name, taxonomy, layers)
        return
    with zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                with archive.open(member) as part:
                    assert isinstance(part, zipfile.ZipExtFile)  # the stubs promise less
                    _read(part, f"{name}, {member.filename}", taxonomy, layers)


def _read_events(lines: Iterable[bytes], name: str, taxonomy: Taxonomy) -> None:
    for number, line in enumerate(lines, 1):
        text = line.removeprefix(_BYTE_ORDER_MARK).strip()
        if not text:
            continue
        try:
            event = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise UsageError(f"{name}: line {number} is no JSON: {error}", remedy=_FILE_REMEDY) from None
        if not isinstance(event, dict) or "event_type" not in event:
            raise UsageError(f"{name}: line {number} is no event: it has no event_type", remedy=_FILE_REMEDY)
        taxonomy.observe(event)


def read_csv(stream: Iterable[str], name: str, taxonomy: Taxonomy) -> None:
    """Add what the CSV plans to *taxonomy*; `UsageError` if it is no taxonomy of events."""
    reader = csv.DictReader(stream)
    try:
        header = {column.strip().lower(): column for column in reader.fieldnames or ()}
        missing = [column for column in _NEEDED if column not in header]
        if missing:
            raise UsageError(
                f"{name} is no taxonomy of events: it has no column {missing[0]!r}", remedy=_REMEDY
            )
        rows = ({key: (row[column] or "").strip() for key, column in header.items()} for row in reader)
        _Rows(taxonomy).read(rows)
    except csv.Error as error:
        raise UsageError(f"{name} is no CSV file: line {reader.line_num}: {error}", remedy=_REMEDY) from None
    taxonomy.is_complete = True


class _Rows:
    """Takes rows in their order: those of properties belong to the event or group above them."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self._taxonomy = taxonomy
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
                self._taxonomy.event(event).note(name, kind)

    def _begin(self, row: Mapping[str, str]) -> None:
        name = row["object name"]
        match row["object type"].lower():
            case "event" if row.get("event schema status", "").lower() != "deleted":
                self._event, self._group = name, None
                self._taxonomy.event(name)
            case "property group":
                self._event, self._group = None, name
            case "":
                return
            case _:
                self._event = self._group = None

    def _take_property(self, row: Mapping[str, str]) -> None:
        name, kind = row["event property name"], _kind(row)
        if self._event is not None:
            groups = map(str.strip, row.get("property group names", "").split(","))
            self._members += [(self._event, group) for group in groups if group]
            if name:
                self._taxonomy.event(self._event).note(name, kind)
        elif self._group is not None and name:
            self._groups.setdefault(self._group, {})[name] = kind


def _kind(row: Mapping[str, str]) -> str:
    kind = row.get("property value type", "").lower()
    if kind in _OPEN_KINDS:
        return "any"
    return kind + "[]" * (row.get("property is array", "").lower() == "true")


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
