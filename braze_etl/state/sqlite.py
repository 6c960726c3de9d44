"""The ledger in SQLite: one file on a local disk, or in memory for as long as the object lives.

The rollback journal is kept instead of a write-ahead log: the ledger is one file to copy, a reader needs no
write access to it, and with `synchronous=EXTRA` a settlement is on the disk when `settle` returns. The price,
that a reader and a commit wait for each other, is milliseconds: no read outlives a page of rows.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import astuple
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

import orjson

from braze_etl.clock import Clock
from braze_etl.errors import StateError
from braze_etl.model import FileRef, FileSettlement, FileState, OpenPositions, Reason
from braze_etl.state.file_lease import FileLease, MemoryLease
from braze_etl.state.ledger import (
    NO_NOTES,
    Backlog,
    Creation,
    KnownFile,
    LeaseHolder,
    LeaseOwner,
    LedgerContents,
    LedgerIdentity,
    LedgerSummary,
    Notes,
    OpenFile,
    PrunedFiles,
    RunRecord,
    SettledFile,
    Vouch,
    anything_goes,
    check_identity,
    claims,
    day_of,
    is_unused,
    lease_held,
    missing,
    newly_accepted,
    not_empty,
    settled,
    start_hour,
    understood,
)
from braze_etl.state.rows import (
    FileRow,
    Row,
    backlog_of,
    backlog_text,
    batches,
    micros,
    micros_or_none,
    moment,
    moment_or_none,
    note_of,
    position_rows,
    positions_of,
    rows_of,
    run_of,
    run_row,
)
from braze_etl.state.shapes import checked
from braze_etl.state.sqlite_schema import LARGE_CACHE, connect, connect_in_memory, in_our_words, transaction

RUNS_KEPT: Final = 10_000
_PAGE: Final = 200
_BATCH: Final = 1_000
_STEP_FILES: Final = 10_000
_FOREVER: Final = 2**62

_SELECT: Final = """
    SELECT files.key, etag, size, modified, (SELECT word FROM words WHERE id = event_type), hour,
    state, settled_at, (SELECT word FROM words WHERE id = run), accepted, filtered, quarantined, deferred,
    (SELECT word FROM words WHERE id = mapping), held_from, sent_from, sent_to
"""
_KNOWN: Final = f"{_SELECT} FROM json_each(?) AS wanted CROSS JOIN files ON files.key = wanted.value"
_OPEN: Final = f"""
    {_SELECT} FROM files INDEXED BY open_files
    WHERE not_before IS NOT NULL AND not_before <= ? AND (hour, key) > (?, ?)
    ORDER BY hour, key LIMIT ?
"""
_ALL_FILES: Final = f"{_SELECT} FROM files ORDER BY hour, key"
_POSITIONS: Final = """
    SELECT open_positions.key, reason, not_before, blocks
    FROM json_each(?) AS wanted CROSS JOIN open_positions ON open_positions.key = wanted.value
    ORDER BY open_positions.key, number
"""
_POSITIONS_OF_FILE: Final = """
    SELECT reason, not_before, blocks FROM open_positions WHERE key = ? ORDER BY number
"""
_ADD_POSITIONS: Final = "INSERT INTO open_positions VALUES (?, ?, ?, ?, ?, ?)"
_ADD_WORD: Final = "INSERT OR IGNORE INTO words (word) VALUES (?)"
_SETTLE: Final = """
    INSERT INTO files VALUES (
        ?, ?, ?, ?, (SELECT id FROM words WHERE word = ?), ?, ?, ?, (SELECT id FROM words WHERE word = ?),
        ?, ?, ?, ?, (SELECT id FROM words WHERE word = ?), ?, ?, ?, ?
    )
    ON CONFLICT (key) DO UPDATE SET
        etag = excluded.etag, size = excluded.size, modified = excluded.modified,
        event_type = excluded.event_type, hour = excluded.hour, state = excluded.state,
        settled_at = excluded.settled_at, run = excluded.run,
        accepted = excluded.accepted, filtered = excluded.filtered,
        quarantined = excluded.quarantined, deferred = excluded.deferred,
        mapping = excluded.mapping, held_from = excluded.held_from,
        sent_from = excluded.sent_from, sent_to = excluded.sent_to, not_before = excluded.not_before
"""
_NOTE_MAPPING: Final = """
    UPDATE files SET mapping = (SELECT id FROM words WHERE word = ?), held_from = NULL
    WHERE key = ? AND etag = ?
"""
_SMALL_CACHE: Final = "PRAGMA cache_size = -2048"  # 2 MB
_STEP: Final = "SELECT MAX(key), COUNT(*) FROM (SELECT key FROM files WHERE key > ? ORDER BY key LIMIT ?)"
_FOLD: Final = """
    INSERT INTO pruned
    SELECT hour - hour % 86400000000, event_type, COUNT(*), SUM(size), SUM(accepted), SUM(filtered)
    FROM files
    WHERE key > ? AND key <= ? AND state = 'done' AND quarantined = 0 AND hour < ? AND settled_at < ?
    GROUP BY 1, 2
    ON CONFLICT (day, event_type) DO UPDATE SET
        files = files + excluded.files, bytes = bytes + excluded.bytes,
        accepted = accepted + excluded.accepted, filtered = filtered + excluded.filtered
"""
_FORGET: Final = """
    DELETE FROM files
    WHERE key > ? AND key <= ? AND state = 'done' AND quarantined = 0 AND hour < ? AND settled_at < ?
"""
_PRUNED: Final = """
    SELECT day, (SELECT word FROM words WHERE id = event_type), files, bytes, accepted, filtered FROM pruned
"""
_PRUNED_OF: Final = f"{_PRUNED} WHERE day BETWEEN ? AND ?"
_ALL_PRUNED: Final = f"{_PRUNED} ORDER BY day"
_ADD_PRUNED: Final = """
    INSERT INTO pruned VALUES (?, (SELECT id FROM words WHERE word = ?), ?, ?, ?, ?)
"""
_COUNT_PRUNED: Final = """
    INSERT INTO file_counts VALUES ('done', ?)
    ON CONFLICT (state) DO UPDATE SET files = files + excluded.files
"""
_ADD_RUN: Final = """
    INSERT INTO runs (run_id, command, started_at, finished_at, exit_code, report) VALUES (?, ?, ?, ?, ?, ?)
"""
_SAVE_RUN: Final = f"""
    {_ADD_RUN}
    ON CONFLICT (run_id) DO UPDATE SET
        finished_at = excluded.finished_at, exit_code = excluded.exit_code, report = excluded.report
"""
_FORGET_RUNS: Final = "DELETE FROM runs WHERE number <= (SELECT MAX(number) FROM runs) - ?"
_ALL_RUNS: Final = (
    "SELECT run_id, command, started_at, finished_at, exit_code, report FROM runs ORDER BY number"
)
_RUNS: Final = _ALL_RUNS + " DESC LIMIT ?"
_LISTED: Final = """
    UPDATE ledger SET
        backlog = ?, before_start = COALESCE(?, before_start), last_listing = COALESCE(?, last_listing)
"""
_CREATION: Final = "SELECT pipeline, project, region, flow, start_at, created_at FROM ledger"
_ALL_OF_CREATION: Final = "SELECT start_at, created_at, key_fingerprint FROM ledger"
_TAKE_OVER: Final = """
    UPDATE ledger SET start_at = ?, created_at = ?, key_fingerprint = ?,
        last_delivery = ?, last_listing = ?, before_start = ?, backlog = ?
"""
_SUMMARY: Final = "SELECT last_delivery, last_listing, before_start, backlog FROM ledger"
_COUNTS: Final = "SELECT state, files FROM file_counts WHERE files > 0"
_DEFERRED: Final = "SELECT reason, SUM(records) FROM open_positions GROUP BY reason"

_RESERVE: Final = "reserve"
_ROOM: Final = 1 << 17
_ROOM_A_FILE: Final = 1024
"""Bytes for a row with a long key, its place in the journal, and open positions."""
_MOST_FILES: Final = 2_000
"""More do not come back at once, but from many workers with very small files."""


class SqliteLedger:
    """A `Ledger` in the database that *connection* leads to; errors call it *path*."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        lease: FileLease | MemoryLease,
        identity: LedgerIdentity,
        *,
        clock: Clock,
    ) -> None:
        self._path = path
        self._connection = connection
        self._lease = lease
        self._clock = clock
        ((*belongs_to, start_at, created_at),) = self._query(_CREATION)
        check_identity(str(path), LedgerIdentity(*belongs_to), identity)
        self.identity: Final = identity
        with self._understood("its beginning"):
            self.start_at: Final = moment(start_at)
            self.created_at: Final = moment(created_at)

    @classmethod
    def open(
        cls,
        path: Path,
        identity: LedgerIdentity,
        *,
        clock: Clock,
        start_at: datetime | None = None,
        create: bool = True,
        read_only: bool = False,
        vouch: Vouch = anything_goes,
    ) -> Self:
        """Open the ledger, or create it (and its folder) where *create* allows; errors: see `open_ledger`."""
        creation = Creation(identity, start_hour(start_at, clock), clock.now(), vouch)
        connection = connect(path, creation, create=create, read_only=read_only)
        try:
            lease = FileLease(path.resolve(), place=str(path), clock=clock)
            return cls(path, connection, lease, identity, clock=clock)
        except BaseException:
            connection.close()
            raise

    @classmethod
    def in_memory(cls, identity: LedgerIdentity, *, clock: Clock, start_at: datetime | None = None) -> Self:
        """Make a new ledger that ends with the object."""
        creation = Creation(identity, start_hour(start_at, clock), clock.now())
        path = Path(":memory:")
        lease = MemoryLease(str(path), clock)
        return cls(path, connect_in_memory(creation), lease, identity, clock=clock)

    @classmethod
    def identity_at(cls, path: Path) -> LedgerIdentity:
        """Say whose ledger lies at *path*; `LedgerMissingError` when there is none."""
        if not path.exists():
            raise missing(str(path), read_only=True)
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with in_our_words(path), closing(sqlite3.connect(uri, uri=True)) as found:
            row = found.execute("SELECT pipeline, project, region, flow FROM ledger").fetchone()
        return LedgerIdentity(*row)

    def known(self, files: Sequence[FileRef]) -> dict[str, KnownFile]:
        found = self._with_rows(files)
        if left := [ref for ref in files if ref.key not in found]:
            days = [micros(day_of(ref.hour)) for ref in left]
            pruned = {(day, name) for day, name, *_ in self._query(_PRUNED_OF, min(days), max(days))}
            found |= {
                ref.key: KnownFile.of_pruned(ref)
                for ref, day in zip(left, days, strict=True)
                if (day, ref.event_type) in pruned
            }
        return found

    def _with_rows(self, files: Iterable[FileRef]) -> dict[str, KnownFile]:
        rows = self._query(_KNOWN, _json_list(ref.key for ref in files))
        with self._understood("the row of a file"):
            return {row.key: row.known for row in rows_of(rows)}

    def oldest_day(self) -> datetime | None:
        # By hand and once in a while, a second for millions of files; an index would cost each settlement.
        found = self._query("SELECT MIN(hour) FROM files UNION SELECT MIN(day) FROM pruned")
        with self._understood("the hour of a file"):
            return min((day_of(moment(hour)) for (hour,) in found if hour is not None), default=None)

    def prune(self, before: datetime, after: str) -> str | None:
        horizon = micros(day_of(before))
        self._query(_SMALL_CACHE)  # rows that are passed once need not be kept
        ((last, count),) = self._query(_STEP, after, _STEP_FILES)
        of_step = (after, last, horizon, horizon)
        ((free_before,),) = self._query("PRAGMA freelist_count")
        if count:
            with self._transaction():
                self._connection.execute(_FOLD, of_step)
                self._connection.execute(_FORGET, of_step)
        ((free,),) = self._query("PRAGMA freelist_count")
        if free > free_before:  # the others are kept for settlements: see `reserve`
            with in_our_words(self._path):  # a script, for `execute` would stop at the first page
                self._connection.executescript(f"PRAGMA incremental_vacuum({free - free_before})")
        self._query(LARGE_CACHE)
        return str(last) if count == _STEP_FILES else None

    def pruned_through(self) -> datetime | None:
        ((day,),) = self._query("SELECT MAX(day) FROM pruned")
        with self._understood("a pruned day"):
            return moment_or_none(day)

    def open_files(self, ready_by: datetime | None = None) -> Iterator[OpenFile]:
        latest = _FOREVER if ready_by is None else micros(ready_by)
        behind = (-_FOREVER, "")
        # A page at a time: a cursor left open would keep a run from committing.
        while page := self._query(_OPEN, latest, *behind, _PAGE):
            positions = self._positions([row[0] for row in page])
            with self._understood("the row of an open file"):
                rows = [row for row in rows_of(page) if row.key in positions]
                found = [row.open_file(tuple(positions[row.key])) for row in rows]
            yield from found
            behind = (page[-1][5], page[-1][0])

    def _positions(self, keys: list[str]) -> dict[str, list[OpenPositions]]:
        found: defaultdict[str, list[OpenPositions]] = defaultdict(list)
        with self._understood("open positions"):
            for key, *row in self._query(_POSITIONS, _json_list(keys)):
                found[key].append(positions_of(row))
        return found

    def settle(
        self,
        run_id: str,
        settlements: Sequence[FileSettlement],
        backlog: Backlog | None,
        noting: Notes = NO_NOTES,
    ) -> None:
        claimed = claims(settlements)
        now = self._clock.now()
        with self._transaction():
            before = self._with_rows(each.ref for each in claimed.values())
            accepted = newly_accepted(claimed, before)
            self._write_files(
                [
                    SettledFile(each.ref, settled(each, before.get(key), run_id, now), each.open)
                    for key, each in claimed.items()
                ]
            )
            self._connection.execute(
                "UPDATE ledger SET"
                " backlog = COALESCE(?, backlog), last_delivery = COALESCE(?, last_delivery)",
                (backlog and backlog_text(backlog), micros(now) if accepted else None),
            )
            self._write_notes(noting)

    def _write_files(self, files: Sequence[SettledFile]) -> None:
        write, rows = self._connection.executemany, [FileRow.of(each.ref, each.known) for each in files]
        write("DELETE FROM open_positions WHERE key = ?", ((row.key,) for row in rows))
        self._write_words({word for row in rows for word in (row.event_type, row.run_id, row.mapping)})
        waits = (min((micros(part.not_before) for part in each.open), default=None) for each in files)
        write(_SETTLE, ((*row, wait) for row, wait in zip(rows, waits, strict=True)))
        write(_ADD_POSITIONS, (row for each in files for row in position_rows(each.ref.key, each.open)))

    def _write_pruned(self, pruned: Sequence[PrunedFiles]) -> None:
        self._write_words({each.event_type for each in pruned})
        rows = ((micros(each.day), *astuple(each)[1:]) for each in pruned)
        self._connection.executemany(_ADD_PRUNED, rows)
        self._connection.executemany(_COUNT_PRUNED, ((each.files,) for each in pruned))

    def _write_words(self, words: Iterable[str]) -> None:
        self._connection.executemany(_ADD_WORD, ((word,) for word in words))

    def note_mappings(self, judged: Sequence[tuple[FileRef, str]]) -> None:
        rows = [(mapping, ref.key, ref.etag) for ref, mapping in judged]
        with self._transaction():
            self._write_words({mapping for _, mapping in judged})
            self._connection.executemany(_NOTE_MAPPING, rows)

    def record_listing(
        self, at: datetime, backlog: Backlog, before_start: int | None = None, *, complete: bool
    ) -> None:
        with self._transaction():
            self._connection.execute(
                _LISTED,
                (backlog_text(backlog), before_start, micros(at) if complete else None),
            )

    def begin_run(self, run: RunRecord) -> None:
        self._save(run)

    def finish_run(self, run: RunRecord, noting: Notes = NO_NOTES) -> None:
        self._save(run, noting)

    def reserve(self, files: int) -> None:
        # What is written here stays in the file as free pages; that it is blotted out (`secure_delete`) takes
        # as much again for the journal. So both are there, and not only promised, before anything is sent.
        room = _ROOM + _ROOM_A_FILE * min(files, _MOST_FILES)
        with self._transaction():
            # Spaces behind JSON: should it stay, it is a note like any other.
            self._connection.execute(
                "INSERT OR REPLACE INTO notes VALUES (?, ?)", (_RESERVE, "{}".ljust(room))
            )
        with self._transaction():
            self._connection.execute("DELETE FROM notes WHERE name = ?", (_RESERVE,))

    def _save(self, run: RunRecord, noting: Notes = NO_NOTES) -> None:
        with self._transaction():
            self._connection.execute(_SAVE_RUN, run_row(run))
            self._connection.execute(_FORGET_RUNS, (RUNS_KEPT,))
            self._write_notes(noting)

    def runs(self, limit: int) -> list[RunRecord]:
        rows = self._query(_RUNS, limit)
        with self._understood("a run"):
            return [run_of(row) for row in rows]

    def correct_runs(self, change: Callable[[RunRecord], RunRecord]) -> int:
        corrected = [after for run in self.runs(RUNS_KEPT) if (after := change(run)) != run]
        with self._transaction():
            self._connection.executemany(_SAVE_RUN, map(run_row, corrected))
        return len(corrected)

    def note_key(self, fingerprint: str) -> bool:
        ((before,),) = self._query("SELECT key_fingerprint FROM ledger")
        if before != fingerprint:
            with self._transaction():
                self._connection.execute("UPDATE ledger SET key_fingerprint = ?", (fingerprint,))
        return before not in {None, fingerprint}

    def put_note(self, name: str, fact: Mapping[str, Any]) -> None:
        with self._transaction():
            self._write_notes({name: fact})

    def _write_notes(self, notes: Notes) -> None:
        rows = ((name, orjson.dumps(dict(fact)).decode()) for name, fact in notes.items())
        self._connection.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", rows)

    def get_note(self, name: str) -> dict[str, Any]:
        rows = self._query("SELECT fact FROM notes WHERE name = ?", name)
        with self._understood(f"the note {name}"):
            return note_of(name, orjson.loads(rows[0][0])) if rows else {}

    def summary(self) -> LedgerSummary:
        ((last_delivery, last_listing, before_start, backlog),) = self._query(_SUMMARY)
        with self._understood("its summary"):
            return LedgerSummary(
                last_delivery=moment_or_none(last_delivery),
                last_listing=moment_or_none(last_listing),
                backlog=backlog_of(backlog),
                before_start=checked(before_start, int | None, "before_start"),
                deferred={Reason(reason): records for reason, records in self._query(_DEFERRED)},
                files={FileState(state): checked(n, int, "files") for state, n in self._query(_COUNTS)},
                schema_version=self._query("PRAGMA user_version")[0][0],
            )

    @contextmanager
    def lease(self, owner: LeaseOwner) -> Iterator[None]:
        if self._query("PRAGMA query_only")[0][0]:
            raise StateError(
                f"The ledger {self._path} is open for reading only, and gives no lease.",
                remedy="Open it for writing to start a run on it.",
            )
        with self._lease.held(owner):
            yield

    def holder(self) -> LeaseHolder | None:
        holder = self._lease.holder()
        if holder is None and self._lease.is_held():
            # By another name of the ledger, or its lock file is gone: the run that began last tells who.
            run = next(iter(self.runs(1)), None)
            owner = LeaseOwner(run.run_id if run else "", "this host", 0, run.command if run else "run")
            return LeaseHolder(owner, run.started_at if run else self._clock.now())
        return holder

    def unlock(self) -> None:
        if holder := self.holder():
            raise lease_held(str(self._path), holder)

    def contents(self) -> LedgerContents:
        ((start_at, created_at, fingerprint),) = self._query(_ALL_OF_CREATION)
        return LedgerContents(
            identity=self.identity,
            start_at=moment(start_at),
            created_at=moment(created_at),
            key_fingerprint=fingerprint,
            notes={name: self.get_note(name) for (name,) in self._query("SELECT name FROM notes")},
            summary=self.summary(),
            runs=self._all_runs(),
            files=heapq.merge(self._all_pruned(), self._all_files(), key=lambda each: each.day),
        )

    def _all_runs(self) -> Iterator[RunRecord]:
        with in_our_words(self._path), self._understood("a run"):
            yield from map(run_of, self._connection.execute(_ALL_RUNS))

    def _all_files(self) -> Iterator[SettledFile]:
        with in_our_words(self._path), self._understood("the row of a file"):
            for page in batches(self._connection.execute(_ALL_FILES), _PAGE):
                for row in rows_of(page):
                    found = self._query(_POSITIONS_OF_FILE, row.key) if row.state == FileState.OPEN else ()
                    yield SettledFile(row.ref, row.known, tuple(map(positions_of, found)))

    def _all_pruned(self) -> Iterator[PrunedFiles]:
        with in_our_words(self._path), self._understood("a pruned day"):
            for day, *sums in self._connection.execute(_ALL_PRUNED):
                yield PrunedFiles(moment(day), *sums)

    def take_over(self, contents: LedgerContents) -> None:
        with self._transaction():
            if not is_unused(self):
                raise not_empty(str(self._path))
            for batch in batches(contents.files, _BATCH):
                self._write_files([each for each in batch if isinstance(each, SettledFile)])
                self._write_pruned([each for each in batch if isinstance(each, PrunedFiles)])
            self._write_notes(contents.notes)
            self._connection.executemany(_ADD_RUN, map(run_row, contents.runs))
            summary = contents.summary
            self._connection.execute(
                _TAKE_OVER,
                (
                    *(micros(contents.start_at), micros(contents.created_at), contents.key_fingerprint),
                    *(micros_or_none(summary.last_delivery), micros_or_none(summary.last_listing)),
                    *(summary.before_start, backlog_text(summary.backlog)),
                ),
            )

    def close(self) -> None:
        with in_our_words(self._path):
            self._connection.close()

    def _query(self, statement: str, *values: object) -> list[Row]:
        with in_our_words(self._path):
            return self._connection.execute(statement, values).fetchall()

    def _understood(self, what: str) -> AbstractContextManager[None]:
        return understood(str(self._path), what)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._lease.check()
        with in_our_words(self._path), transaction(self._connection):
            yield


def _json_list(keys: Iterable[str]) -> str:
    return orjson.dumps(list(keys)).decode()
