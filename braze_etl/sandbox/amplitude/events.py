"""The validation of events (amplitude.md, 1.4): what each key may hold, as a table of types and more."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from braze_etl.sandbox.amplitude.replies import Limits, Reply, refusal

RESERVED_IDS = frozenset(
    {
        *("", "anonymous", "nil", "none", "null", "n/a", "na", "undefined", "unknown"),
        *("00000000-0000-0000-0000-000000000000", "{}", "lmy47d", "0", "-1"),
    }
)
"""Ids that are refused, compared lower-cased: the documents leave the case open."""

RESERVED_EVENT_TYPES = frozenset(
    {
        *("[Amplitude] Start Session", "[Amplitude] End Session", "[Amplitude] Revenue"),
        *("[Amplitude] Revenue (Verified)", "[Amplitude] Revenue (Unverified)"),
        *("[Amplitude] Merged User",),
    }
)

OPERATIONS = frozenset(
    {
        *("$set", "$setOnce", "$add", "$append", "$prepend", "$unset", "$preInsert", "$postInsert"),
        *("$remove", "$clearAll"),
    }
)

Condition: TypeAlias = Callable[[Any, Mapping[str, Any], Limits], bool]
"""(value, its event, limits) -> whether the value may stand there."""
_OBJECT = frozenset({dict})

_TEXT_KEYS = (
    *("app_version", "version_name", "platform", "os_name", "os_version", "language", "user_agent"),
    *("device_brand", "device_manufacturer", "device_model", "carrier", "country", "region", "city", "dma"),
    *("productId", "revenueType", "currency", "receipt", "receiptSig", "ip", "library", "partner_id"),
    *("idfa", "idfv", "adid", "android_id", "android_app_set_id", "insert_id"),
)


class Field(NamedTuple):
    """The JSON types of a key, and a condition beyond the type."""

    types: frozenset[type]
    holds: Condition | None = None


def depth_within(value: Any, most: int) -> bool:
    """Whether objects and arrays nest at most so deep; the value is the first level (not documented)."""
    if most < 1:
        return False
    for item in value.values() if type(value) is dict else value:
        kind = type(item)
        if (kind is dict or kind is list) and not depth_within(item, most - 1):
            return False
    return True


def _id_allowed(value: str, _event: Mapping[str, Any], _limits: Limits) -> bool:
    return value.lower() not in RESERVED_IDS


def _event_type_allowed(value: str, _event: Mapping[str, Any], _limits: Limits) -> bool:
    return value not in RESERVED_EVENT_TYPES


def _depth_allowed(value: Any, _event: Mapping[str, Any], limits: Limits) -> bool:
    return depth_within(value, limits.max_depth)


def _user_properties_allowed(value: dict[str, Any], event: Mapping[str, Any], limits: Limits) -> bool:
    """Operations only with `$identify`, and never next to plain keys."""
    operations = len(OPERATIONS.intersection(value))
    if operations and (event.get("event_type") != "$identify" or operations != len(value)):
        return False
    return depth_within(value, limits.max_depth)


def _group_properties_allowed(value: Any, event: Mapping[str, Any], limits: Limits) -> bool:
    return event.get("event_type") == "$groupidentify" and depth_within(value, limits.max_depth)


def _groups_allowed(value: dict[str, Any], _event: Mapping[str, Any], limits: Limits) -> bool:
    """At most 5 group types and 10 groups; that more refuses the event is not documented."""
    groups = sum(len(group) if type(group) is list else 1 for group in value.values())
    return len(value) <= limits.max_group_types and groups <= limits.max_groups


def _texts_only(value: dict[str, Any], _event: Mapping[str, Any], _limits: Limits) -> bool:
    return all(type(item) is str for item in value.values())


_TEXT = Field(frozenset({str}))
_WHOLE = Field(frozenset({int}))
_NUMBER = Field(frozenset({int, float}))

FIELDS: Mapping[str, Field] = {
    **dict.fromkeys(_TEXT_KEYS, _TEXT),
    **dict.fromkeys(("time", "quantity", "event_id", "session_id"), _WHOLE),
    **dict.fromkeys(("price", "revenue", "location_lat", "location_lng"), _NUMBER),
    "user_id": Field(frozenset({str}), _id_allowed),
    "device_id": Field(frozenset({str}), _id_allowed),
    "event_type": Field(frozenset({str}), _event_type_allowed),
    "event_properties": Field(_OBJECT, _depth_allowed),
    "user_properties": Field(_OBJECT, _user_properties_allowed),
    "groups": Field(_OBJECT, _groups_allowed),
    "group_properties": Field(_OBJECT, _group_properties_allowed),
    "plan": Field(_OBJECT, _texts_only),
    "ingestion_metadata": Field(_OBJECT, _texts_only),
    "$skip_user_properties_sync": Field(frozenset({bool})),
}
"""Every documented key of an event; `time` is in milliseconds since the epoch, without bounds."""


def _lists() -> defaultdict[str, list[int]]:
    return defaultdict(list)


@dataclass(slots=True)
class Invalid:
    """Indices of bad events by field, and how often each unknown key was seen (which refuses nothing)."""

    missing: defaultdict[str, list[int]] = field(default_factory=_lists)
    invalid: defaultdict[str, list[int]] = field(default_factory=_lists)
    short: defaultdict[str, list[int]] = field(default_factory=_lists)
    unknown: Counter[str] = field(default_factory=Counter)

    def refusal(self, *, only_first: bool) -> Reply | None:
        """Build the 400, or None if all is well; *only_first* lists the first bad index of each field."""
        if self.invalid:
            error = "Invalid field values on some events"
        elif self.missing:
            error = "Request missing required field"
        elif self.short:
            error = "Invalid id length for user_id or device_id"
        else:
            return None
        return refusal(
            400,
            error,
            events_with_invalid_fields=_cut(self.invalid, only_first=only_first),
            events_with_missing_fields=_cut(self.missing, only_first=only_first),
            events_with_invalid_id_lengths=_cut(self.short, only_first=only_first),
        )


def _cut(lists: Mapping[str, list[int]], *, only_first: bool) -> dict[str, list[int]]:
    return {name: indices[:1] if only_first else indices for name, indices in lists.items()}


def validate(events: Sequence[dict[str, Any]], min_id_length: int, limits: Limits) -> Invalid:
    """Check every event against the table of fields; a null counts as absent (not documented)."""
    found = Invalid()
    for index, event in enumerate(events):
        _validate_values(index, event, limits, found)
        _validate_required(index, event, found)
        for key in ("user_id", "device_id"):
            value = event.get(key)
            # One short id refuses the event even if the other is fine: observed, though documented otherwise.
            if type(value) is str and len(value) < min_id_length and value.lower() not in RESERVED_IDS:
                found.short[key].append(index)
    return found


def _validate_values(index: int, event: dict[str, Any], limits: Limits, found: Invalid) -> None:
    for key, value in event.items():
        if value is None:
            continue
        known = FIELDS.get(key)
        if known is None:
            found.unknown[key] += 1
        elif type(value) not in known.types or (known.holds and not known.holds(value, event, limits)):
            found.invalid[key].append(index)


def _validate_required(index: int, event: Mapping[str, Any], found: Invalid) -> None:
    """Ask for `event_type` and an id; `$groupidentify` goes without one (not documented; SDKs do it)."""
    name = event.get("event_type")
    if name is None or name == "":
        found.missing["event_type"].append(index)
    if event.get("user_id") is None and event.get("device_id") is None and name != "$groupidentify":
        found.missing["user_id"].append(index)
