"""Which entries of the quarantine a replay takes up, grouped by the file that they belong to."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

from braze_etl.clock import hour_of
from braze_etl.currents import parse_key
from braze_etl.model import FileRef, Reason
from braze_etl.quarantine import EVERYTHING, Entry, Quarantine, Selection
from braze_etl.run.finding.due import WHOLE_FILE, FromQuarantine, Place

FileId: TypeAlias = tuple[str, str]
"""Key and etag: entries of a file that was replaced since are another matter than those of what it is now."""


@dataclass(slots=True)
class ChosenFile:
    """What is taken up of one file; `left` are the places of the same file that stay in the quarantine."""

    event_type: str
    reasons: dict[Place, set[Reason]] = field(default_factory=dict)
    filed: dict[Place, datetime] = field(default_factory=dict)
    left: set[Place] = field(default_factory=set)

    def take(self, entry: Entry) -> None:
        """Take this entry up."""
        place = _place(entry)
        self.reasons.setdefault(place, set()).add(entry.reason)
        self.filed[place] = min(entry.at, self.filed.get(place, entry.at))

    def consider(self, entry: Entry) -> None:
        """Take it up too if its fate is settled with the others': the whole file is read, or this place."""
        if WHOLE_FILE in self.reasons or _place(entry) in self.reasons:
            self.take(entry)
        else:
            self.left.add(_place(entry))

    def older_than(self, moment: datetime) -> int:
        """Count the places that were set aside before then."""
        return sum(at < moment for at in self.filed.values())

    def ref(self, id_: FileId) -> FileRef:
        """The file as far as its entries tell: they do not know its size."""
        key, etag = id_
        parsed, at = parse_key(key), min(self.filed.values())
        return FileRef(key, etag, 0, at, self.event_type, parsed.hour if parsed else hour_of(at))

    def from_quarantine(self) -> FromQuarantine:
        """What a worker has to know of it."""
        return FromQuarantine(
            reasons={place: tuple(sorted(reasons)) for place, reasons in self.reasons.items()},
            days=frozenset(at.astimezone(UTC).date() for at in self.filed.values()),
            still_failed=any(record is None for _, record in self.left),
        )


def choose(quarantine: Quarantine, where: Selection) -> dict[FileId, ChosenFile]:
    """Group the entries that *where* means, and those whose fate is settled with them."""
    chosen: dict[FileId, ChosenFile] = {}
    for entry in quarantine.entries(where):
        chosen.setdefault(_file(entry), ChosenFile(entry.event_type)).take(entry)
    if where != EVERYTHING:
        for entry in quarantine.entries():
            if _file(entry) in chosen:
                chosen[_file(entry)].consider(entry)
    return chosen


def _file(entry: Entry) -> FileId:
    return (entry.position.key, entry.position.etag)


def _place(entry: Entry) -> Place:
    return (entry.position.block, entry.position.record)
