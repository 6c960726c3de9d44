"""One thing that was set aside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import blake2b

from braze_etl.globs import matches, selects
from braze_etl.model import Position, Reason, SetAside

_LONGEST_DETAIL = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept of it: where it lies, why it was set aside, by which run and when (aware, UTC).

    `id` is 16 hex digits of what it holds, so that one thing set aside twice is one entry. The record itself
    is read again from its position; see `Quarantine.payload`.
    """

    id: str
    run_id: str
    at: datetime
    event_type: str
    reason: Reason
    detail: str
    position: Position

    @classmethod
    def of(cls, set_aside: SetAside, run_id: str, at: datetime) -> Entry:
        """Make the entry of what a task set aside; a detail of more than 1,000 characters is cut."""
        return cls(
            id=entry_id(set_aside.position, set_aside.reason),
            run_id=run_id,
            at=at,
            event_type=set_aside.event_type,
            reason=set_aside.reason,
            # Words from outside may hold what UTF-8 can't.
            detail=set_aside.detail[:_LONGEST_DETAIL].encode(errors="replace").decode(),
            position=set_aside.position,
        )


def entry_id(position: Position, reason: Reason) -> str:
    """Digest key, etag, block, record and reason; two of a million entries meet once in 30 million tries."""
    text = "\0".join((position.key, position.etag, str(position.block), str(position.record), reason))
    return blake2b(text.encode(), digest_size=8).hexdigest()


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
