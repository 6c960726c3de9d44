"""The segments of the ledger in S3: immutable objects with the rows of files, each kind read by its class.

A settlement is an object of the journal. A full journal is merged into its days, each an object, and into a
snapshot of the open files; the newest layer holds. The head names the days of late, the catalogue the older
ones. Rows are written as columns, which compress to some 40 bytes a file.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import add
from typing import Any, Final, NamedTuple, TypeAlias

from braze_etl.model import FileRef, FileState, OpenPositions, Reason
from braze_etl.state.rows import FileRow, micros, moment, rows_of
from braze_etl.state.s3.head import CatalogueName, Head, JournalEntry, check_days
from braze_etl.state.s3.objects import Objects
from braze_etl.state.shapes import EACH, checked

Positions: TypeAlias = tuple[OpenPositions, ...]

_CODED = {
    "event_type",
    "hour",
    "state",
    "settled_at",
    "run_id",
    "mapping",
    "held_from",
    "sent_from",
    "sent_to",
}
"""Columns of few different values: these are written, and read, once."""

MOST_DAYS: Final = 24
"""That many days stand in the head before the older half moves into the catalogue."""

PRUNED: Final = "p"

ROWS_KEPT: Final = 150_000
"""Rows of days in memory, half a kilobyte each; one day is kept whatever its size."""


class PrunedSums(NamedTuple):
    """`PrunedFiles`, but for their day."""

    event_type: str
    files: int = 0
    bytes: int = 0
    accepted: int = 0
    filtered: int = 0


def day_name(hour: datetime) -> str:
    """The day that a file belongs to, by its `date=` hour."""
    return hour.date().isoformat()


def day_of_row(row: FileRow) -> str:
    return day_name(moment(row.hour))


def columns(rows: Iterable[FileRow]) -> dict[str, Any]:
    """Turn rows into columns, as JSON values."""
    by_column = list(zip(*sorted(rows), strict=True)) or [()] * len(FileRow._fields)
    return {
        name: _coded(values) if name in _CODED else values
        for name, values in zip(FileRow._fields, by_column, strict=True)
    }


def from_columns(value: Mapping[str, Any]) -> dict[str, FileRow]:
    """Turn columns back into rows, by key."""
    by_column = [_decoded(value[name]) if name in _CODED else value[name] for name in FileRow._fields]
    return {row.key: row for row in rows_of(zip(*by_column, strict=True))}


def _coded(values: tuple[Any, ...]) -> list[Any]:
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return [list(numbers), [numbers[value] for value in values]]


def _decoded(coded: list[list[Any]]) -> list[Any]:
    values, numbers = coded
    return [values[number] for number in numbers]


def positions_json(positions: Positions) -> list[Any]:
    """Write open positions as JSON values."""
    return [
        [each.reason.value, micros(each.not_before), [[o, list(i)] for o, i in each.blocks.items()]]
        for each in positions
    ]


def positions_from(value: Iterable[Any]) -> Positions:
    """Read open positions."""
    return tuple(
        OpenPositions(
            Reason(reason),
            moment(not_before),
            {checked(offset, int): tuple(checked(of, [int])) for offset, of in blocks},
        )
        for reason, not_before, blocks in value
    )


@dataclass(frozen=True, slots=True)
class Settled:
    """The rows of one settlement by key, and the positions that it leaves open."""

    rows: Mapping[str, FileRow]
    open: Mapping[str, Positions] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Settled:
        """Read what `as_json` gave."""
        left_open = {key: positions_from(each) for key, each in value["open"].items()}
        return cls(from_columns(value["files"]), left_open)

    def as_json(self) -> dict[str, Any]:
        """Give JSON values."""
        left_open = {key: positions_json(each) for key, each in self.open.items()}
        return {"files": columns(self.rows.values()), "open": left_open}


class Journal:
    """Writes settlements and reads them back; those of the last head stay in memory."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._settled: dict[str, Settled] = {}

    def write(self, stamp: str, settled: Settled) -> JournalEntry:
        """Store a settlement; it counts when a head names the entry."""
        self._objects.put(f"journal/{stamp}", settled.as_json())
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
            self._settled[stamp] = self._objects.get(f"journal/{stamp}", Settled.of)
        return self._settled[stamp]

    def _forget_all_but(self, head: Head) -> None:
        if len(self._settled) > 2 * len(head.journal):
            kept = {each.stamp for each in head.journal}
            self._settled = {stamp: each for stamp, each in self._settled.items() if stamp in kept}


@dataclass(frozen=True, slots=True)
class Day:
    """The rows of a day by key, and the sums of what was pruned of it by event type."""

    rows: Mapping[str, FileRow] = field(default_factory=dict)
    pruned: Mapping[str, PrunedSums] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Day:
        """Read what `as_json` gave."""
        return cls(from_columns(value), {sums[0]: PrunedSums(*sums) for sums in value["pruned"]})

    def as_json(self) -> dict[str, Any]:
        """Give JSON values."""
        return columns(self.rows.values()) | {"pruned": list(map(tuple, self.pruned.values()))}

    def without(self, before: int) -> Day:
        """Fold the rows of files that are done, and were so before that time; see `Ledger.prune`."""
        pruned, kept = dict(self.pruned), dict[str, FileRow]()
        for key, row in self.rows.items():
            if _is_done(row) and row.settled_at < before:
                name, sums = row.event_type, pruned.get(row.event_type, PrunedSums(row.event_type))
                of_row = (1, row.size, row.accepted, row.filtered)
                pruned[name] = PrunedSums(name, *map(add, sums[1:], of_row))
            else:
                kept[key] = row
        return Day(kept, pruned)

    def stamp(self, stamp: str) -> str:
        """Mark the stamp of a pruned day that will never be pruned again: hexadecimal digits have no such."""
        return stamp if not self.pruned or any(map(_is_done, self.rows.values())) else stamp + PRUNED


def _is_done(row: FileRow) -> bool:
    return row.state == FileState.DONE and not row.quarantined


class Catalogue:
    """Reads the catalogue where it is needed, once for each version."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._stamp: str | None = None
        self._days: dict[str, str] = {}

    def stamp_of(self, head: Head, day: str) -> str | None:
        """The stamp of the object that holds *day*; None when there is none."""
        if day in head.days or head.catalogue is None or day > head.catalogue.through:
            return head.days.get(day)
        return self._older(head).get(day)

    def all_days(self, head: Head) -> dict[str, str]:
        """The stamps of all days, oldest first."""
        return dict(sorted((self._older(head) | dict(head.days)).items()))

    def trimmed(self, head: Head, stamp: str) -> Head:
        """Move the older half of the head's days into a new catalogue, if there are too many."""
        if len(head.days) <= MOST_DAYS:
            return head
        newest_first = sorted(head.days, reverse=True)
        kept, moved = newest_first[: MOST_DAYS // 2], newest_first[MOST_DAYS // 2 :]
        older = self._older(head) | {day: head.days[day] for day in moved}
        self._objects.put(f"catalogue/{stamp}", older)
        self._stamp, self._days = stamp, older
        days = {day: head.days[day] for day in kept}
        return replace(head, days=days, catalogue=CatalogueName(stamp, max(older)))

    def _older(self, head: Head) -> dict[str, str]:
        if head.catalogue is None:
            return {}
        if head.catalogue.stamp != self._stamp:
            self._days = self._objects.get(f"catalogue/{head.catalogue.stamp}", _stamps)
            self._stamp = head.catalogue.stamp
        return self._days


class Days:
    """Reads the days that are asked for, and keeps those last used."""

    def __init__(self, objects: Objects, journal: Journal, catalogue: Catalogue) -> None:
        self._objects = objects
        self._journal = journal
        self._catalogue = catalogue
        self._days: OrderedDict[str, Day] = OrderedDict()

    def lookup(self, head: Head, refs: Sequence[FileRef]) -> dict[str, FileRow]:
        """The rows of those of *refs* that the ledger knows, by key."""
        by_day: defaultdict[str, list[str]] = defaultdict(list)
        for ref in refs:
            by_day[day_name(ref.hour)].append(ref.key)
        found: dict[str, FileRow] = {}
        for day, keys in by_day.items():
            for rows in self._layers(head, day):
                found.update((key, rows[key]) for key in keys if key in rows)
        return found

    def pruned(self, head: Head, refs: Iterable[FileRef]) -> set[str]:
        """The keys of those of *refs* that lie among pruned files."""
        return {ref.key for ref in refs if ref.event_type in self.base(head, day_name(ref.hour)).pruned}

    def merged(self, head: Head, day: str) -> Day:
        """All that is known of a day."""
        base = self.base(head, day)
        merged = dict(base.rows)
        for settled in self._journal.read(head, day):
            merged.update(_of_day(settled.rows, day))
        return Day(merged, base.pruned)

    def write(self, stamp: str, name: str, day: Day) -> str:
        """Store a day anew, and return the stamp by which it counts when a head or a catalogue has it."""
        stamp = day.stamp(stamp)
        self._objects.put(f"days/{name}/{stamp}", day.as_json())
        self._keep(f"days/{name}/{stamp}", day)
        return stamp

    def base(self, head: Head, day: str) -> Day:
        """The oldest layer of a day, without what the journal says of it."""
        stamp = self._catalogue.stamp_of(head, day)
        if stamp is None:
            return Day()
        name = f"days/{day}/{stamp}"
        if name not in self._days:
            self._keep(name, self._objects.get(name, Day.of))
        self._days.move_to_end(name)
        return self._days[name]

    def _layers(self, head: Head, day: str) -> list[Mapping[str, FileRow]]:
        """What is known of a day's files, from the oldest layer to the newest."""
        return [self.base(head, day).rows, *(each.rows for each in self._journal.read(head, day))]

    def _keep(self, name: str, day: Day) -> None:
        self._days[name] = day
        while len(self._days) > 1 and sum(len(each.rows) for each in self._days.values()) > ROWS_KEPT:
            self._days.popitem(last=False)


def _of_day(rows: Mapping[str, FileRow], day: str) -> dict[str, FileRow]:
    return {key: row for key, row in rows.items() if day_of_row(row) == day}


OpenMap: TypeAlias = dict[str, tuple[FileRow, Positions]]


class OpenFiles:
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
        of_rows = {key: row for key, (row, _) in open_files.items()}
        positions = {key: each for key, (_, each) in open_files.items()}
        self._objects.put(f"open/{stamp}", Settled(of_rows, positions).as_json())
        return stamp

    def _start_from(self, base: str | None) -> None:
        self._open = {} if base is None else self._objects.get(f"open/{base}", _unpacked)
        self._base, self._applied = base, []

    def _apply(self, settled: Settled) -> None:
        for key, row in settled.rows.items():
            self._open.pop(key, None)
            if key in settled.open:
                self._open[key] = (row, settled.open[key])


def _unpacked(value: Mapping[str, Any]) -> OpenMap:
    settled = Settled.of(value)
    return {key: (row, settled.open[key]) for key, row in settled.rows.items()}


def _stamps(value: Any) -> dict[str, str]:
    stamps: dict[str, str] = checked(value, {EACH: str})
    check_days(stamps)
    return stamps
