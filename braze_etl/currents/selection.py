"""Which integrations and event types are wanted: globs, of which the excluding ones win."""

from __future__ import annotations

from dataclasses import dataclass

from braze_etl.globs import selects


@dataclass(frozen=True, slots=True)
class Selection:
    """Globs over integration ids and event types; `!glob` excludes. Letters count with their case, as in S3.

    A list of nothing but excludes selects all the rest; an empty list selects nothing. `narrowed_to` are
    further globs over event types, of a command's options: where there are any, both have to match.
    """

    integrations: tuple[str, ...] = ("*",)
    event_types: tuple[str, ...] = ("*",)
    narrowed_to: tuple[str, ...] = ()

    def matches_integration(self, integration: str) -> bool:
        """Whether files of this integration id are wanted."""
        return selects(integration, self.integrations)

    def matches_event_type(self, event_type: str) -> bool:
        """Whether files of this event type are wanted."""
        return selects(event_type, self.event_types) and (
            not self.narrowed_to or selects(event_type, self.narrowed_to)
        )
