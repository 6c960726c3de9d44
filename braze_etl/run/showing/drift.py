"""What a run has to say of drift: a line of the log, a few words for people, and what the last runs said.

These work on the JSON form of a run report, `Drift.as_dict`, because `status` has nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from braze_etl.compile import FIELD_KINDS
from braze_etl.telemetry import get_logger

_log = get_logger(__name__)

_NAMED: Final = 3
"""Findings of a kind that a line names; the report has them all."""
_TITLES: Final = {"unknown_fields": "unknown", "vanished_fields": "vanished", "changed_types": "changed"}


def tell_of_drift(drift: Mapping[str, Any]) -> None:
    """Log one warning if a run found drift; what happened to it is in its report."""
    counts = _counts(drift)
    if not any(counts.values()):
        return
    words = "; ".join(text for _, text in drift_lines(drift))
    _log.warning(
        "files differ from what this release knows of Currents",
        **{kind: count for kind, count in counts.items() if count},
        found=words,
        remedy="see `drift` in the report of this run, and docs/drift.md",
    )


def drift_lines(drift: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Up to two lines for people, each with its title: unknown event types, and changes of known ones."""
    unknown = drift.get("unknown_event_types", {})
    if unknown:
        yield "unknown types", _some([_type_words(name, facts) for name, facts in unknown.items()])
    if fields := field_words(drift):
        yield "schema drift", fields


def field_words(drift: Mapping[str, Any]) -> str:
    """What changed in known event types, the first few of each kind by name."""
    parts = []
    for kind, title in _TITLES.items():
        found = [
            _field_words(event_type, name, facts)
            for event_type, fields in drift.get(kind, {}).items()
            for name, facts in fields.items()
        ]
        if found:
            parts.append(f"{len(found):,} {title}: {_some(found)}")
    return "; ".join(parts)


def past_drift(reports: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """All that the reports (newest first) tell, by kind; of the same thing, what the newest one says."""
    told: dict[str, dict[str, Any]] = {"unknown_event_types": {}, **{kind: {} for kind in FIELD_KINDS}}
    for report in reports:
        drift = report.get("drift", {})
        told["unknown_event_types"] = drift.get("unknown_event_types", {}) | told["unknown_event_types"]
        for kind in FIELD_KINDS:
            for event_type, fields in drift.get(kind, {}).items():
                told[kind][event_type] = fields | told[kind].get(event_type, {})
    return {kind: dict(sorted(types.items())) for kind, types in told.items()}


def _counts(drift: Mapping[str, Any]) -> dict[str, int]:
    unnamed = drift.get("unnamed", {})
    counts = {"unknown_event_types": len(drift["unknown_event_types"])}
    counts |= {kind: sum(map(len, drift[kind].values())) for kind in FIELD_KINDS}
    return {kind: count + unnamed.get(kind, 0) for kind, count in counts.items()}


def _type_words(name: str, facts: Mapping[str, Any]) -> str:
    outcome = f"sent as {facts['name']}" if facts["outcome"] == "sent" else facts["outcome"]
    return f"{name} ({facts['records']:,} read, {outcome})"


def _field_words(event_type: str, name: str, facts: Mapping[str, Any]) -> str:
    where = f"{event_type}.{name}"
    if facts["was"] and facts["now"]:
        return f"{where} ({facts['was']} to {facts['now']})"
    if facts["was"]:
        return where
    outcome = facts["outcome"]
    return f"{where} (sent as {facts['sent_as']})" if outcome == "sent" else f"{where} ({outcome})"


def _some(found: list[str]) -> str:
    rest = len(found) - _NAMED
    return ", ".join(found[:_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")
