"""The schema of the SQLite ledger, and the way from one version of it to the next.

Only open files are indexed by hour: nothing else is asked for by it, and an index over all files would repeat
every key. `file_counts` is kept by triggers, so that a summary need not count a million rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final, TypeAlias

Migration: TypeAlias = Callable[[sqlite3.Connection], None]
"""One step forward, inside the transaction that also writes the new version."""

APPLICATION_ID: Final = 0x62726C67
"""Tells our ledgers from other programs' databases (SQLite, PRAGMA application_id): `brlg`."""

_FIRST: Final = (
    """
    CREATE TABLE ledger (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        pipeline TEXT NOT NULL,
        project TEXT NOT NULL,
        region TEXT NOT NULL,
        start_at INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        last_delivery INTEGER,
        last_listing INTEGER,
        before_start INTEGER,
        backlog TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE files (
        key TEXT PRIMARY KEY,
        etag TEXT NOT NULL,
        size INTEGER NOT NULL,
        modified INTEGER NOT NULL,
        event_type TEXT NOT NULL,
        hour INTEGER NOT NULL,
        state TEXT NOT NULL,
        settled_at INTEGER NOT NULL,
        run_id TEXT NOT NULL,
        not_before INTEGER,
        accepted INTEGER NOT NULL,
        filtered INTEGER NOT NULL,
        quarantined INTEGER NOT NULL,
        deferred INTEGER NOT NULL
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


def _first(connection: sqlite3.Connection) -> None:
    for statement in _FIRST:
        connection.execute(statement)


def _second(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE ledger ADD COLUMN key_fingerprint TEXT")


def _third(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE notes (name TEXT PRIMARY KEY, fact TEXT NOT NULL) WITHOUT ROWID")


def _fourth(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE files ADD COLUMN mapping TEXT NOT NULL DEFAULT ''")
    connection.execute("ALTER TABLE files ADD COLUMN held_from TEXT")


MIGRATIONS: tuple[Migration, ...] = (_first, _second, _third, _fourth)
"""Number n leads from version n to n + 1. A published one is never changed: add another."""


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
    for step in MIGRATIONS[version_of(connection) :]:
        step(connection)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
