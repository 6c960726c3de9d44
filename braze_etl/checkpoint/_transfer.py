"""A whole ledger out of SQLite, and into it, row by row."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import orjson

from braze_etl.checkpoint import _rows
from braze_etl.checkpoint._rules import missing
from braze_etl.checkpoint._troubles import in_our_words
from braze_etl.checkpoint.facts import LedgerContents, LedgerIdentity, LedgerSummary, RunRecord, SettledFile
from braze_etl.model import FileSettlement, FileState

_BIRTH: Final = "SELECT start_at, created_at, key_fingerprint FROM ledger"
_RUNS: Final = "SELECT run_id, command, started_at, finished_at, exit_code, report FROM runs ORDER BY number"
_FILES: Final = """
    SELECT key, etag, size, modified, event_type, hour,
        state, settled_at, run_id, accepted, filtered, quarantined, deferred, mapping, held_from
    FROM files ORDER BY hour, key
"""
_POSITIONS: Final = """
    SELECT reason, not_before, blocks FROM open_positions WHERE key = ? ORDER BY number
"""
_TAKE_FILE: Final = "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_TAKE_POSITIONS: Final = "INSERT INTO open_positions VALUES (?, ?, ?, ?, ?, ?)"
_TAKE_RUN: Final = """
    INSERT INTO runs (run_id, command, started_at, finished_at, exit_code, report) VALUES (?, ?, ?, ?, ?, ?)
"""
_TAKE_BIRTH: Final = """
    UPDATE ledger SET start_at = ?, created_at = ?, key_fingerprint = ?,
        last_delivery = ?, last_listing = ?, before_start = ?, backlog = ?
"""


def identity_at(path: Path) -> LedgerIdentity:
    """See `SqliteLedger.identity_at`; any schema will do, for all have had these columns."""
    if not path.exists():
        raise missing(str(path), read_only=True)
    with (
        in_our_words(path),
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as found,
    ):
        return LedgerIdentity(*found.execute("SELECT pipeline, project, region FROM ledger").fetchone())


def contents(
    connection: sqlite3.Connection, path: Path, identity: LedgerIdentity, summary: LedgerSummary
) -> LedgerContents:
    """See `Ledger.contents`."""
    with in_our_words(path):
        start_at, created_at, fingerprint = connection.execute(_BIRTH).fetchone()
        notes = {
            name: orjson.loads(fact) for name, fact in connection.execute("SELECT name, fact FROM notes")
        }
    return LedgerContents(
        identity=identity,
        start_at=_rows.moment(start_at),
        created_at=_rows.moment(created_at),
        key_fingerprint=fingerprint,
        notes=notes,
        summary=summary,
        runs=_runs(connection, path),
        files=_files(connection, path),
    )


def _runs(connection: sqlite3.Connection, path: Path) -> Iterator[RunRecord]:
    with in_our_words(path):
        yield from map(_rows.run_of, connection.execute(_RUNS))


def _files(connection: sqlite3.Connection, path: Path) -> Iterator[SettledFile]:
    with in_our_words(path):
        for row in connection.execute(_FILES):
            known = _rows.known_of((row[1], *row[6:]))
            ref = _rows.ref_of(row[:6])
            if known.state is FileState.OPEN:
                found = connection.execute(_POSITIONS, (ref.key,))
                yield SettledFile(ref, known, tuple(map(_rows.positions_of, found)))
            else:
                yield SettledFile(ref, known)


def take_over(connection: sqlite3.Connection, contents: LedgerContents) -> None:
    """See `Ledger.take_over`; inside a transaction of the caller, on a ledger that is known to be unused."""
    for file in contents.files:
        known = file.known
        settlement = FileSettlement(
            file.ref, known.state, known.tally, file.open, known.mapping, known.held_from
        )
        row = _rows.file_row(settlement, known.run_id, known.settled_at)
        connection.execute(_TAKE_FILE, row)
        connection.executemany(_TAKE_POSITIONS, _rows.position_rows(settlement))
    notes = ((name, orjson.dumps(fact).decode()) for name, fact in contents.notes.items())
    connection.executemany("INSERT INTO notes VALUES (?, ?)", notes)
    connection.executemany(_TAKE_RUN, map(_rows.run_row, contents.runs))
    summary = contents.summary
    connection.execute(
        _TAKE_BIRTH,
        (
            *(_rows.micros(contents.start_at), _rows.micros(contents.created_at), contents.key_fingerprint),
            *(_rows.micros_or_none(summary.last_delivery), _rows.micros_or_none(summary.last_listing)),
            *(summary.before_start, _rows.backlog_text(summary.backlog)),
        ),
    )
