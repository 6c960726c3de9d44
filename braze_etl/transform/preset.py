"""Mapping presets: YAML files of this package, with types."""

from __future__ import annotations

from functools import cached_property
from importlib import resources
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from braze_etl.errors import ConfigError
from braze_etl.transform.identity import IdentityRules
from braze_etl.transform.placeholders import PlaceholderRules
from braze_etl.transform.titles import TitleRules

PRESETS = ("native",)


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
    """A preset file as it stands."""

    preset: str
    prefix: str
    constants: dict[str, str]
    never_properties: frozenset[str]
    drop: frozenset[str]
    rename: dict[str, str]
    advertising_ids: dict[str, str]
    withheld: tuple[str, ...]
    titles: TitleRules
    identity: IdentityRules
    test_events: PlaceholderRules
    field_groups: dict[str, frozenset[str]]
    documented: dict[str, TypeEntry]
    undocumented: dict[str, TypeEntry]

    def entry(self, event_type: str) -> TypeEntry | None:
        """Look a type up; None when the preset does not list it."""
        return self.documented.get(event_type) or self.undocumented.get(event_type)

    def named_fields(self, entry: TypeEntry) -> frozenset[str]:
        """The fields that *entry* names, by itself or by a group."""
        return entry.fields.union(*(self.field_groups[group] for group in entry.groups))

    def known_fields(self, entry: TypeEntry) -> frozenset[str]:
        """The fields that *entry* names; where it names none, all that any type does."""
        return self.named_fields(entry) or self.all_fields

    @cached_property
    def all_fields(self) -> frozenset[str]:
        """Every field that some listed type names."""
        entries = [*self.documented.values(), *self.undocumented.values()]
        return frozenset[str]().union(*map(self.named_fields, entries))


def load_preset(name: str) -> tuple[Preset, Any]:
    """Read a preset by name, with its plain data beside it.

    Raises `ConfigError` for a name that is none of `PRESETS`.
    """
    if name not in PRESETS:
        raise ConfigError(
            f"mapping.preset is {name!r}, and there is no such preset",
            remedy=f"Use one of: {', '.join(PRESETS)}.",
        )
    text = resources.files("braze_etl.transform").joinpath("presets", f"{name}.yaml").read_bytes()
    data = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 -- both are safe
    return Preset.model_validate(data), data
