"""From a path to a SQLite connection on a ledger of the present schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from braze_etl.checkpoint import _schema
from braze_etl.checkpoint._rows import backlog_text, micros
from braze_etl.checkpoint._rules import Vouch, anything_goes, check_version, missing
from braze_etl.checkpoint._troubles import in_our_words
from braze_etl.checkpoint.facts import Backlog, LedgerIdentity
from braze_etl.errors import StateError
from braze_etl.storage import close_to_others, make_file, make_folder

BUSY_SECONDS = 15.0
"""How long another process may hold the database before that is an error."""


@dataclass(frozen=True, slots=True)
class Birth:
    """What is fixed when a ledger is created."""

    identity: LedgerIdentity
    start_at: datetime
    created_at: datetime
    vouch: Vouch = anything_goes


def connect(path: Path, birth: Birth, *, create: bool, read_only: bool) -> sqlite3.Connection:
    """Open the database at *path*, created and migrated where that is allowed.

    Raises `LedgerMissingError` (read only) or `ConfigError` (not *create*) when there is none; `StateError`.
    """
    with in_our_words(path):
        if not path.exists():
            if read_only or not create:
                raise missing(str(path), read_only=read_only)
            birth.vouch(birth.start_at)
            make_folder(path.parent)
            make_file(path)  # what SQLite makes beside it, it gives owner and rights of this one
        elif not read_only:
            close_to_others(path)
        connection = _open(path, create=create and not read_only)
        try:
            _configure(connection, read_only=read_only)
            _bring_up(connection, path, birth, create=create, read_only=read_only)
        except BaseException:
            connection.close()
            raise
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
    connection.execute("PRAGMA cache_size = -32768")  # 32 MB
    connection.execute("PRAGMA secure_delete = ON")  # what `erase` takes out must not stay in free pages
    if read_only:
        # Not mode=ro: that could not undo the half-written commit of a run that was killed.
        connection.execute("PRAGMA query_only = ON")


def _bring_up(
    connection: sqlite3.Connection, path: Path, birth: Birth, *, create: bool, read_only: bool
) -> None:
    if _schema.is_foreign(connection):
        raise _foreign(path)
    version, latest = _schema.version_of(connection), len(_schema.MIGRATIONS)
    if version == 0 and (read_only or not create):
        raise missing(str(path), read_only=read_only)
    if version == 0:  # an empty file was there
        birth.vouch(birth.start_at)
    check_version(str(path), version, latest, read_only=read_only)
    if version < latest:
        _upgrade(connection, birth)


def _upgrade(connection: sqlite3.Connection, birth: Birth) -> None:
    with transaction(connection):
        # Two runs may start at once: the second finds the work of the first.
        is_new = _schema.version_of(connection) == 0
        _schema.migrate(connection)
        if is_new:
            connection.execute(
                "INSERT INTO ledger (id, pipeline, project, region, start_at, created_at, backlog)"
                " VALUES (1, ?, ?, ?, ?, ?, ?)",
                (
                    *(birth.identity.pipeline, birth.identity.project, birth.identity.region),
                    *(micros(birth.start_at), micros(birth.created_at), backlog_text(Backlog())),
                ),
            )


def _foreign(path: Path) -> StateError:
    return StateError(
        f"The database {path} belongs to another program.",
        remedy="Give the ledger a file of its own in state.uri.",
    )
