"""What a project has: events and properties by name, as a taxonomy or exported events show them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from braze_etl.run.tracking.plan import kind_of

_CONNECTOR = "Braze"
"""The `library` of the events that Braze's own connector sends, and this program under `native`."""


@dataclass(slots=True)
class TheirEvent:
    """The kinds seen of each property (none where that is open), and whether the event is surely Braze's."""

    properties: dict[str, set[str]] = field(default_factory=dict)
    is_brazes: bool = False

    def note(self, name: str, kind: str) -> None:
        """Add a property, or one more kind of its values; `any` says nothing."""
        self.properties.setdefault(name, set()).update(() if kind == "any" else (kind,))


@dataclass(slots=True)
class Theirs:
    """All events by name. `is_complete`: a taxonomy is among what was read: what is absent does not exist."""

    events: dict[str, TheirEvent] = field(default_factory=dict)
    is_complete: bool = False
    events_read: int = 0

    def event(self, name: str) -> TheirEvent:
        """The event of that name, which is made if it is not there."""
        return self.events.setdefault(name, TheirEvent())

    def observe(self, exported: dict[str, Any]) -> None:
        """Take one event of the Export API (amplitude.md, 5.1)."""
        name, properties = exported["event_type"], exported.get("event_properties")
        event = self.event(str(name))
        self.events_read += 1
        event.is_brazes |= exported.get("library") == _CONNECTOR
        for key, value in (properties if isinstance(properties, dict) else {}).items():
            if value is not None:
                event.note(key, kind_of([value]))
