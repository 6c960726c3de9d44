"""The schema of the SQLite ledger, and the way from one version of it to the next.

Only open files are indexed by hour: nothing else is asked for by it, and an index over all files would repeat
every key. What many files have in common stands once, in `words`. `file_counts` is kept by triggers, so that
a summary need not count a million rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Final, TypeAlias

from braze_etl.errors import StateError
from braze_etl.state.ledger import Backlog, Creation, check_version, missing
from braze_etl.state.rows import backlog_text, micros
from braze_etl.storage.folder import close_to_others, make_file, make_folder

Migration: TypeAlias = Callable[[sqlite3.Connection], None]
"""One step forward, inside the transaction that also writes the new version."""

APPLICATION_ID: Final = 0x62726C67
"""Tells our ledgers from other programs' databases (SQLite, PRAGMA application_id): `brlg`."""

_SCHEMA: Final = (
    """
    CREATE TABLE ledger (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        pipeline TEXT NOT NULL,
        project TEXT NOT NULL,
        region TEXT NOT NULL,
        flow TEXT NOT NULL,
        start_at INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        last_delivery INTEGER,
        last_listing INTEGER,
        before_start INTEGER,
        backlog TEXT NOT NULL,
        key_fingerprint TEXT
    )
    """,
    "CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE)",
    """
    CREATE TABLE files (
        key TEXT PRIMARY KEY,
        etag TEXT NOT NULL,
        size INTEGER NOT NULL,
        modified INTEGER NOT NULL,
        event_type INTEGER NOT NULL REFERENCES words,
        hour INTEGER NOT NULL,
        state TEXT NOT NULL,
        settled_at INTEGER NOT NULL,
        run INTEGER NOT NULL REFERENCES words,
        accepted INTEGER NOT NULL,
        filtered INTEGER NOT NULL,
        quarantined INTEGER NOT NULL,
        deferred INTEGER NOT NULL,
        mapping INTEGER NOT NULL REFERENCES words,
        held_from TEXT,
        sent_from INTEGER,
        sent_to INTEGER,
        not_before INTEGER
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE pruned (
        day INTEGER,
        event_type INTEGER REFERENCES words,
        files INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        accepted INTEGER NOT NULL,
        filtered INTEGER NOT NULL,
        PRIMARY KEY (day, event_type)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX open_files ON files (hour, key, not_before) WHERE not_before IS NOT NULL",
    """
    CREATE TABLE open_positions (
        key TEXT NOT NULL,
        number INTEGER NOT NULL,
        reason TEXT NOT NULL,
        not_before INTEGER NOT NULL,
        records INTEGER NOT NULL,
        blocks TEXT NOT NULL,
        PRIMARY KEY (key, number)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE runs (
        number INTEGER PRIMARY KEY,
        run_id TEXT NOT NULL UNIQUE,
        command TEXT NOT NULL,
        started_at INTEGER NOT NULL,
        finished_at INTEGER,
        exit_code INTEGER,
        report TEXT NOT NULL
    )
    """,
    "CREATE TABLE notes (name TEXT PRIMARY KEY, fact TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE file_counts (state TEXT PRIMARY KEY, files INTEGER NOT NULL) WITHOUT ROWID",
    """
    CREATE TRIGGER file_added AFTER INSERT ON files BEGIN
        INSERT INTO file_counts VALUES (new.state, 1) ON CONFLICT (state) DO UPDATE SET files = files + 1;
    END
    """,
    """
    CREATE TRIGGER file_changed AFTER UPDATE OF state ON files WHEN new.state <> old.state BEGIN
        UPDATE file_counts SET files = files - 1 WHERE state = old.state;
        INSERT INTO file_counts VALUES (new.state, 1) ON CONFLICT (state) DO UPDATE SET files = files + 1;
    END
    """,
)

_DAMAGED: Final = (
    "is damaged, or is no SQLite database",
    "Restore it from a copy. An empty one in its place would send files again that are done.",
)

_TROUBLES: Final = {
    sqlite3.SQLITE_FULL: ("can't grow: the disk is full", "Free space on its volume; the next run goes on."),
    sqlite3.SQLITE_READONLY: (
        "can't be written: it is read-only",
        "Give the job's user write access to the file and its folder.",
    ),
    sqlite3.SQLITE_PERM: (
        "can't be used: access is denied",
        "Give the job's user access to the file and its folder.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "can't be opened",
        "Check that its folder exists, is mounted, and may be written by the job's user.",
    ),
    sqlite3.SQLITE_BUSY: (
        "is locked by another process",
        "Find who has it open (a backup, a SQLite shell) and end that.",
    ),
    sqlite3.SQLITE_LOCKED: (
        "is locked by another process",
        "Find who has it open (a backup, a SQLite shell) and end that.",
    ),
    sqlite3.SQLITE_IOERR: (
        "can't be read or written: input/output error",
        "Check the volume it lies on; it should be a local disk.",
    ),
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}

_OTHER: Final = ("can't be used", "Check the file and its volume; the words of SQLite say more.")

LARGE_CACHE: Final = "PRAGMA cache_size = -32768"  # 32 MB
BUSY_SECONDS = 15.0
"""How long another process may hold the database before that is an error."""


def _create(connection: sqlite3.Connection) -> None:
    for statement in _SCHEMA:
        connection.execute(statement)


MIGRATIONS: tuple[Migration, ...] = (_create,)
"""Number n leads from version `OLDEST` + n - 1 to the next, the first one from nothing. A published one is
never changed: add another."""
OLDEST: Final = 5
"""The version that the first of them makes; those below were never published."""


def latest_version() -> int:
    """The version that this program writes."""
    return OLDEST + len(MIGRATIONS) - 1


def version_of(connection: sqlite3.Connection) -> int:
    """Give the schema version of a database; 0 is one that nothing was written to."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def is_foreign(connection: sqlite3.Connection) -> bool:
    """Whether it holds something that is not ours."""
    if int(connection.execute("PRAGMA application_id").fetchone()[0]) == APPLICATION_ID:
        return False
    return version_of(connection) != 0 or bool(connection.execute("SELECT 1 FROM sqlite_master").fetchone())


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema to the last version; the caller holds the write transaction."""
    version = version_of(connection)
    for step in MIGRATIONS[version - OLDEST + 1 if version else 0 :]:
        step(connection)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {latest_version()}")


def from_sqlite(path: Path, error: sqlite3.Error) -> StateError:
    """Give the `StateError` for an error of SQLite (its result codes: sqlite.org/rescode.html)."""
    # The low byte is the primary code; the rest is detail. Errors of the module itself have none.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    what, remedy = _TROUBLES.get(code, _OTHER)
    return StateError(f"The ledger {path} {what} ({error}).", remedy=remedy)


def from_system(path: Path, error: OSError) -> StateError:
    """Give the `StateError` for a lock file or a folder that can't be used."""
    return StateError(
        f"The state at {path} can't be used: {error.strerror or error}.",
        remedy="Check that the folder of state.uri exists, has space, and may be written by the job's user.",
    )


@contextmanager
def in_our_words(path: Path) -> Iterator[None]:
    """Turn the errors of SQLite and of the file system into `StateError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise from_sqlite(path, error) from error
    except OSError as error:
        raise from_system(path, error) from error


def connect(path: Path, creation: Creation, *, create: bool, read_only: bool) -> sqlite3.Connection:
    """Open the database at *path*, created and migrated where that is allowed.

    Raises `LedgerMissingError` (read only) or `ConfigError` (not *create*) when there is none; `StateError`.
    """
    with in_our_words(path):
        if not path.exists():
            if read_only or not create:
                raise missing(str(path), read_only=read_only)
            creation.vouch(creation.start_at)
            make_folder(path.parent)
            make_file(path)  # what SQLite makes beside it, it gives owner and rights of this one
        elif not read_only:
            close_to_others(path)
        connection = _open(path, create=create and not read_only)
        try:
            _configure(connection, read_only=read_only)
            _bring_up(connection, path, creation, create=create, read_only=read_only)
        except BaseException:
            connection.close()
            raise
    return connection


def connect_in_memory(creation: Creation) -> sqlite3.Connection:
    """Make a database that ends with its connection."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    _upgrade(connection, creation)
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all of it or nothing; the lock is taken at once, so that what is read inside stays true."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has already rolled back after some errors, such as a full disk.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _open(path: Path, *, create: bool) -> sqlite3.Connection:
    mode = "rwc" if create else "rw"
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)


def _configure(connection: sqlite3.Connection, *, read_only: bool) -> None:
    connection.execute("PRAGMA synchronous = EXTRA")
    connection.execute(LARGE_CACHE)
    connection.execute("PRAGMA secure_delete = ON")  # what `erase` takes out must not stay in free pages
    if read_only:
        # Not mode=ro: that could not undo the half-written commit of a run that was killed.
        connection.execute("PRAGMA query_only = ON")


def _bring_up(
    connection: sqlite3.Connection, path: Path, creation: Creation, *, create: bool, read_only: bool
) -> None:
    if is_foreign(connection):
        raise _foreign(path)
    version, latest = version_of(connection), latest_version()
    if version == 0 and (read_only or not create):
        raise missing(str(path), read_only=read_only)
    if version == 0:  # an empty file was there
        creation.vouch(creation.start_at)
    else:
        check_version(str(path), version, OLDEST, latest, read_only=read_only)
    if version < latest:
        _upgrade(connection, creation)


def _upgrade(connection: sqlite3.Connection, creation: Creation) -> None:
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # of a new file: what is pruned gives space back
    with transaction(connection):
        # Two runs may start at once: the second finds the work of the first.
        is_new = version_of(connection) == 0
        migrate(connection)
        if is_new:
            connection.execute(
                "INSERT INTO ledger (id, pipeline, project, region, flow, start_at, created_at, backlog)"
                " VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *astuple(creation.identity),
                    *(micros(creation.start_at), micros(creation.created_at), backlog_text(Backlog())),
                ),
            )


def _foreign(path: Path) -> StateError:
    return StateError(
        f"The database {path} belongs to another program.",
        remedy="Give the ledger a file of its own in state.uri.",
    )
