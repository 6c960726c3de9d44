"""Which files are due: what a listing finds and the ledger does not have as done, oldest hour first."""

from __future__ import annotations

import heapq
import itertools
import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import IO, Final, Self, TypeAlias

from braze_etl.engine.backlog import BacklogTally
from braze_etl.engine.source_health import Familiarity
from braze_etl.errors import StoreError
from braze_etl.model import FileRef, FileState, OpenPositions, Reason, Tally
from braze_etl.state.ledger import BacklogLine, KnownFile, Ledger, OpenFile

_CHUNK = 1000
DEDUPLICATED_FOR: Final = timedelta(days=7)
"""How long Amplitude recognises a repeated insert_id (amplitude.md 1.5)."""
_BYTES_A_PLACE = 4_000
"""A wanted record costs the reading of its block, of which there are 16,000 bytes or more, unless others of
that block are wanted too."""
_UNKNOWN_SIZE = 1_000_000


Place: TypeAlias = tuple[int, int | None]
"""Block and record of a `Position`; without a record, a stretch of the file, or (block 0) the whole of it."""
WHOLE_FILE: Final[Place] = (0, None)


@dataclass(frozen=True, slots=True)
class FromQuarantine:
    """What a replay takes up of one file: the reasons that each place was set aside for.

    `days` are the UTC days on which that was. `still_failed`: other parts of the file, which could not be
    read, stay in the quarantine.
    """

    reasons: dict[Place, tuple[Reason, ...]]
    days: frozenset[date] = frozenset()
    still_failed: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """Records of a settled file that were filtered, and that another mapping sends: indexes by block offset.

    `mapping` is by what the file is judged (see `judged`) when they are settled, and `mapping_if_held` by
    what when the budget has held some of them. `still_failed`: a part of the file could not be read.
    """

    blocks: dict[int, tuple[int, ...]]
    mapping: str
    mapping_if_held: str
    still_failed: bool = False

    @property
    def count(self) -> int:
        """How many records these are."""
        return sum(map(len, self.blocks.values()))


@dataclass(frozen=True, slots=True)
class DueFile:
    """A file to be worked on: whole, or only at the positions that earlier runs left `open`.

    In a replay, `again` says what of it is taken up, and `changed` after a change of the mapping. `later` are
    open positions whose time has not come, or that one of these leaves alone; `carried` are the books of all
    that is settled, `mapping` and `held_from` by what it was judged so far (see `FileSettlement`).
    """

    ref: FileRef
    open: tuple[OpenPositions, ...] = ()
    later: tuple[OpenPositions, ...] = ()
    carried: Tally = field(default_factory=Tally)
    again: FromQuarantine | None = None
    mapping: str = ""
    held_from: tuple[int, int] | None = None
    changed: Changed | None = None

    def __reduce__(self) -> tuple[type[DueFile], tuple[object, ...]]:
        parts = (
            *(self.open, self.later, self.carried, self.again),
            *(self.mapping, self.held_from, self.changed),
        )
        return DueFile, (self.ref,) if parts == _NOTHING_BEFORE else (self.ref, *parts)

    @property
    def whole(self) -> bool:
        """Whether every record is to be read."""
        if self.again is not None:
            return WHOLE_FILE in self.again.reasons
        return not self.open and not self.later and self.changed is None

    @property
    def ready(self) -> bool:
        """Whether anything can be done about it now."""
        return self.whole or bool(self.open) or self.again is not None or self.changed is not None

    @property
    def weight(self) -> int:
        """About how many bytes are read for it."""
        if self.whole:
            return self.ref.size or _UNKNOWN_SIZE
        places = sum(1 for _ in self.places()) * _BYTES_A_PLACE
        # Of a file whose mapping has changed it may be all records, and then it is read as one stream.
        return min(places, self.ref.size or places) if self.changed else places

    def places(self) -> Iterator[Place]:
        """All that is asked for by its place; nothing of a file that is read for the first time."""
        if self.again is not None:
            yield from self.again.reasons
        for part in self.open:
            for block, records in part.blocks.items():
                yield from ((block, record) for record in records)
        if self.changed is not None:
            for block, records in self.changed.blocks.items():
                yield from ((block, record) for record in records)

    def wanted(self) -> dict[int, frozenset[int] | None] | None:
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


_NOTHING_BEFORE = ((), (), Tally(), None, "", None, None)
"""What a file that is read for the first time has besides its reference."""


class DueFiles:
    """Iterates over the due files of a listing, lazily and in its order.

    `changed` counts done files whose content changed after Amplitude's de-duplication window: they are
    reported, and not sent again. `resent_late` counts files that are, because of *resend*. `archived` are
    files that would be due, and have to be restored first. `familiarity` is *expected* of a listing of all
    that is due. `newest_hour` is that of the files up to *now*, whatever the ledger knows of them.
    """

    def __init__(
        self,
        listing: Iterable[FileRef],
        ledger: Ledger,
        *,
        now: datetime,
        resend: bool = False,
        expected: Familiarity | None = None,
    ) -> None:
        self._listing = listing
        self._ledger = ledger
        self._now = now
        self._resend = resend
        self.changed = 0
        self.archived = BacklogLine()
        self.resent_late = 0
        self.familiarity = expected or Familiarity(None)
        self.newest_hour: datetime | None = None

    def __iter__(self) -> Iterator[DueFile]:
        for chunk in _chunks(self._listing):
            known = self._ledger.known(chunk)
            self.familiarity.note(chunk, known)
            begun = (ref.hour for ref in reversed(chunk) if ref.hour <= self._now)
            self.newest_hour = next(begun, self.newest_hour)
            for ref in chunk:
                due = self._judge(ref, known.get(ref.key))
                if due is not None and ref.archived:
                    self.archived += BacklogLine(1, ref.size)
                elif due is not None:
                    yield due

    def _judge(self, ref: FileRef, known: KnownFile | None) -> DueFile | None:
        if known is None:
            return DueFile(ref)
        if self._resend:
            self.resent_late += self._now - known.settled_at >= DEDUPLICATED_FOR
            return DueFile(ref)
        if known.etag == ref.etag:
            # Open files come from the ledger itself, wherever they lie.
            return None
        delivered = known.state is FileState.DONE or known.tally.accepted > 0
        if delivered and self._now - known.settled_at >= DEDUPLICATED_FOR:
            self.changed += 1
            return None
        return DueFile(ref)


def open_files(files: Iterable[OpenFile], *, now: datetime) -> Iterator[DueFile]:
    """Turn the ledger's open files into due ones, with what is ready apart from what has to wait."""
    for file in files:
        ready = tuple(part for part in file.open if part.not_before <= now)
        later = tuple(part for part in file.open if part.not_before > now)
        settled = Tally(file.tally.accepted, file.tally.filtered, file.tally.quarantined)
        yield DueFile(file.ref, ready, later, settled, mapping=file.mapping, held_from=file.held_from)


def by_hour(*streams: Iterable[DueFile]) -> Iterator[DueFile]:
    """Merge sorted streams of due files into one, oldest hour first; a file to be read whole comes once.

    A `StoreError` that breaks off one of them is raised when the others are over.
    """
    errors: list[StoreError] = []
    merged = heapq.merge(*(_until_broken(stream, errors) for stream in streams), key=_order)
    for _, same in itertools.groupby(merged, key=_order):
        # An open file whose content changed is due as a whole; its old positions mean nothing any more.
        yield max(same, key=lambda due: due.whole)
    if errors:
        raise errors[0]


def _until_broken(stream: Iterable[DueFile], errors: list[StoreError]) -> Iterator[DueFile]:
    try:
        yield from stream
    except StoreError as error:
        errors.append(error)


def _order(due: DueFile) -> tuple[datetime, str]:
    return (due.ref.hour, due.ref.key)


def _chunks(refs: Iterable[FileRef]) -> Iterator[list[FileRef]]:
    """Cut into lists. Where the listing breaks off, what came before is given first."""
    chunk: list[FileRef] = []
    try:
        for ref in refs:
            chunk.append(ref)
            if len(chunk) == _CHUNK:
                yield chunk
                chunk = []
    except StoreError:
        yield chunk
        raise
    yield chunk


_IN_MEMORY = 4_000_000
"""Bytes; a longer backlog (about 20,000 files) goes on in a temporary file."""
_AT_ONCE = 500
"""Files pickled together: what they have in common is written once."""


class Discovery:
    """Takes due files, and gives each back once for the tasks; use as a context manager.

    `error` is what broke the listing off: what was found is delivered all the same, and the pass fails.
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
        """Take all due files, in their order, unless it is time to stop.

        *due* may also end by itself when it is.
        """
        ready = list[DueFile]()
        try:
            for file in due:
                if should_stop():
                    return
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
