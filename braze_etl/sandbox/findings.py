"""Event-level faults of a request: the index lists of a 400 (amplitude.md, 1.3)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from braze_etl.sandbox.fields import FIELDS, RESERVED_IDS
from braze_etl.sandbox.limits import Limits
from braze_etl.sandbox.reply import Reply, refusal


def _lists() -> defaultdict[str, list[int]]:
    return defaultdict(list)


@dataclass(slots=True)
class Findings:
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


def examine(events: Sequence[dict[str, Any]], min_id_length: int, limits: Limits) -> Findings:
    """Check every event against the table of fields; a null counts as absent (not documented)."""
    found = Findings()
    for index, event in enumerate(events):
        _examine_values(index, event, limits, found)
        _examine_required(index, event, found)
        for key in ("user_id", "device_id"):
            value = event.get(key)
            # One short id refuses the event even if the other is fine: observed, though documented otherwise.
            if type(value) is str and len(value) < min_id_length and value.lower() not in RESERVED_IDS:
                found.short[key].append(index)
    return found


def _examine_values(index: int, event: dict[str, Any], limits: Limits, found: Findings) -> None:
    for key, value in event.items():
        if value is None:
            continue
        known = FIELDS.get(key)
        if known is None:
            found.unknown[key] += 1
        elif type(value) not in known.types or (known.holds and not known.holds(value, event, limits)):
            found.invalid[key].append(index)


def _examine_required(index: int, event: Mapping[str, Any], found: Findings) -> None:
    """Ask for `event_type` and an id; `$groupidentify` goes without one (not documented; SDKs do it)."""
    name = event.get("event_type")
    if name is None or name == "":
        found.missing["event_type"].append(index)
    if event.get("user_id") is None and event.get("device_id") is None and name != "$groupidentify":
        found.missing["user_id"].append(index)
