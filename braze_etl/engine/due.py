"""Due files: why each of them is due, which records are wanted of it, and how they wait for their tasks."""

from __future__ import annotations

import heapq
import os
import pickle
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta
from enum import StrEnum
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import IO, Final, Generic, Literal, Self, TypeAlias, TypeVar

from braze_etl.errors import StoreError
from braze_etl.model import FileRef, OpenPositions, Reason, Tally
from braze_etl.state.ledger import Backlog, BacklogLine, OpenFile

DEDUPLICATED_FOR: Final = timedelta(days=7)
"""How long Amplitude recognises a repeated insert_id (amplitude.md 1.5)."""
_BYTES_A_PLACE = 4_000
"""A wanted record costs the reading of its block, of which there are 16,000 bytes or more, unless others of
that block are wanted too."""
_UNKNOWN_SIZE = 1_000_000


Place: TypeAlias = tuple[int, int | None]
"""Block and record of a `Position`; without a record, a stretch of the file, or (block 0) the whole of it."""
WHOLE_FILE: Final[Place] = (0, None)


class Origin(StrEnum):
    """Why a file is due. `ORIGINS` says what that means for its records."""

    NEW = "new"
    """The ledger does not have it as it is now: all of it is read."""
    DEFERRED = "deferred"
    """Earlier runs left records of it open."""
    QUARANTINED = "quarantined"
    """A replay takes up what of it was set aside, which may be the whole file."""
    CHANGED = "changed"
    """Records of it were filtered, and the mapping in force sends them."""
    MISSING = "missing"
    """Records of it were accepted, and the destination does not hold them."""


class Rest(StrEnum):
    """What becomes of a record of which the destination was not asked."""

    SET_ASIDE = "set_aside"
    """It is filed in the quarantine, and its file counts as failed."""
    STAYS_ASIDE = "stays_aside"
    """Its entries in the quarantine stay, and so do their words: `Wanted.reasons`."""
    STAYS_OPEN = "stays_open"
    """It is deferred as it was: until `Wanted.not_before`, for the first of the reasons."""
    FILTERED = "filtered"
    """It counts as filtered, and its file as judged up to there."""
    FILE_STAYS = "file_stays"
    """The ledger is told nothing of its file, which stays as it was."""


StaysAsItWas: TypeAlias = Literal[Rest.STAYS_ASIDE, Rest.STAYS_OPEN, Rest.FILE_STAYS]


@dataclass(frozen=True, slots=True)
class OriginRules:
    """What becomes of records that can't be read, that were not reached, and that the budget held.

    Their types allow what the books can carry out. Of any origin, a record that is accepted or filtered is
    counted, and one that is refused is set aside. What settling does is the work list's (`WorkList.claim`).
    """

    unreadable: StaysAsItWas | Literal[Rest.SET_ASIDE]
    not_reached: StaysAsItWas
    held: StaysAsItWas | Literal[Rest.FILTERED]


ORIGINS: Final[Mapping[Origin, OriginRules]] = {
    Origin.NEW: OriginRules(Rest.SET_ASIDE, Rest.FILE_STAYS, Rest.FILTERED),
    # A record that lies behind one that was held may have been sent long ago: it is not filtered.
    Origin.DEFERRED: OriginRules(Rest.SET_ASIDE, Rest.STAYS_OPEN, Rest.STAYS_OPEN),
    Origin.QUARANTINED: OriginRules(Rest.STAYS_ASIDE, Rest.STAYS_ASIDE, Rest.STAYS_ASIDE),
    # It was filtered, and stays to be judged.
    Origin.CHANGED: OriginRules(Rest.FILE_STAYS, Rest.FILE_STAYS, Rest.FILTERED),
    # On the books it was accepted, and the next verification finds it missing again.
    Origin.MISSING: OriginRules(Rest.FILE_STAYS, Rest.FILE_STAYS, Rest.FILE_STAYS),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Records of a file that are taken up, by block offset; None stands for a stretch of the file as one.

    `reasons` are why they were deferred, until `not_before`, or set aside, on those `days` (UTC).
    """

    blocks: Mapping[int, tuple[int | None, ...]]
    reasons: tuple[Reason, ...] = ()
    not_before: datetime | None = None
    days: frozenset[date] = frozenset()


@dataclass(frozen=True, slots=True)
class DueFile:
    """A file to be worked on: whole, or only the records that are `wanted` of it.

    `later` are open positions that are left alone, most of them because their time has not come; `carried`
    are the books of all that is settled. `still_failed`: other parts of the file, which could not be read,
    stay in the quarantine. By `mapping` and `held_from` (see `FileSettlement`) it is judged when the wanted
    records are settled, and by `mapping_if_held` when the budget has held some of them.
    """

    ref: FileRef
    origin: Origin = Origin.NEW
    wanted: tuple[Wanted, ...] = ()
    later: tuple[OpenPositions, ...] = ()
    carried: Tally = field(default_factory=Tally)
    still_failed: bool = False
    mapping: str = ""
    held_from: tuple[int, int] | None = None
    mapping_if_held: str = ""

    def __reduce__(self) -> tuple[type[DueFile], tuple[object, ...]]:
        if self.origin is Origin.NEW:  # there are very many
            return DueFile, (self.ref,)
        return DueFile, tuple(getattr(self, each.name) for each in fields(self))

    @property
    def whole(self) -> bool:
        """Whether every record is to be read."""
        return self.origin is Origin.NEW or any(None in part.blocks.get(0, ()) for part in self.wanted)

    @property
    def ready(self) -> bool:
        """Whether anything can be done about it now."""
        return self.origin is Origin.NEW or bool(self.wanted)

    @property
    def may_be_all(self) -> bool:
        """Whether the wanted records may be nearly all of the file, which is then read as one stream."""
        return self.origin in (Origin.CHANGED, Origin.MISSING)

    @property
    def weight(self) -> int:
        """About how many bytes are read for it."""
        if self.whole:
            return self.ref.size or _UNKNOWN_SIZE
        places = sum(1 for _ in self.places()) * _BYTES_A_PLACE
        return min(places, self.ref.size or places) if self.may_be_all else places

    def places(self) -> Iterator[Place]:
        """All that is wanted, by its place; nothing of a file that is read for the first time."""
        for part in self.wanted:
            for block, records in part.blocks.items():
                yield from ((block, record) for record in records)

    def part_of(self, place: Place) -> Wanted | None:
        """What is known of a wanted place; None where that is not wanted by itself."""
        block, record = place
        return next((part for part in self.wanted if record in part.blocks.get(block, ())), None)

    def deferred(self) -> Counter[Reason]:
        """How many records are taken up that were deferred, by the reason."""
        counts = Counter[Reason]()
        for part in self.wanted:
            counts[part.reasons[0]] += sum(map(len, part.blocks.values()))
        return counts

    def by_block(self) -> dict[int, frozenset[int] | None] | None:
        """The records to read by block offset, None for all of the block; None for all of the file."""
        if self.whole:
            return None
        blocks: dict[int, set[int | None]] = {}
        for block, record in self.places():
            blocks.setdefault(block, set()).add(record)
        return {
            block: None if None in records else frozenset(record for record in records if record is not None)
            for block, records in blocks.items()
        }


def open_files(files: Iterable[OpenFile], *, now: datetime) -> Iterator[DueFile]:
    """Turn the ledger's open files into due ones, with what is ready apart from what has to wait."""
    for file in files:
        ready = (part for part in file.open if part.not_before <= now)
        yield DueFile(
            file.ref,
            Origin.DEFERRED,
            wanted=tuple(Wanted(part.blocks, (part.reason,), part.not_before) for part in ready),
            later=tuple(part for part in file.open if part.not_before > now),
            carried=Tally(file.tally.accepted, file.tally.filtered, file.tally.quarantined),
            mapping=file.mapping,
            held_from=file.held_from,
        )


_IN_MEMORY = 4_000_000
"""Bytes; a longer backlog (about 20,000 files) goes on in a temporary file."""
_AT_ONCE = 500
"""Files pickled together: what they have in common is written once."""


class Discovery:
    """Takes due files, and gives each back once for the tasks; use as a context manager.

    `error` is what broke the listing off: what was found is delivered all the same, and the run fails.
    `complete` is whether everything due was found; `waiting` counts files of which every record has to wait
    for their time.
    """

    def __init__(self) -> None:
        self.files = 0
        self.waiting = 0
        self.bytes = 0
        self.backlog = BacklogTally()
        self.error: StoreError | None = None
        self.complete = False
        self._spooled = 0
        self._given = 0
        self._given_up_to = 0
        self._spool: IO[bytes] = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - see __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spool.close()

    @property
    def pending(self) -> bool:
        """Whether there is a file for `due_files` to give that is ready to be worked on."""
        return self._given < self._spooled

    def collect(self, due: Iterable[DueFile], should_stop: Callable[[], bool] = lambda: False) -> None:
        """Take all due files, in their order; *due* ends by itself when it is time to stop."""
        ready = list[DueFile]()
        try:
            for file in due:
                self.files += 1
                self.bytes += file.ref.size
                self.backlog.discovered(file.ref)
                if file.ready:
                    ready.append(file)
                else:
                    self.waiting += 1
                if len(ready) == _AT_ONCE:
                    self._spool_all(ready)
            self.complete = not should_stop()
        except StoreError as error:
            self.error = error
        finally:
            self._spool_all(ready)

    def _spool_all(self, files: list[DueFile]) -> None:
        if files:
            self._spool.seek(0, os.SEEK_END)
            pickle.dump(files, self._spool)
            self._spooled += 1
            files.clear()

    def due_files(self) -> Iterator[DueFile]:
        """Give back, lazily, what was collected and has not been given yet."""
        while self.pending:
            self._spool.seek(self._given_up_to)
            files: list[DueFile] = pickle.load(self._spool)  # noqa: S301 - our own anonymous file
            self._given += 1
            self._given_up_to = self._spool.tell()
            yield from files


HOURS_KEPT: Final = 240
"""Hours that keep a sum of their own: ten days, about 9 kB in the ledger. Older ones are one sum."""

_K = TypeVar("_K", bound=Hashable)


class _Sums(Generic[_K]):
    """Files and bytes by some key; what has no files has no line."""

    def __init__(self) -> None:
        self._sums: dict[_K, tuple[int, int]] = {}

    def add(self, key: _K, files: int, size: int) -> None:
        of_key = self._sums.get(key, (0, 0))
        total = (of_key[0] + files, of_key[1] + size)
        if total[0]:
            self._sums[key] = total
        else:
            self._sums.pop(key, None)

    def __iter__(self) -> Iterator[_K]:
        return iter(self._sums)

    def line(self, key: _K) -> BacklogLine:
        return BacklogLine(*self._sums[key])


class BacklogTally:
    """Adds what is discovered, takes away what is done; memory grows with hours and types, not with files."""

    def __init__(self) -> None:
        self._types = _Sums[str]()
        self._hours = _Sums[datetime]()

    def discovered(self, ref: FileRef) -> None:
        """Count a file that is due."""
        self._add(ref, 1)

    def delivered(self, ref: FileRef) -> None:
        """Nothing of this file is owed any more."""
        self._add(ref, -1)

    def _add(self, ref: FileRef, sign: int) -> None:
        self._types.add(ref.event_type, sign, sign * ref.size)
        self._hours.add(ref.hour, sign, sign * ref.size)

    def older_than(self, moment: datetime) -> int:
        """How many of the files belong to hours before that moment."""
        return sum(self._hours.line(hour).files for hour in self._hours if hour < moment)

    def backlog(self) -> Backlog:
        """The sums, for the ledger and `status`."""
        lines = {event_type: self._types.line(event_type) for event_type in sorted(self._types)}
        return Backlog(
            files=sum(line.files for line in lines.values()),
            bytes=sum(line.bytes for line in lines.values()),
            by_event_type=lines,
            oldest_hour=min(self._hours, default=None),
            by_hour=self._by_hour(),
        )

    def _by_hour(self) -> dict[datetime, BacklogLine]:
        kept = sorted(heapq.nlargest(HOURS_KEPT, self._hours))
        lines = {hour: self._hours.line(hour) for hour in kept}
        older = set(self._hours).difference(kept)
        if not older:
            return lines
        of_older = [self._hours.line(hour) for hour in older]
        files, size = sum(line.files for line in of_older), sum(line.bytes for line in of_older)
        return {min(older): BacklogLine(files, size), **lines}


_AGES: Final = (("under_6h", 6), ("6h_to_24h", 24), ("24h_to_48h", 48))
"""Names of ages, and the hours that they end at; the default window warns at 24 and is missed at 48."""
OLDEST_AGE: Final = "over_48h"


def by_age(backlog: Backlog, now: datetime) -> dict[str, BacklogLine]:
    """Sum up a backlog by the age that its `date=` hours have *now*; every age is named."""
    sums = {name: BacklogLine() for name in (*(name for name, _ in _AGES), OLDEST_AGE)}
    for hour, line in backlog.by_hour.items():
        age = (now - hour) / timedelta(hours=1)
        name = next((name for name, end in _AGES if age < end), OLDEST_AGE)
        sums[name] = BacklogLine(sums[name].files + line.files, sums[name].bytes + line.bytes)
    return sums
