"""Drift: where the schema of a file differs from the catalogue, and what the mapping makes of it.

Looked at once for each writer schema and event type, when a file with it is opened; no record costs anything.
New fields are told for files of any age, because what nobody has looked at may leave the house with them.
What vanished or changed its type is told only for files from the catalogue's own date on: older files lack
newer fields by nature, and their types are those of their time (currents.md, 2.1). A field that was optional
and is required is no drift; one that was required and may now be null is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Self, TypeAlias

from braze_etl.braze.currents.catalogue import EventType, load_catalogue
from braze_etl.logs import get_logger
from braze_etl.mapping.mapping import TypePlan


def declared_fields(schema_json: bytes) -> dict[str, str]:
    """Give the fields of a valid record schema with their types; `?` behind a type: it may be null."""
    return {field["name"]: type_text(field["type"]) for field in json.loads(schema_json)["fields"]}


def type_text(schema: Any) -> str:
    """Spell an Avro type; a remark beside a primitive type counts for nothing, a logical type is named."""
    if isinstance(schema, list):
        others = [text for text in map(type_text, schema) if text != "null"]
        return "|".join(others) + "?" * (len(others) < len(schema)) if others else "null"
    if not isinstance(schema, dict):
        return str(schema)
    kind = schema["type"]
    if kind == "array":
        return f"array<{_items(schema['items'])}>"
    if kind == "map":
        return f"map<{_items(schema['values'])}>"
    logical = schema.get("logicalType")
    return type_text(kind) + (f"({logical})" if logical else "")


def _items(schema: Any) -> str:
    return "|".join(map(type_text, schema)) if isinstance(schema, list) else type_text(schema)


_log = get_logger(__name__)

CATALOGUE_DATE: Final = datetime(2026, 9, 2, tzinfo=UTC)
"""The day of Currents release 12, up to which the catalogue goes (currents.md, 2.1)."""
MOST_TYPES: Final = 200
MOST_FIELDS: Final = 50
_REMEMBERED = 2_000
FIELD_KINDS: Final = ("unknown_fields", "vanished_fields", "changed_types")


@dataclass(frozen=True, slots=True)
class UnknownType:
    """An event type whose fields the catalogue does not know.

    `outcome` is `sent`, or the filter that its records meet; `name` is what it is called in Amplitude.
    `announced`: the changelog of Currents names it, but no schema of it was known.
    """

    outcome: str
    name: str
    fields: int
    announced: bool = False

    def as_dict(self, records: int) -> dict[str, Any]:
        value = {"records": records, "outcome": self.outcome, "name": self.name, "fields": self.fields}
        return {**value, "announced": True} if self.announced else value


class FieldDrift(NamedTuple):
    """A field that is new (`was` is None), has vanished (`now` is None), or has another type.

    Types are spelled as the catalogue does, with `?` where null is allowed. `outcome` is `sent`, `dropped`,
    or the filter that every record of the type meets; `sent_as` names the property or top-level key.
    """

    was: str | None
    now: str | None
    outcome: str
    sent_as: str | None


_ByField: TypeAlias = dict[str, dict[str, FieldDrift]]


@dataclass(slots=True)
class Drift:
    """All that was found, by event type and field.

    At most `MOST_TYPES` types and `MOST_FIELDS` fields of each are kept by name; what is beyond is counted in
    `unnamed`, by kind, once for each time that a schema with it was looked at.
    """

    unknown_types: dict[str, UnknownType] = field(default_factory=dict)
    unknown_fields: _ByField = field(default_factory=dict)
    vanished_fields: _ByField = field(default_factory=dict)
    changed_types: _ByField = field(default_factory=dict)
    unnamed: Counter[str] = field(default_factory=Counter)

    def __bool__(self) -> bool:
        return bool(self.unknown_types or self.unnamed or any(self.fields(kind) for kind in FIELD_KINDS))

    def fields(self, kind: str) -> _ByField:
        """The findings of one of `FIELD_KINDS`."""
        found: _ByField = getattr(self, kind)
        return found

    def merge(self, other: Self) -> None:
        """Take over what *other* has found; of the same field, the later finding stays."""
        for event_type, unknown in other.unknown_types.items():
            self.note_type(event_type, unknown)
        for kind in FIELD_KINDS:
            for event_type, fields in other.fields(kind).items():
                for name, found in fields.items():
                    self.note_field(kind, event_type, name, found)
        self.unnamed += other.unnamed

    def note_type(self, event_type: str, found: UnknownType) -> None:
        if event_type in self.unknown_types or len(self.unknown_types) < MOST_TYPES:
            self.unknown_types[event_type] = found
        else:
            self.unnamed["unknown_event_types"] += 1

    def note_field(self, kind: str, event_type: str, name: str, found: FieldDrift) -> None:
        """Add a finding of one of `FIELD_KINDS`."""
        types = self.fields(kind)
        if event_type not in types and len(types) >= MOST_TYPES:
            self.unnamed[kind] += 1
            return
        fields = types.setdefault(event_type, {})
        if name in fields or len(fields) < MOST_FIELDS:
            fields[name] = found
        else:
            self.unnamed[kind] += 1

    def as_dict(self, records: Mapping[str, int]) -> dict[str, Any]:
        """JSON values, sorted, below the one key of the run report that is about drift."""
        return {"drift": self.facts(records)}

    def lines(self, records: Mapping[str, int]) -> Iterator[tuple[str, str]]:
        """Up to two lines for people, each with its title: unknown event types, and changes of known ones."""
        facts = self.facts(records)
        if unknown := facts["unknown_event_types"]:
            yield "unknown types", _some([_type_words(name, found) for name, found in unknown.items()])
        if words := field_words(facts):
            yield "schema drift", words

    def warn(self, records: Mapping[str, int]) -> None:
        """Log one warning if a run found drift; what happened to it is in its report."""
        counts = {"unknown_event_types": len(self.unknown_types)}
        counts |= {kind: sum(map(len, self.fields(kind).values())) for kind in FIELD_KINDS}
        if self:
            _log.warning(
                "files differ from what this release knows of Currents",
                **(Counter(counts) + self.unnamed),
                found="; ".join(words for _, words in self.lines(records)),
                remedy="see `drift` in the report of this run, and docs/drift.md",
            )

    def facts(self, records: Mapping[str, int]) -> dict[str, Any]:
        """As JSON values, sorted; *records* has the records read, by event type."""
        unknown = {name: found.as_dict(records.get(name, 0)) for name, found in self.unknown_types.items()}
        return {
            "unknown_event_types": dict(sorted(unknown.items())),
            **{kind: _sorted(self.fields(kind)) for kind in FIELD_KINDS},
            **({"unnamed": dict(self.unnamed)} if self.unnamed else {}),
        }


def _sorted(types: _ByField) -> dict[str, dict[str, Any]]:
    return {
        event_type: {name: found._asdict() for name, found in sorted(fields.items())}
        for event_type, fields in sorted(types.items())
    }


class DriftWatch:
    """Looks at each schema once, and keeps what it found until that is taken.

    *named* are fields that the configuration knows by name (`mapping.fields`): they are not new any more.
    """

    def __init__(self, named: Iterable[str] = ()) -> None:
        self._named = frozenset(named)
        self._seen: set[tuple[bytes, str, bool]] = set()
        self._found = Drift()

    def check(self, schema_json: bytes, plan: TypePlan, hour: datetime) -> None:
        """Look at the schema of a file of that type and `date=` hour, unless it was looked at before."""
        key = (schema_json, plan.event_type, hour >= CATALOGUE_DATE)
        if key in self._seen:
            return
        if len(self._seen) >= _REMEMBERED:
            self._seen.clear()  # at worst, something is found twice
        self._seen.add(key)
        found = drift_of(declared_fields(schema_json), plan, current=key[2], named=self._named)
        self._found.merge(found)

    def take(self) -> Drift:
        """What was found since the last call."""
        found, self._found = self._found, Drift()
        return found


def drift_of(
    declared: Mapping[str, str], plan: TypePlan, *, current: bool, named: AbstractSet[str] = frozenset()
) -> Drift:
    """Compare what a schema declares with the catalogue; *current*: it is not older than the catalogue.

    A field that the catalogue does not know is not new if it is *named*, or documented for the type.
    """
    drift = Drift()
    kind = load_catalogue().get(plan.event_type)
    if kind is not None and kind.fields:
        known = named | plan.rules.known if plan.documented else named
        for name in sorted(declared.keys() - kind.fields.keys() - known):
            drift.note_field("unknown_fields", kind.name, name, _finding(plan, name, None, declared[name]))
        if current:
            _note_gone(drift, declared, kind, plan)
    elif kind is None or kind.status == "announced":
        outcome = plan.withheld.value if plan.withheld else "sent"
        found = UnknownType(outcome, plan.name, len(declared), announced=kind is not None)
        drift.note_type(plan.event_type, found)
    return drift


def _note_gone(drift: Drift, declared: Mapping[str, str], kind: EventType, plan: TypePlan) -> None:
    """Note what vanished, and what is of another type now."""
    for name, known in kind.fields.items():
        was, now = known.avro + "?" * known.nullable, declared.get(name)
        if now is None:
            drift.note_field("vanished_fields", kind.name, name, _finding(plan, name, was, None))
        elif now.removesuffix("?") != known.avro or (now.endswith("?") and not known.nullable):
            drift.note_field("changed_types", kind.name, name, _finding(plan, name, was, now))


def _finding(plan: TypePlan, name: str, was: str | None, now: str | None) -> FieldDrift:
    sent_as = None if plan.withheld else plan.property_name(name) or plan.lifted.get(name)
    outcome = plan.withheld.value if plan.withheld else "sent" if sent_as else "dropped"
    return FieldDrift(was, now, outcome, sent_as)


_NAMED: Final = 3
"""Findings of a kind that a line names; the report has them all."""
_TITLES: Final = {"unknown_fields": "unknown", "vanished_fields": "vanished", "changed_types": "changed"}


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
