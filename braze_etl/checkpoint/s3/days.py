"""The files of the ledger by day: one object for each day, and over it what the journal says since."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from braze_etl.checkpoint.s3.catalogue import Catalogue
from braze_etl.checkpoint.s3.head import Head
from braze_etl.checkpoint.s3.journal import Journal
from braze_etl.checkpoint.s3.objects import Objects
from braze_etl.checkpoint.s3.rows import FileRow, columns, day_of, day_of_row, from_columns
from braze_etl.model import FileRef

ROWS_KEPT: Final = 150_000
"""Rows of days in memory, half a kilobyte each; one day is kept whatever its size."""


class Days:
    """Reads the days that are asked for, and keeps those last used."""

    def __init__(self, objects: Objects, journal: Journal, catalogue: Catalogue) -> None:
        self._objects = objects
        self._journal = journal
        self._catalogue = catalogue
        self._tables: OrderedDict[str, Mapping[str, FileRow]] = OrderedDict()

    def lookup(self, head: Head, refs: Sequence[FileRef]) -> dict[str, FileRow]:
        """The rows of those of *refs* that the ledger knows, by key."""
        by_day: defaultdict[str, list[str]] = defaultdict(list)
        for ref in refs:
            by_day[day_of(ref.hour)].append(ref.key)
        found: dict[str, FileRow] = {}
        for day, keys in by_day.items():
            for rows in self._layers(head, day):
                found.update((key, rows[key]) for key in keys if key in rows)
        return found

    def merged(self, head: Head, day: str) -> dict[str, FileRow]:
        """All rows of a day, by key."""
        merged: dict[str, FileRow] = {}
        for number, rows in enumerate(self._layers(head, day)):
            merged.update(rows if number == 0 else _of_day(rows, day))
        return merged

    def write(self, stamp: str, day: str, rows: Mapping[str, FileRow]) -> None:
        """Store a day anew; it counts when a head or a catalogue gives it this stamp."""
        name = f"days/{day}/{stamp}"
        self._objects.put(name, columns(rows.values()))
        self._keep(name, rows)

    def _layers(self, head: Head, day: str) -> list[Mapping[str, FileRow]]:
        """What is known of a day, from the oldest layer to the newest."""
        stamp = self._catalogue.stamp_of(head, day)
        base = {} if stamp is None else self._table(f"days/{day}/{stamp}")
        return [base, *(each.rows for each in self._journal.read(head, day))]

    def _table(self, name: str) -> Mapping[str, FileRow]:
        if name not in self._tables:
            self._keep(name, from_columns(self._objects.get(name)))
        self._tables.move_to_end(name)
        return self._tables[name]

    def _keep(self, name: str, rows: Mapping[str, FileRow]) -> None:
        self._tables[name] = rows
        while len(self._tables) > 1 and sum(map(len, self._tables.values())) > ROWS_KEPT:
            self._tables.popitem(last=False)


def _of_day(rows: Mapping[str, FileRow], day: str) -> dict[str, FileRow]:
    return {key: row for key, row in rows.items() if day_of_row(row) == day}
