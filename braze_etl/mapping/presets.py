"""Mapping presets: YAML files of this package, with types."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from braze_etl.mapping.groups import Groups, read_yaml
from braze_etl.mapping.identity import IdWords
from braze_etl.mapping.names import Naming, TitleRules
from braze_etl.mapping.placeholders import PlaceholderRules


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TypeEntry(_Data):
    """What the preset says of one event type; the comments in the YAML file explain the keys."""

    title: str | None = None
    drop: frozenset[str] = frozenset()
    lift: dict[str, str] = Field(default_factory=dict)
    explode: dict[str, str] = Field(default_factory=dict)
    groups: tuple[str, ...] = ()
    fields: frozenset[str] = frozenset()


class Preset(_Data):
    """A preset file as it stands, on top of the one that it is based on."""

    preset: str
    based_on: str | None = None
    as_currents: bool = False
    prefix: str
    constants: dict[str, str]
    never_properties: frozenset[str]
    drop: frozenset[str]
    rename: dict[str, str]
    revenue: Literal["count", "ignore"]
    advertising_ids: dict[str, str]
    withheld: tuple[str, ...]
    titles: TitleRules
    identity: IdWords
    test_events: PlaceholderRules
    field_groups: dict[str, frozenset[str]]
    groups: Groups
    documented: dict[str, TypeEntry]
    undocumented: dict[str, TypeEntry]

    def entry(self, event_type: str) -> TypeEntry | None:
        """Look a type up; None when the preset does not list it."""
        entry = self.documented.get(event_type) or self.undocumented.get(event_type)
        if entry is None or not self.as_currents:
            return entry
        fields = self.named_fields(entry).union(entry.drop, entry.lift, entry.explode)
        return TypeEntry(lift=entry.lift, fields=fields)

    def title(self, event_type: str, entry: TypeEntry) -> str:
        """What an event is called behind the prefix; `{field}` in an entry's title is a field's text."""
        if entry.title is not None:
            return entry.title
        return event_type if self.as_currents else self.titles.title(event_type)

    def named_fields(self, entry: TypeEntry) -> frozenset[str]:
        """The fields that *entry* names, by itself or by a group."""
        return entry.fields.union(*(self.field_groups[group] for group in entry.groups))

    def known_fields(self, entry: TypeEntry) -> frozenset[str]:
        """The fields that *entry* names; where it names none, all that any type does."""
        return self.named_fields(entry) or self.all_fields

    @cached_property
    def event_types(self) -> tuple[str, ...]:
        return tuple(sorted({**self.documented, **self.undocumented}))

    @cached_property
    def all_fields(self) -> frozenset[str]:
        """Every field that some listed type names."""
        entries = filter(None, map(self.entry, self.event_types))
        return frozenset[str]().union(*map(self.named_fields, entries))

    @cached_property
    def all_words(self) -> frozenset[str]:
        """Every field that it knows of, also those that never become a property."""
        entries = [*self.documented.values(), *self.undocumented.values()]
        named = (field for entry in entries for field in (*entry.drop, *entry.lift, *entry.explode))
        titles = (part.field for entry in entries for part in Naming.parse(entry.title or "").fields)
        return self.all_fields.union(self.never_properties, self.drop, named, titles)


def preset_data(name: str) -> dict[str, Any]:
    """All that a preset of this release says, as plain data: on top of its base, and with the groups."""
    data: dict[str, Any] = read_yaml(name)
    if base := data.get("based_on"):
        data = {**read_yaml(base), **data}
    return {**data, "groups": read_yaml("groups")}


def load_preset(name: str) -> Preset:
    return Preset.model_validate(preset_data(name))
