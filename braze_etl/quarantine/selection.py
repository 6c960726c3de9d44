"""Which entries of the quarantine are meant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from braze_etl.globs import matches, selects
from braze_etl.model import Reason
from braze_etl.quarantine.entry import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What an entry must fulfil, all of it; what is left out asks for nothing.

    `ids` are whole ids, and an empty set of them is no entry. `event_types` are globs, `!glob` excludes and
    wins. `files` are keys or globs of keys. `since` (inclusive) and `until` (exclusive) are aware, and about
    the time at which it was set aside.
    """

    ids: frozenset[str] | None = None
    reasons: frozenset[Reason] = frozenset()
    event_types: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    def matches(self, entry: Entry) -> bool:
        """Whether *entry* is meant."""
        return (
            (self.ids is None or entry.id in self.ids)
            and (not self.reasons or entry.reason in self.reasons)
            and (not self.event_types or selects(entry.event_type, self.event_types))
            and (not self.files or any(_is_file(entry.position.key, each) for each in self.files))
            and (self.since is None or entry.at >= self.since)
            and (self.until is None or entry.at < self.until)
        )

    def may_match_on(self, day: date) -> bool:
        """Whether an entry of that UTC day can be meant."""
        return (self.since is None or day >= self.since.astimezone(UTC).date()) and (
            self.until is None or day <= self.until.astimezone(UTC).date()
        )


EVERYTHING = Selection()


def _is_file(key: str, wanted: str) -> bool:
    # The key itself first: it may contain what a glob would read as a pattern.
    return key == wanted or matches(key, (wanted,))
