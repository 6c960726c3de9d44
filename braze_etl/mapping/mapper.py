"""A plan carried out on records, one at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from math import isfinite
from typing import Any

from braze_etl.mapping.choice import Choice, chooser, filter_first, text_of
from braze_etl.mapping.identity import is_left_out
from braze_etl.mapping.limits import MAX_INTEGER, MAX_PROPERTIES, cut, fit, too_many
from braze_etl.mapping.mapping import TypePlan
from braze_etl.mapping.names import RESERVED
from braze_etl.mapping.rules import exploder
from braze_etl.model import Event, Reason, Record, Verdict

END_OF_TIME = 253_402_300_800
"""The year 10000 in epoch seconds: Amplitude documents no bound and stores what it is sent."""

NUMERIC_KEYS = frozenset({"price", "quantity", "revenue", "location_lat", "location_lng"})
"""Keys at the top of an event that Amplitude takes as numbers; the others that fields go to are text."""

_NUMBER = (int, float)  # a tuple: `int | float` would be built anew for every record


def milliseconds(time: Any) -> int | None:
    """Turn epoch seconds into whole milliseconds; None for no number, or one outside 1970 to 9999."""
    if isinstance(time, bool) or not isinstance(time, _NUMBER):
        return None
    if not 0 <= time < END_OF_TIME:
        return None
    return round(time * 1000)


def fits(key: str, value: Any) -> bool:
    """Whether Amplitude takes *value* at the top of an event under *key*: numbers for price, else text."""
    if key in NUMERIC_KEYS:
        is_number = isinstance(value, _NUMBER) and not isinstance(value, bool)
        return is_number and (isinstance(value, float) or -MAX_INTEGER <= value <= MAX_INTEGER)
    return isinstance(value, str)


def mapper_for(plan: TypePlan) -> Mapper:
    """Make the mapper of one event type."""
    return Mapper(plan)


class Mapper:
    """Turns records of one event type into events, or verdicts; it never raises for what a record holds.

    `repairs` counts what was mended on the way: those of `limits`, and `device_id_left_out`, a device id that
    Amplitude would refuse beside a good user id.
    """

    def __init__(self, plan: TypePlan) -> None:
        self.plan = plan
        self.repairs: Counter[str] = Counter()
        self._fields = cache(lambda field: (plan.targets(field), len(field)))
        self._choose = _chooser(plan.choice)
        self._find_loop = _chooser(plan.loop_guard)
        self._explode = [(each.field, exploder(each, self.repairs)) for each in plan.explosions]

    def __call__(self, record: Record, horizon: float) -> Event | Verdict:
        """Map one record; *horizon* is the `date=` hour of its file, in epoch seconds."""
        if verdict := self._filtered(record):
            return verdict
        plan = self.plan
        properties, echoes, unfit = self._read(record)
        rules = plan.placeholders
        if rules is not None and (markers := rules.found(record, echoes, horizon)):
            return Verdict(Reason.TEST_EVENT, f"placeholder values: {', '.join(markers)}")
        device = record.get("device_id")
        event = plan.identity.resolve(record.get("external_user_id"), device, record.get("user_id"))
        if isinstance(event, Verdict):
            return filter_first(event, self._find_loop(record))
        if verdict := self._find_loop(record):
            return verdict
        if fault := unfit or self._complete(event, record, properties, horizon):
            return Verdict(Reason.INVALID_EVENT, fault)
        if is_left_out(device, event):
            self.repairs["device_id_left_out"] += 1
        return event

    def _filtered(self, record: Record) -> Verdict | None:
        whole = self.plan.filter
        if whole is not None and whole.reason is not Reason.HELD:
            return whole
        return self._choose(record) or whole

    def _read(self, record: Record) -> tuple[dict[str, Any], list[str], str]:
        # One pass over the fields, because here the time goes: the properties, the fields that hold their own
        # name (see `PlaceholderRules.found`), and a number that orjson would silently write as null.
        properties: dict[str, Any] = {}
        echoes: list[str] = []
        unfit = ""
        facts_of = self._fields
        for field, value in record.items():
            if value is None:
                continue
            targets, length = facts_of(field)
            kind = value.__class__
            if kind is str:
                if len(value) == length and value.lower() == field.lower():
                    echoes.append(field)
            elif kind is float and not isfinite(value):
                unfit = f"{field} is {value}, which JSON has no number for"
            for name, change in targets:
                sent = fit(value if change is None else change(value), self.repairs)
                if sent is not None:
                    properties[name] = sent
        return properties, echoes, unfit

    def _complete(self, event: Event, record: Record, properties: dict[str, Any], horizon: float) -> str:
        # Adds all that follows the identity; says what is wrong with the record instead, if anything is.
        time = milliseconds(record.get("time"))
        fault = self._unusable(record, time, horizon) or self._name(event, record)
        if fault:
            return fault
        event["time"] = time
        event["insert_id"] = record["id"]
        event.update(self.plan.constants)
        if fault := self._lift(event, record):
            return fault
        for field, explode in self._explode:
            properties.update(explode(record.get(field)))
        properties.update(self.plan.fixed)
        if len(properties) > MAX_PROPERTIES:
            return too_many(properties)
        event["event_properties"] = properties
        return ""

    def _unusable(self, record: Record, time: int | None, horizon: float) -> str:
        insert_id = record.get("id")
        if not isinstance(insert_id, str) or not insert_id:
            return "id is missing: without it, a repeat of this record would count twice"
        if time is None:
            return "time is no number of seconds from 1970 through 9999"
        return self._time_fault(time / 1000, horizon)

    def _time_fault(self, time: float, horizon: float) -> str:
        bounds = self.plan.time
        if time < bounds.earliest:
            return "time lies before time.min"
        if bounds.max_future is not None and time > horizon + bounds.max_future.total_seconds():
            return "time lies behind its file's hour by more than time.max_future"
        return ""

    def _name(self, event: Event, record: Record) -> str:
        parts: list[str] = []
        for part in self.plan.naming.parts:
            if isinstance(part, str):
                parts.append(part)
                continue
            value = self._public(record, part.field)
            if value is None or value == "":
                value = part.default
            if part.default is None and not (isinstance(value, str) and value):
                return f"{part.field} is missing: without it, the event has no name"
            parts.append(text_of(value))
        name = cut("".join(parts), self.repairs)
        if name in RESERVED or not name:
            return f"the name {name!r} is one that Amplitude refuses or keeps for itself"
        event["event_type"] = name
        return ""

    def _public(self, record: Record, field: str) -> Any:
        """The value of a field as it may travel."""
        value, change = record.get(field), self.plan.change(field)
        return value if value is None or change is None else change(value)

    def _lift(self, event: Event, record: Record) -> str:
        # Amplitude refuses the whole event when one of these keys has another type (amplitude.md, 1.4).
        for field, key in self.plan.lifted.items():
            value = record.get(field)
            if value is None:
                continue
            if not fits(key, value):
                return f"{field} is {type(value).__name__}, which Amplitude refuses as {key}"
            event[key] = fit(value, self.repairs)
        for group in self.plan.lifted_groups:
            values = {key: record.get(field) for field, key in group.items()}
            if all(fits(key, value) for key, value in values.items()):
                event.update((key, fit(value, self.repairs)) for key, value in values.items())
        ad_id, kind = record.get("ad_id"), record.get("ad_id_type")
        if ad_id and isinstance(ad_id, str) and isinstance(kind, str) and kind in self.plan.advertising_ids:
            event[self.plan.advertising_ids[kind]] = fit(ad_id, self.repairs)
        return ""


def _chooser(choice: Choice | None) -> Callable[[Record], Verdict | None]:
    if choice is None:
        return lambda _: None
    choose, fields = chooser(choice), choice.fields
    return lambda record: choose(*(record.get(field) for field in fields))
