"""Which integrations and event types are wanted: globs, of which the excluding ones win."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


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
        return _matches(integration, self.integrations)

    def matches_event_type(self, event_type: str) -> bool:
        """Whether files of this event type are wanted."""
        return _matches(event_type, self.event_types) and (
            not self.narrowed_to or _matches(event_type, self.narrowed_to)
        )


def _matches(name: str, globs: tuple[str, ...]) -> bool:
    if any(fnmatchcase(name, glob[1:]) for glob in globs if glob.startswith("!")):
        return False
    includes = [glob for glob in globs if not glob.startswith("!")]
    return any(fnmatchcase(name, glob) for glob in includes) if includes else bool(globs)
