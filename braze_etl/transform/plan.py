"""What becomes of the records of one event type, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from braze_etl.model import Reason, Verdict
from braze_etl.transform.choice import Choice
from braze_etl.transform.exploding import Explosion
from braze_etl.transform.identity import IdentityRules
from braze_etl.transform.naming import Naming
from braze_etl.transform.placeholders import PlaceholderRules
from braze_etl.transform.privacy import Change
from braze_etl.transform.properties import PropertyRules, Target


@dataclass(frozen=True, slots=True)
class TimeBounds:
    """The earliest time of an event in epoch seconds, and how far it may lie behind its file's hour."""

    earliest: int = 0
    max_future: timedelta | None = None


@dataclass(frozen=True, slots=True)
class TypePlan:
    """The plan for one Currents event type under one mapping; complete without the preset and the options.

    The event is built in this order: `identity` (user_id, device_id), event_type, `time` in milliseconds,
    insert_id from `id`, `constants`, `lifted`, `lifted_groups`, `advertising_ids`, event_properties. Nulls
    are left out.
    """

    event_type: str
    """The Currents name."""
    listed: bool
    """Whether the preset lists the type."""
    documented: bool
    """Whether its properties are documented; all else goes by rule."""
    naming: Naming
    """The Amplitude name."""
    filter: Verdict | None
    """The filter that every record of the type meets, if any."""
    choice: Choice | None
    """Which of its records are sent, if not all."""
    loop_guard: Choice | None
    """Which of its records came from Amplitude, if any can."""
    constants: Mapping[str, str]
    """Top-level key -> value."""
    lifted: Mapping[str, str]
    """Field -> top-level key."""
    lifted_groups: tuple[Mapping[str, str], ...]
    """Groups of field -> top-level key; each is sent whole, or not at all."""
    advertising_ids: Mapping[str, str]
    """Value of ad_id_type -> top-level key of ad_id, which stays a property too."""
    explosions: tuple[Explosion, ...]
    """Fields with a JSON object as text, whose keys become properties."""
    fixed: Mapping[str, Any]
    """Properties that every event gets; they win over fields."""
    fields: frozenset[str]
    """Fields that are known to become properties."""
    rules: PropertyRules
    """What each field becomes."""
    identity: IdentityRules
    placeholders: PlaceholderRules | None
    """How test events are told; None where they are sent."""
    time: TimeBounds = TimeBounds()

    @property
    def name(self) -> str:
        """The Amplitude name for people: `[Appboy] [Custom Event] {name}` where a field completes it."""
        return str(self.naming)

    @property
    def withheld(self) -> Reason | None:
        """Why no record of the type is sent, if none is."""
        return self.filter.reason if self.filter else None

    @property
    def dropped(self) -> frozenset[str]:
        """Fields that the preset makes no property of, for whatever reason."""
        return self.rules.dropped

    @property
    def properties(self) -> frozenset[str]:
        """The names of the known properties, apart from those of JSON texts."""
        return frozenset(name for field in self.fields for name, _ in self.targets(field)).union(self.fixed)

    def targets(self, field: str) -> tuple[Target, ...]:
        """The properties that *field* becomes, each with the change of its value."""
        return self.rules.targets(field)

    def property_name(self, field: str) -> str | None:
        """Name the property that *field* becomes; None where it becomes none."""
        targets = self.targets(field)
        return targets[0][0] if targets else None

    def change(self, field: str) -> Change | None:
        """How privacy changes the value of *field*, wherever it goes."""
        private = self.rules.private
        is_private, change = private.find(field)
        return change if is_private else private.within(field, is_known=field in self.rules.known)
