"""A plan carried out on records, one at a time."""

from __future__ import annotations

from collections import Counter
from math import isfinite
from typing import Any

from braze_etl.model import Event, Reason, Record, Verdict
from braze_etl.transform.identity import is_left_out
from braze_etl.transform.plan import TypePlan
from braze_etl.transform.values import explode, fits, milliseconds

_WITHHELD = {
    Reason.NOT_IN_NATIVE: "no customer event; name its type in mapping.send to have it sent",
    Reason.HELD: "the preset does not list this type, and mapping.unknown_types is hold",
}


def mapper_for(plan: TypePlan) -> Mapper:
    """Make the mapper of one event type."""
    return Mapper(plan)


class Mapper:
    """Turns records of one event type into events, or verdicts; it never raises for what a record holds.

    `repairs` counts what was mended on the way: `device_id_left_out`, a device id that Amplitude would refuse
    beside a good user id.
    """

    def __init__(self, plan: TypePlan) -> None:
        self.plan = plan
        self.repairs: Counter[str] = Counter()
        self._fields = _Fields(plan)
        self._withheld = None if plan.withheld is None else Verdict(plan.withheld, _WITHHELD[plan.withheld])

    def __call__(self, record: Record, horizon: float) -> Event | Verdict:
        """Map one record; *horizon* is the `date=` hour of its file, in epoch seconds."""
        if self._withheld is not None:
            return self._withheld
        properties, echoes, unfit = self._read(record)
        rules = self.plan.placeholders
        if rules is not None:
            markers = rules.found(record, echoes, horizon)
            if len(markers) >= rules.needed:
                return Verdict(Reason.TEST_EVENT, f"placeholder values: {', '.join(markers)}")
        device = record.get("device_id")
        event = self.plan.identity.resolve(record.get("external_user_id"), device, record.get("user_id"))
        if isinstance(event, Verdict):
            return event
        if fault := unfit or self._complete(event, record, properties):
            return Verdict(Reason.INVALID_EVENT, fault)
        if is_left_out(device, event):
            self.repairs["device_id_left_out"] += 1
        return event

    def _read(self, record: Record) -> tuple[dict[str, Any], list[str], str]:
        # One pass over the fields, because here the time goes: the properties, the fields that hold their own
        # name (see `PlaceholderRules.found`), and a number that orjson would silently write as null.
        properties: dict[str, Any] = {}
        echoes: list[str] = []
        unfit = ""
        fields = self._fields
        for field, value in record.items():
            if value is None:
                continue
            name, length = fields[field]
            if value.__class__ is str:
                if len(value) == length and value.lower() == field.lower():
                    echoes.append(field)
            elif value.__class__ is float and not isfinite(value):
                unfit = f"{field} is {value}, which JSON has no number for"
            if name is not None:
                properties[name] = value
        return properties, echoes, unfit

    def _complete(self, event: Event, record: Record, properties: dict[str, Any]) -> str:
        # Adds all that follows the identity; says what is wrong with the record instead, if anything is.
        plan = self.plan
        insert_id, time, name = record.get("id"), milliseconds(record.get("time")), plan.title
        if not isinstance(insert_id, str) or not insert_id:
            return "id is missing: without it, a repeat of this record would count twice"
        if time is None:
            return "time is no number of seconds from 1970 through 9999"
        if plan.name_field is not None:
            own = record.get(plan.name_field)
            if not isinstance(own, str) or not own:
                return f"{plan.name_field} is missing: without it, the event has no name"
            name += own
        event["event_type"] = name
        event["time"] = time
        event["insert_id"] = insert_id
        event.update(plan.constants)
        fault = self._lift(event, record)
        if fault:
            return fault
        for field, prefix in plan.exploded.items():
            properties.update(explode(record.get(field), prefix, field))
        event["event_properties"] = properties
        return ""

    def _lift(self, event: Event, record: Record) -> str:
        # Amplitude refuses the whole event when one of these keys has another type (amplitude.md, 1.4).
        for field, key in self.plan.lifted.items():
            value = record.get(field)
            if value is None:
                continue
            if not fits(key, value):
                return f"{field} is {type(value).__name__}, which Amplitude refuses as {key}"
            event[key] = value
        ad_id, kind = record.get("ad_id"), record.get("ad_id_type")
        if ad_id and isinstance(ad_id, str) and isinstance(kind, str) and kind in self.plan.advertising_ids:
            event[self.plan.advertising_ids[kind]] = ad_id
        return ""


class _Fields(dict[str, tuple[str | None, int]]):
    """Field -> the property it becomes, and the length of its own name; asked of the plan once for each."""

    def __init__(self, plan: TypePlan) -> None:
        super().__init__()
        self._plan = plan

    def __missing__(self, field: str) -> tuple[str | None, int]:
        facts = self[field] = (self._plan.property_name(field), len(field))
        return facts
