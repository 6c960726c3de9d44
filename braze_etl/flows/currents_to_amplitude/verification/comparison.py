"""Two sides compared by insert_id: what was sent, and what an export holds.

Both are cut by a hash of the id into pieces on disk, and piece is compared with piece: an id of one side lies
in the piece of the same number as its fellows of the other. So memory is that of one piece.
"""

from __future__ import annotations

import os
import shutil
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeAlias
from zlib import crc32

import orjson

PIECES: Final = 256
"""Of 100 million ids, a piece holds 400,000 in some 100 MB."""
_AT_ONCE: Final = 50_000
"""Exported events that wait for being written to their pieces."""
_DRAWERS: Final = 64
_PERSONS: Final = 10_000
"""Persons of missing events that are looked at."""
_A_SIGN: Final = 3
"""So many events of one person, and none of them there, are no accident."""

Pieces: TypeAlias = Mapping[int, bytes]
"""Rows by the number of their piece, as JSON lines that can be put one behind the other."""


class Expected(NamedTuple):
    """An event that was sent. `file` is the number of its file, `quarter` its time in 15 minutes from 1970.

    `person` is a hash of whose it is. In a piece it lies as a plain sequence.
    """

    insert_id: str
    file: int
    block: int
    record: int
    quarter: int
    person: int


class Cutter:
    """Takes rows by id, and gives them back by piece; `waiting` are those that were not given yet."""

    def __init__(self) -> None:
        self._rows: list[defaultdict[str, list[Any]]] = [defaultdict(list) for _ in range(PIECES)]
        self.waiting = 0

    def add(self, insert_id: str, group: str, row: object) -> None:
        """Take a row, of plain JSON; *group* is what many rows have in common."""
        self._rows[crc32(insert_id.encode()) % PIECES][group].append(row)
        self.waiting += 1

    def take(self) -> Pieces:
        """Give what waits."""
        taken = {
            number: orjson.dumps(rows, option=orjson.OPT_APPEND_NEWLINE)
            for number, rows in enumerate(self._rows)
            if rows
        }
        for rows in self._rows:
            rows.clear()
        self.waiting = 0
        return taken


@dataclass(slots=True)
class Tally:
    """What became of expected events: `present`, `missing`, or sent too short a time ago to be judged.

    `repeated` counts the further times that a present one is held.
    """

    expected: int = 0
    present: int = 0
    missing: int = 0
    repeated: int = 0
    too_early: int = 0

    def add(self, other: Tally) -> None:
        """Add what *other* has counted."""
        for name, count in asdict(other).items():
            setattr(self, name, getattr(self, name) + count)


@dataclass(frozen=True, slots=True)
class Missing:
    """An event that was expected and is not there; `name` is its event type in Amplitude."""

    insert_id: str
    file: int
    block: int
    record: int
    name: str


@dataclass(slots=True)
class Result:
    """What the comparison says. `tallies` are by event type of Currents and its name in Amplitude.

    `foreign` counts exported events that are none of the expected, by `library`; `duplicates` are ids that
    the source holds a further time. `persons` are those of whom nothing is there, and `of_persons` their
    events. `days` counts what is expected by name and day, where nothing is held against it.
    """

    tallies: defaultdict[tuple[str, str], Tally] = field(default_factory=lambda: defaultdict(Tally))
    foreign: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    persons: int = 0
    of_persons: int = 0
    days: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def total(self) -> Tally:
        """The sum over all types."""
        total = Tally()
        for tally in self.tallies.values():
            total.add(tally)
        return total


class Comparison:
    """Takes both sides, then compares them; a context manager, whose folder goes at its end.

    A file is left out that was not given to `add_file`, or was taken back.
    """

    def __init__(self, day_of: Callable[[int], str] | None = None) -> None:
        """With *day_of*, which names the day of a quarter of an hour, nothing is held against the expected.

        They are counted by name and day, and taken for present.
        """
        self._folder = Path(mkdtemp(prefix="braze-etl-verify-"))
        self._day_of = day_of
        self._types: list[str] = []
        self._type = array("l")
        self._sent = array("d")
        self._persons: Counter[int] | None = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def add_file(self, event_type: str, sent: float) -> int:
        """Take a file whose last event was accepted at *sent* (epoch seconds), and give it a number."""
        if event_type not in self._types:
            self._types.append(event_type)
        self._type.append(self._types.index(event_type))
        self._sent.append(sent)
        return len(self._type) - 1

    def take_back(self, file: int) -> None:
        """Expect nothing of that file."""
        self._type[file] = -1

    def expect(self, pieces: Pieces) -> None:
        """Take expected events: rows of `Expected`, grouped by their names in Amplitude."""
        self._write("expected", pieces)

    def hold(self, exported: Iterable[tuple[str, str]]) -> None:
        """Take exported events, each as insert_id and library."""
        cutter = Cutter()
        for insert_id, library in exported:
            cutter.add(insert_id, library, insert_id)
            if cutter.waiting == _AT_ONCE:
                self._write("held", cutter.take())
        self._write("held", cutter.take())

    def compare(self, settled_before: float) -> Result:
        """Hold the sides against each other; files that were sent after that moment are too early."""
        result = Result()
        for number in range(PIECES):
            expected = self._expected(number, result)
            times = self._held(number, expected, result.foreign)
            missing: defaultdict[int, list[Missing]] = defaultdict(list)
            for name, row in expected.values():
                tally = result.tallies[self._types[self._type[row.file]], name]
                tally.expected += 1
                if self._sent[row.file] > settled_before:
                    tally.too_early += 1
                elif self._day_of is not None:
                    tally.present += 1
                    result.days[name, self._day_of(row.quarter)] += 1
                elif held := times[row.insert_id]:
                    tally.present += 1
                    tally.repeated += held - 1
                else:
                    tally.missing += 1
                    missing[self._drawer(row.file)].append(Missing(*row[:4], name))
                    self._note_person(row.person)
            self._write("missing", {drawer: _lines(rows) for drawer, rows in missing.items()})
        self._count_persons(result)
        return result

    def missing(self) -> Iterator[Missing]:
        """Give what is missing, in the order of the files."""
        for drawer in range(_DRAWERS):
            rows = [Missing(**row) for row in self._read("missing", drawer)]
            yield from sorted(rows, key=lambda row: (row.file, row.block, row.record))

    def _drawer(self, file: int) -> int:
        return file * _DRAWERS // len(self._type)

    def _note_person(self, person: int) -> None:
        if self._persons is not None:
            self._persons[person] += 1
            if len(self._persons) > _PERSONS:
                self._persons = None

    def _count_persons(self, result: Result) -> None:
        """Read the expected once more, and count the persons of whom nothing is there."""
        often = {person: n for person, n in (self._persons or {}).items() if n >= _A_SIGN}
        if not often:
            return
        all_of = Counter[int]()
        for number in range(PIECES):
            persons = (row.person for _, row in self._expected(number, Result()).values())
            all_of.update(person for person in persons if person in often)
        whole = [person for person, n in often.items() if all_of[person] == n]
        result.persons, result.of_persons = len(whole), sum(often[person] for person in whole)

    def _expected(self, number: int, result: Result) -> dict[str, tuple[str, Expected]]:
        """Rows by id, each with its name; where the source holds an id again, that of the first place."""
        rows: dict[str, tuple[str, Expected]] = {}
        for groups in self._read("expected", number):
            for name, of_name in groups.items():
                for row in map(Expected._make, of_name):
                    if self._type[row.file] < 0:
                        continue
                    before = rows.get(row.insert_id)
                    result.duplicates += before is not None
                    if before is None or row < before[1]:
                        rows[row.insert_id] = (name, row)
        return rows

    def _held(self, number: int, expected: Mapping[str, object], foreign: Counter[str]) -> Counter[str]:
        """How often each expected id is held; the others count as foreign."""
        times = Counter[str]()
        for groups in self._read("held", number):
            for library, ids in groups.items():
                ours = [insert_id for insert_id in ids if insert_id in expected]
                times.update(ours)
                if len(ours) < len(ids):
                    foreign[library] += len(ids) - len(ours)
        return times

    def _read(self, side: str, number: int) -> Iterator[Any]:
        path = self._folder / f"{side}-{number}"
        if path.exists():
            with path.open("rb") as lines:
                yield from map(orjson.loads, lines)

    def _write(self, side: str, pieces: Pieces) -> None:
        for number, lines in pieces.items():
            path = self._folder / f"{side}-{number}"
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as file:
                file.write(lines)


def _lines(rows: Iterable[Missing]) -> bytes:
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
