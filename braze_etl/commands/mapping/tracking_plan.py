"""The events and properties that the mapping sends, by their names in Amplitude."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, TypeVar

from braze_etl.braze.currents.catalogue import EventType, load_catalogue
from braze_etl.mapping.mapping import EventMapping, TypePlan
from braze_etl.mapping.vocabulary import known_types

_KINDS: Final = {
    "string": "string",
    "int": "number",
    "long": "number",
    "float": "number",
    "boolean": "boolean",
    "array<string>": "string[]",
    "array<null|string>": "string[]",
}
_SAMPLES: Final = {"string": "x", "number": 1, "boolean": True, "string[]": ["x"]}
ANY: Final = "any"

_PASSIVE: Final = frozenset(
    {"Abort", "Bounce", "CarrierSend", "Deferral", "Delivery", "DeliveryFailure"}
    | {"Failure", "Rejection", "Retry", "Send", "SoftBounce"}
)
"""Last parts of types about a message on its way: sends, deliveries, aborts, bounces and their like."""


@dataclass(frozen=True, slots=True)
class PlannedProperty:
    """A property: its `kind` is `string`, `number`, `boolean`, `string[]`, or `any` where that is open.

    `fields` are the Currents fields that it comes from; none where the mapping sets it.
    """

    kind: str
    fields: tuple[str, ...] = ()
    is_integer: bool = False
    is_personal: bool = False

    def joined(self, other: PlannedProperty) -> PlannedProperty:
        """The property of two event types, or of two fields."""
        return PlannedProperty(
            self.kind if self.kind == other.kind else ANY,
            tuple(dict.fromkeys([*self.fields, *other.fields])),
            self.is_integer and other.is_integer,
            self.is_personal or other.is_personal,
        )


@dataclass(frozen=True)
class PlannedEvent:
    """An event of one name, of one Currents type or of several.

    `pattern` matches the names of events that a field names, such as custom events; None for all others.
    `prefixes` begin the names of properties that nobody knows beforehand. `is_known`: the catalogue knows all
    fields; `is_expected`: it is of a type that Braze still writes. `is_inactive`: no doing of the user's.
    """

    name: str
    types: tuple[str, ...]
    pattern: re.Pattern[str] | None
    properties: Mapping[str, PlannedProperty]
    prefixes: tuple[str, ...] = ()
    is_known: bool = True
    is_expected: bool = True
    is_inactive: bool = False
    category: str = ""

    def joined(self, other: PlannedEvent) -> PlannedEvent:
        """The event of two types that bear one name."""
        return replace(
            self,
            types=(*self.types, *other.types),
            properties=_joined([*self.properties.items(), *other.properties.items()]),
            prefixes=(*self.prefixes, *other.prefixes),
            is_known=self.is_known and other.is_known,
            is_expected=self.is_expected or other.is_expected,
            is_inactive=self.is_inactive and other.is_inactive,
        )


_Item = TypeVar("_Item", PlannedEvent, PlannedProperty)


@dataclass(frozen=True)
class TrackingPlan:
    """All events by name; `not_sent` has the names of those that the configuration does not send, and why."""

    events: Mapping[str, PlannedEvent]
    not_sent: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str) -> PlannedEvent | None:
        """The event of that name, or the one whose pattern it matches."""
        found = self.events.get(name)
        if found is not None and found.pattern is None:
            return found
        return next((event for event in self._patterns if event.pattern and event.pattern.match(name)), None)

    @cached_property
    def _patterns(self) -> tuple[PlannedEvent, ...]:
        # The longest fixed text first: `[Appboy] [Custom Event] x` is no `[Appboy] x`.
        patterns = [event for event in self.events.values() if event.pattern]
        return tuple(sorted(patterns, key=lambda event: len(event.name.partition("{")[0]), reverse=True))


def planned(mapping: EventMapping, is_selected: Callable[[str], bool] = lambda _: True) -> TrackingPlan:
    """Make the plan of every known event type; *is_selected* tells which types the source has files of."""
    plans = [(plan, why_not(plan, is_selected)) for plan in map(mapping.plan, known_types(mapping))]
    sent = (_planned(plan, load_catalogue().get(plan.event_type)) for plan, why in plans if not why)
    events = _joined((event.name, event) for event in sent)
    not_sent = {plan.name: why for plan, why in plans if why and plan.name not in events}
    return TrackingPlan(events, not_sent)


def _joined(items: Iterable[tuple[str, _Item]]) -> dict[str, _Item]:
    """By name; those of one name put together."""
    found: dict[str, _Item] = {}
    for name, each in items:
        found[name] = found[name].joined(each) if name in found else each
    return found


def why_not(plan: TypePlan, is_selected: Callable[[str], bool]) -> str:
    """Why no record of a type is sent; empty where records are."""
    if not is_selected(plan.event_type):
        return "source.event_types"
    return plan.withheld.value if plan.withheld else ""


def _planned(plan: TypePlan, kind: EventType | None) -> PlannedEvent:
    return PlannedEvent(
        name=plan.name,
        types=(plan.event_type,),
        pattern=_pattern(plan),
        properties=_properties(plan, kind),
        prefixes=tuple(explosion.prefix for explosion in plan.explosions),
        is_known=kind is not None and bool(kind.fields),
        is_expected=kind is None or kind.status != "retired",
        is_inactive=plan.event_type.rpartition(".")[2] in _PASSIVE,
        category=f"Braze {kind.channel or kind.category.replace('_', ' ')}" if kind else "Braze",
    )


def _pattern(plan: TypePlan) -> re.Pattern[str] | None:
    if not plan.naming.fields:
        return None
    texts = (re.escape(part) if isinstance(part, str) else ".+" for part in plan.naming.parts)
    return re.compile("".join(texts) + r"\Z", re.DOTALL)


def _properties(plan: TypePlan, kind: EventType | None) -> dict[str, PlannedProperty]:
    fixed = {name: PlannedProperty(kind_of([value])) for name, value in plan.fixed.items()}
    return _joined(_of_fields(plan, kind)) | fixed


def _of_fields(plan: TypePlan, kind: EventType | None) -> Iterator[tuple[str, PlannedProperty]]:
    for name, facts in kind.fields.items() if kind else ():
        for target, change in plan.targets(name):
            as_sent = _KINDS.get(facts.avro, ANY)
            if change is not None:
                # What privacy does to a value shows on any; what a table makes of one is not known here.
                as_sent = kind_of([change(_SAMPLES.get(as_sent))]) if name in plan.rules.private else ANY
            is_integer = as_sent == "number" and facts.avro != "float"
            yield target, PlannedProperty(as_sent, (name,), is_integer, facts.pii)


def kind_of(values: Iterable[Any]) -> str:
    """The kind of property that JSON values are; `any` where they are of several, or of none."""
    kinds = {_kind(value) for value in values if value is not None}
    return kinds.pop() if len(kinds) == 1 else ANY


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "string[]" if all(isinstance(item, str | None) for item in value) else ANY
    return ANY
