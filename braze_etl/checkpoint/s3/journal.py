"""The journal: settlements that are stored whole, and not yet merged into their days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from braze_etl.checkpoint.s3.head import Head, JournalEntry
from braze_etl.checkpoint.s3.objects import Objects
from braze_etl.checkpoint.s3.rows import (
    FileRow,
    Positions,
    columns,
    day_of_row,
    from_columns,
    positions_from,
    positions_json,
)


@dataclass(frozen=True, slots=True)
class Settled:
    """The rows of one settlement by key, and the positions that it leaves open."""

    rows: Mapping[str, FileRow]
    open: Mapping[str, Positions] = field(default_factory=dict)


class Journal:
    """Writes settlements and reads them back; those of the last head stay in memory."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._settled: dict[str, Settled] = {}

    def write(self, stamp: str, settled: Settled) -> JournalEntry:
        """Store a settlement; it counts when a head names the entry."""
        left_open = {key: positions_json(positions) for key, positions in settled.open.items()}
        self._objects.put(f"journal/{stamp}", {"files": columns(settled.rows.values()), "open": left_open})
        self._settled[stamp] = settled
        days = sorted({day_of_row(row) for row in settled.rows.values()})
        return JournalEntry(stamp, tuple(days), len(settled.open))

    def read(self, head: Head, day: str | None = None) -> list[Settled]:
        """The settlements that *head* names, or those of *day*, in their order."""
        entries = [each for each in head.journal if day is None or day in each.days]
        self._forget_all_but(head)
        return [self._read(each.stamp) for each in entries]

    def _read(self, stamp: str) -> Settled:
        if stamp not in self._settled:
            value = self._objects.get(f"journal/{stamp}")
            left_open = {key: positions_from(each) for key, each in value["open"].items()}
            self._settled[stamp] = Settled(from_columns(value["files"]), left_open)
        return self._settled[stamp]

    def _forget_all_but(self, head: Head) -> None:
        if len(self._settled) > 2 * len(head.journal):
            kept = {each.stamp for each in head.journal}
            self._settled = {stamp: each for stamp, each in self._settled.items() if stamp in kept}
