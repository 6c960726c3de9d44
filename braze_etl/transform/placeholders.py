"""Test events of Braze told from real ones: placeholder values and far-future times (currents.md, 1.5)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from braze_etl.model import Record

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_UUID_LENGTH = 36
_DAY = 86_400
_NUMBER = (int, float)  # a tuple: `int | float` would be built anew for every record


@dataclass(frozen=True, slots=True)
class PlaceholderRules:
    """The markers of a test event, and how many have to meet; the record itself carries no flag."""

    needed: int
    id_ends: tuple[str, ...]
    id_begins: tuple[str, ...]
    send_id_begins: tuple[str, ...]
    dispatch_id_is: tuple[str, ...]
    uuid_in: tuple[str, ...]
    days_ahead: int
    name_begins: tuple[str, ...]
    name_fields: tuple[str, ...]

    @property
    def seconds_ahead(self) -> int:
        """How far behind its file's hour a record's time may lie and be no marker."""
        return self.days_ahead * _DAY

    def found(self, record: Record, echoes: list[str], horizon: float) -> list[str]:
        """Name the markers of *record*: `needed` of them or more make a test event; most records have none.

        *echoes* are the fields whose text is their own name in any case (`campaign_name` = `campaign_name`),
        each a marker of its own; whoever walks over the record anyway finds them on the way. *horizon* is the
        file's `date=` hour in epoch seconds, the same for a replay years later. Placeholder names are one
        marker, looked for only beside another.
        """
        markers = [*echoes]
        self._look_at_ids(record, markers)
        for field in self.uuid_in:
            value = record.get(field)
            if isinstance(value, str) and len(value) == _UUID_LENGTH and _UUID.fullmatch(value):
                markers.append(f"{field} is a UUID")
        time = record.get("time")
        if isinstance(time, _NUMBER) and time > horizon + self.seconds_ahead:
            markers.append("time lies far ahead")
        if markers and self._has_placeholder_name(record):
            markers.append("placeholder names")
        return markers

    def _look_at_ids(self, record: Record, markers: list[str]) -> None:
        record_id, send_id = record.get("id"), record.get("send_id")
        if isinstance(record_id, str):
            if record_id.endswith(self.id_ends):
                markers.append("ending of id")
            if record_id.startswith(self.id_begins):
                markers.append("beginning of id")
        if isinstance(send_id, str) and send_id.startswith(self.send_id_begins):
            markers.append("beginning of send_id")
        if record.get("dispatch_id") in self.dispatch_id_is:
            markers.append("dispatch_id")

    def _has_placeholder_name(self, record: Record) -> bool:
        values = (record.get(field) for field in self.name_fields)
        return any(isinstance(value, str) and value.startswith(self.name_begins) for value in values)
