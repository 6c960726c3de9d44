"""The mapping in force, for people: all event types in a line each, and one type field by field."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from braze_etl.braze.currents.catalogue import EventType, load_catalogue
from braze_etl.clock import duration_text, iso
from braze_etl.commands.mapping.tracking_plan import why_not
from braze_etl.errors import UsageError
from braze_etl.globs import is_glob
from braze_etl.mapping.choice import Choice
from braze_etl.mapping.mapping import EventMapping, TypePlan
from braze_etl.mapping.vocabulary import known_types

_IDENTITY: Final = {
    "external_user_id": "user_id",
    "device_id": "device_id",
    "time": "time",
    "id": "insert_id",
}
"""Fields that every event has at its top, and under which key."""
_ADDRESS: Final = "https://example.com/"


def list_types(mapping: EventMapping, is_selected: Callable[[str], bool]) -> dict[str, dict[str, Any]]:
    """Every event type of the catalogue and the preset: its name in Amplitude, its outcome, its properties.

    `outcome` is `sent`, or why no record of the type is sent.
    """
    return {name: _line(mapping, name, is_selected) for name in known_types(mapping)}


def _line(mapping: EventMapping, name: str, is_selected: Callable[[str], bool]) -> dict[str, Any]:
    plan, kind = mapping.plan(name), load_catalogue().get(name)
    return {
        "name": plan.name,
        "outcome": why_not(plan, is_selected) or "sent",
        "conditional": plan.choice is not None or plan.loop_guard is not None,
        "properties": sum(bool(plan.targets(field)) for field in (kind.fields if kind else ()))
        + len(plan.fixed),
        "documented": plan.documented,
        "status": kind.status if kind else "unknown",
    }


def show_type(mapping: EventMapping, event_type: str, is_selected: Callable[[str], bool]) -> dict[str, Any]:
    """One type's final mapping; a type that this release does not know goes by rule, and gets a note."""
    if is_glob(event_type):
        names = "`braze-etl mapping list` names all that are known."
        raise UsageError(f"{event_type!r} is a pattern, and no event type", remedy=names)
    plan, kind = mapping.plan(event_type), load_catalogue().get(event_type)
    return {
        "event_type": event_type,
        **_line(mapping, event_type, is_selected),
        "why": plan.filter.detail if plan.filter else "",
        "note": _note(mapping, event_type),
        "fields": _fields(kind, plan, mapping.options.preset),
        "top_level": dict(plan.constants),
        "set": dict(plan.fixed),
        "conditions": _conditions(plan.choice),
        "loop_guard": _conditions(plan.loop_guard),
        "time": _time(plan),
        "test_events": "filter" if plan.placeholders else "send",
        "unknown_fields": plan.rules.unknown_fields,
    }


def _note(mapping: EventMapping, event_type: str) -> str:
    """What to know of a type that is new, or misspelt; empty for all others."""
    if event_type in load_catalogue() or event_type in mapping.event_types:
        return ""
    note = "this release does not know the type: its fields come from the files"
    by_case = {name.casefold(): name for name in known_types(mapping) if name != event_type}
    near = difflib.get_close_matches(event_type.casefold(), by_case, n=1, cutoff=0.5)
    return f"{note} (did you mean {by_case[near[0]]}?)" if near else note


def sent_in_vain(mapping: EventMapping, is_selected: Callable[[str], bool]) -> dict[str, str]:
    """The types that `mapping.send` names, and of which no record is sent all the same, with the reason."""
    reasons = {name: why_not(mapping.plan(name), is_selected) for name in mapping.named_types}
    return {name: why for name, why in reasons.items() if why}


def _fields(kind: EventType | None, plan: TypePlan, preset: str) -> dict[str, dict[str, Any]]:
    """The fields that Braze is known to write; those that the preset merely has a name for never arrive."""
    return {
        name: {
            "type": facts.avro + "?" * facts.nullable,
            "personal": facts.pii,
            **field_mapping(name, plan, preset),
        }
        for name, facts in (kind.fields.items() if kind else ())
    }


def field_mapping(field: str, plan: TypePlan, preset: str) -> dict[str, Any]:
    """What becomes of a field, in words, and the rule that says so."""
    return {"becomes": [words for _, words in places(field, plan)], "rule": rule_of(field, plan, preset)}


def places(field: str, plan: TypePlan) -> Iterator[tuple[tuple[str, ...], str]]:
    """Where a field goes: the keys of the event (`event_properties.` before a property), and words for it.

    What is known of a record alone has no key here: the device id of who has none, the keys of a JSON text.
    """
    yield from _at_top(field, plan)
    for explosion in plan.explosions:
        if explosion.field == field:
            yield (), f"a property for each key: {explosion.prefix}<key>"
    for name, change in plan.targets(field):
        mapped = " (its values mapped)" if change else ""
        is_private = field in plan.rules.private
        yield (f"event_properties.{name}",), name + (_private_words(change) if is_private else mapped)


def _at_top(field: str, plan: TypePlan) -> Iterator[tuple[tuple[str, ...], str]]:
    at_top = _private_words(plan.change(field))
    if field in _IDENTITY:
        yield (_IDENTITY[field],), f"top level: {_IDENTITY[field]}{at_top}"
    if field == "user_id" and plan.identity.anonymous == "braze_id":
        yield (), f"top level: device_id, as {plan.identity.braze_id_prefix}<user_id>, without another id"
    if any(part.field == field for part in plan.naming.fields):
        yield ("event_type",), "the event's name"
    if field in plan.lifted:
        yield (plan.lifted[field],), f"top level: {plan.lifted[field]}{at_top}"
    for group in plan.lifted_groups:
        if field in group:
            yield (group[field],), f"top level: {group[field]} (if its group is complete)"
    if field == "ad_id" and plan.advertising_ids:
        keys = tuple(dict.fromkeys(plan.advertising_ids.values()))
        yield keys, f"top level: {' or '.join(keys)}"


def _private_words(change: Callable[[Any], Any] | None) -> str:
    """What privacy does to a value; what it takes out of one that holds JSON depends on that."""
    if change is None:
        return ""
    if _hashes(change):
        return " (hashed)"
    return " (without its query string)" if change(f"{_ADDRESS}?q") == _ADDRESS else ""


def _hashes(change: Callable[[Any], Any]) -> bool:
    return change("x") not in {"x", None}


def rule_of(field: str, plan: TypePlan, preset: str) -> str:
    """The rule that had the last word on a field."""
    rules = plan.rules
    is_private, change = rules.private.find(field)
    if is_private:
        return (
            "privacy.drop" if change is None else "privacy.hash" if _hashes(change) else "privacy, group pii"
        )
    if field in _IDENTITY or field in rules.never:
        return "identity"
    is_unknown = field not in rules.known | rules.dropped and not any(places(field, plan))
    if is_unknown and rules.unknown_fields == "drop":
        return "mapping.unknown_fields"
    return rules.author(field) or f"preset {preset}"


def _conditions(choice: Choice | None) -> dict[str, Any]:
    """The conditions of a choice by what they do; empty where there is none."""
    if choice is None:
        return {}
    return {
        "include": [{"by": each.words, "where": _plain(each.conditions)} for each in choice.include],
        "exclude": [{"by": each.words, "where": _plain(each.conditions)} for each in choice.exclude],
    }


def _time(plan: TypePlan) -> dict[str, Any]:
    """The bounds of an event's time, where there are any."""
    bounds = plan.time
    earliest = {"min": iso(datetime.fromtimestamp(bounds.earliest, UTC))} if bounds.earliest else {}
    future = {"max_future": duration_text(bounds.max_future)} if bounds.max_future is not None else {}
    return {**earliest, **future}


def _plain(conditions: Any) -> dict[str, list[Any]]:
    return {name: list(wanted) for name, wanted in conditions.items()}
