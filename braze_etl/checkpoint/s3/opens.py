"""The open files: a snapshot, and over it what the journal opened and closed since.

All of them are in memory while they are read: those of a throttled run, some hundred bytes each.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from braze_etl.checkpoint.s3.head import Head
from braze_etl.checkpoint.s3.journal import Journal, Settled
from braze_etl.checkpoint.s3.objects import Objects
from braze_etl.checkpoint.s3.rows import (
    FileRow,
    Positions,
    columns,
    from_columns,
    positions_from,
    positions_json,
)

OpenMap: TypeAlias = dict[str, tuple[FileRow, Positions]]


class Opens:
    """Follows the open files from head to head."""

    def __init__(self, objects: Objects, journal: Journal) -> None:
        self._objects = objects
        self._journal = journal
        self._base: str | None = None
        self._applied: list[str] = []
        self._open: OpenMap = {}

    def current(self, head: Head) -> OpenMap:
        """The open files by key, as *head* has them; not to be changed."""
        stamps = [each.stamp for each in head.journal]
        if head.open is None and not any(each.open for each in head.journal):
            return {}
        if (head.open, stamps[: len(self._applied)]) != (self._base, self._applied):
            self._start_from(head.open)
        for settled in self._journal.read(head)[len(self._applied) :]:
            self._apply(settled)
        self._applied = stamps
        return self._open

    def write(self, stamp: str, open_files: OpenMap) -> str | None:
        """Store a snapshot and return its stamp; there is none of nothing."""
        if not open_files:
            return None
        rows = columns(row for row, _ in open_files.values())
        positions = {key: positions_json(each) for key, (_, each) in open_files.items()}
        self._objects.put(f"open/{stamp}", {"files": rows, "open": positions})
        return stamp

    def _start_from(self, base: str | None) -> None:
        self._open = {} if base is None else _unpacked(self._objects.get(f"open/{base}"))
        self._base, self._applied = base, []

    def _apply(self, settled: Settled) -> None:
        for key, row in settled.rows.items():
            self._open.pop(key, None)
            if key in settled.open:
                self._open[key] = (row, settled.open[key])


def _unpacked(value: dict[str, Any]) -> OpenMap:
    rows = from_columns(value["files"])
    return {key: (row, positions_from(value["open"][key])) for key, row in rows.items()}
