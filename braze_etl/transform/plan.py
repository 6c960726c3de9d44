"""What becomes of the records of one event type, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from braze_etl.model import Reason
from braze_etl.transform.identity import IdentityRules
from braze_etl.transform.placeholders import PlaceholderRules


@dataclass(frozen=True, slots=True)
class TypePlan:
    """The plan for one Currents event type under one mapping; complete without the preset and the options.

    The event is built in this order: `identity` (user_id, device_id), event_type, `time` in milliseconds,
    insert_id from `id`, `constants`, `lifted`, `advertising_ids`, event_properties. Nulls are left out.
    """

    event_type: str
    """The Currents name."""
    listed: bool
    """Whether the preset lists the type."""
    documented: bool
    """Whether its properties are documented; all else goes by rule."""
    title: str
    """The Amplitude name with its prefix; with a `name_field`, what stands before that field's text."""
    name_field: str | None
    """The field whose text ends the name (custom events)."""
    withheld: Reason | None
    """The filter that every record of the type meets, if any."""
    constants: Mapping[str, str]
    """Top-level key -> value."""
    lifted: Mapping[str, str]
    """Field -> top-level key."""
    advertising_ids: Mapping[str, str]
    """Value of ad_id_type -> top-level key of ad_id, which stays a property too."""
    exploded: Mapping[str, str]
    """Field with a JSON object as text -> prefix of its keys as properties."""
    renamed: Mapping[str, str]
    """Field -> property, where the names differ."""
    dropped: frozenset[str]
    """Fields that are no property, for whatever reason: identity, lifted, exploded, left out."""
    fields: frozenset[str]
    """Fields that are known to become properties."""
    unknown_fields: Literal["send", "drop"]
    """What to do with fields that are neither known nor dropped."""
    identity: IdentityRules
    placeholders: PlaceholderRules | None
    """How test events are told; None where they are sent."""

    @property
    def name(self) -> str:
        """The Amplitude name for people: `[Appboy] [Custom Event] {name}` where a field completes it."""
        return self.title if self.name_field is None else f"{self.title}{{{self.name_field}}}"

    @property
    def properties(self) -> frozenset[str]:
        """The names of the known properties, apart from exploded ones."""
        return frozenset(self.renamed.get(field, field) for field in self.fields)

    def property_name(self, field: str) -> str | None:
        """Name the property that *field* becomes; None where it becomes none."""
        if field in self.dropped or (self.unknown_fields == "drop" and field not in self.fields):
            return None
        return self.renamed.get(field, field)
