"""Test events of Braze told from real ones, by ids that no real record can have (currents.md, 1.5)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from braze_etl.model import Record

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_UUID_LENGTH = 36
_DAY = 86_400
_NUMBER = (int, float)  # a tuple: `int | float` would be built anew for every record


@dataclass(frozen=True, slots=True)
class PlaceholderRules:
    """The markers of a test event; the record itself carries no flag.

    Proof is an identifier that Braze gives and that is a placeholder, beside any other marker; or so many
    fields that hold their own names. Names, carriers, browsers and clocks prove nothing: people name a
    campaign `Test Campaign`, iOS calls every carrier `Carrier`, and devices live in any year.
    """

    needed: int
    echoes_needed: int
    id_ends: tuple[str, ...]
    ids_of_braze: tuple[str, ...]
    id_begins: tuple[str, ...]
    send_id_begins: tuple[str, ...]
    dispatch_id_is: tuple[str, ...]
    uuid_in: tuple[str, ...]
    identifiers: frozenset[str]
    everyday: frozenset[str]
    days_ahead: int
    name_begins: tuple[str, ...]
    name_fields: tuple[str, ...]

    def found(self, record: Record, echoes: list[str], horizon: float) -> list[str]:
        """Name the markers of a test event; a real record, as most are, has none.

        *echoes* are the fields whose text is their own name in any case (`campaign_name` = `campaign_name`);
        whoever walks over the record anyway finds them on the way. *horizon* is the file's `date=` hour in
        epoch seconds, the same for a replay years later.
        """
        proof = [*self._placeholder_ids(record), *(each for each in echoes if each in self.identifiers)]
        if not proof and len(echoes) < self.echoes_needed:
            return []
        markers = [*proof, *(each for each in echoes if each not in self.identifiers)]
        if sum(each not in self.everyday for each in echoes) >= self.echoes_needed:
            return markers
        markers += self._hints(record, horizon)
        return markers if proof and len(markers) >= self.needed else []

    def _placeholder_ids(self, record: Record) -> Iterator[str]:
        for field in self.ids_of_braze:
            value = record.get(field)
            if isinstance(value, str) and value.endswith(self.id_ends):
                yield f"ending of {field}"
        record_id, send_id = record.get("id"), record.get("send_id")
        if isinstance(record_id, str) and record_id.startswith(self.id_begins):
            yield "beginning of id"
        if isinstance(send_id, str) and send_id.startswith(self.send_id_begins):
            yield "beginning of send_id"
        if record.get("dispatch_id") in self.dispatch_id_is:
            yield "dispatch_id"
        for field in self.uuid_in:
            value = record.get(field)
            if isinstance(value, str) and len(value) == _UUID_LENGTH and _UUID.fullmatch(value):
                yield f"{field} is a UUID"

    def _hints(self, record: Record, horizon: float) -> Iterator[str]:
        """What real records have too, and counts beside an identifier alone."""
        time = record.get("time")
        if isinstance(time, _NUMBER) and time > horizon + self.days_ahead * _DAY:
            yield "time lies far ahead"
        values = (record.get(field) for field in self.name_fields)
        if any(isinstance(value, str) and value.startswith(self.name_begins) for value in values):
            yield "placeholder names"
