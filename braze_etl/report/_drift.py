"""The findings on drift as a table: what runs met that this release does not know of Currents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from braze_etl.report._chart import Table
from braze_etl.report._words import NOTHING, count

_KINDS: Final = {
    "unknown_fields": "new field",
    "vanished_fields": "field has vanished",
    "changed_types": "type has changed",
}
_MOST: Final = 200


def drift_table(drift: Mapping[str, Mapping[str, Any]]) -> Table | None:
    """A row for each finding, or None if there is none; only the first few hundred."""
    rows = [*_types(drift.get("unknown_event_types", {})), *_fields(drift)]
    if not rows:
        return None
    if len(rows) > _MOST:
        rows = [*rows[:_MOST], [f"and {count(len(rows) - _MOST)} more", *[""] * 4]]
    return Table(["event type", "field", "what", "was, now", "outcome"], rows, numbers=False)


def _types(found: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, facts in found.items():
        yield [
            name,
            NOTHING,
            "unknown event type",
            f"{count(facts['records'])} read by a run",
            _outcome(facts, "name"),
        ]


def _fields(drift: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    for kind, words in _KINDS.items():
        for event_type, fields in drift.get(kind, {}).items():
            for name, facts in fields.items():
                types = f"{facts['was'] or NOTHING}, {facts['now'] or NOTHING}"
                yield [event_type, name, words, types, _outcome(facts, "sent_as")]


def _outcome(facts: Mapping[str, Any], name: str) -> str:
    sent_as = facts.get(name)
    return f"sent as {sent_as}" if facts["outcome"] == "sent" and sent_as else str(facts["outcome"])
