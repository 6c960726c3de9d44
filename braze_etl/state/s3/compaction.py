"""Merging the journal into its days, and clearing away what no head names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from braze_etl.state.ledger import day_of
from braze_etl.state.rows import micros
from braze_etl.state.s3.head import Head, Heads
from braze_etl.state.s3.objects import Objects, packed
from braze_etl.state.s3.runs import Notes, Runs
from braze_etl.state.s3.segments import PRUNED, Catalogue, Day, Days, Journal, OpenFiles, day_name

MOST_ENTRIES: Final = 16
"""So many settlements the journal holds before they are merged."""

DAYS_A_STEP: Final = 8

SWEEP_EVERY: Final = timedelta(days=1)
GRACE: Final = timedelta(hours=1)
"""Objects that no head names may belong to a settlement in the making, but not for that long."""

_OURS: Final = re.compile(
    r"(?:journal|days/\d{4}-\d\d-\d\d|open|runs|notes|catalogue)/[0-9a-f]+-[0-9a-z]+\.json\.gz|probe/.*"
)


class Compactor:
    """Keeps the ledger small. What it replaces is deleted at once: a reader of it looks for a newer head."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def compact_when_full(self) -> None:
        """Merge a full journal into its days."""
        if len(self._parts.heads.current().journal) >= MOST_ENTRIES:
            self.compact()

    def clear_daily(self, now: datetime) -> None:
        """Once a day, under a lease, clear away what was replaced and what crashes have left."""
        swept_at = self._parts.heads.current().swept_at
        if self._parts.heads.generation is not None and (swept_at is None or now - swept_at >= SWEEP_EVERY):
            self.sweep(now)

    def compact(self) -> None:
        """Merge the journal into its days."""
        replaced: list[str] = []

        def change(head: Head, stamp: str) -> Head:
            replaced[:] = self._replaced(head)
            return self._compacted(head, stamp)

        self._parts.heads.commit(change)
        self._parts.objects.delete(replaced)

    def prune(self, before: datetime, after: str) -> str | None:
        """See `Ledger.prune`: a step is some days. One that the journal touches waits until it is merged."""
        head, horizon = self._parts.heads.current(), micros(day_of(before))
        stamps = self._parts.catalogue.all_days(head)
        touched = {*_touched(head), *(day for day, stamp in stamps.items() if stamp.endswith(PRUNED))}
        left = [day for day in stamps if after < day < day_name(before) and day not in touched]
        step = left[:DAYS_A_STEP]
        pruned = {
            day: kept
            for day in step
            if len((kept := (base := self._parts.days.base(head, day)).without(horizon)).rows)
            < len(base.rows)
        }
        if pruned:
            self._replace_days(pruned)
        return step[-1] if len(left) > len(step) else None

    def _replace_days(self, pruned: Mapping[str, Day]) -> None:
        replaced: list[str] = []

        def change(head: Head, stamp: str) -> Head:
            replaced[:] = [f"days/{day}/{self._parts.catalogue.stamp_of(head, day)}" for day in pruned]
            days = {day: self._parts.days.write(stamp, day, kept) for day, kept in pruned.items()}
            through = max(head.pruned_through or "", *pruned)
            changed = replace(head, days={**head.days, **days}, pruned_through=through)
            return self._parts.catalogue.trimmed(changed, stamp)

        self._parts.heads.commit(change)
        self._parts.objects.delete(replaced)

    def sweep(self, now: datetime) -> None:
        """Delete objects of an hour and more that no head names."""
        # First the head: whoever wrote objects for the one before has to begin anew.
        self._parts.heads.commit(lambda head, _: replace(head, swept_at=now))
        head = self._parts.heads.refresh()
        assert self._parts.heads.read_at is not None
        named = set(map(packed, self._named(head)))
        oldest = self._parts.heads.read_at - GRACE
        self._parts.objects.discard(
            each.key
            for each in self._parts.objects.listed()
            if each.key not in named and each.modified < oldest and _OURS.fullmatch(each.key)
        )

    def _compacted(self, head: Head, stamp: str) -> Head:
        days = dict(head.days)
        for day in _touched(head):
            days[day] = self._parts.days.write(stamp, day, self._parts.days.merged(head, day))
        still_open = self._parts.open_files.write(stamp, self._parts.open_files.current(head))
        return self._parts.catalogue.trimmed(replace(head, days=days, open=still_open, journal=()), stamp)

    def _replaced(self, head: Head) -> Iterator[str]:
        yield from (f"journal/{each.stamp}" for each in head.journal)
        for day in _touched(head):
            if stamp := self._parts.catalogue.stamp_of(head, day):
                yield f"days/{day}/{stamp}"
        if head.open is not None:
            yield f"open/{head.open}"

    def _named(self, head: Head) -> Iterator[str]:
        yield from (f"journal/{each.stamp}" for each in head.journal)
        yield from (f"days/{day}/{stamp}" for day, stamp in self._parts.catalogue.all_days(head).items())
        yield from (f"runs/{stamp}" for stamp in (head.runs, *self._parts.runs.older(head)))
        yield from (f"notes/{stamp}" for stamp in head.large_notes.values())
        yield f"open/{head.open}"
        if head.catalogue is not None:
            yield f"catalogue/{head.catalogue.stamp}"


def _touched(head: Head) -> list[str]:
    return sorted({day for entry in head.journal for day in entry.days})


@dataclass(frozen=True, slots=True)
class Parts:
    """Each knows one kind of object, and keeps in memory what it last read of it."""

    objects: Objects
    heads: Heads
    journal: Journal
    catalogue: Catalogue
    days: Days
    open_files: OpenFiles
    runs: Runs
    notes: Notes

    @classmethod
    def of(cls, objects: Objects, heads: Heads) -> Parts:
        """Make the parts."""
        journal, catalogue = Journal(objects), Catalogue(objects)
        days, open_files = Days(objects, journal, catalogue), OpenFiles(objects, journal)
        return cls(objects, heads, journal, catalogue, days, open_files, Runs(objects), Notes(objects))
