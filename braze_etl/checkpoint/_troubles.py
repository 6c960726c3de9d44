"""What SQLite and the file system complain about, in our words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from braze_etl.errors import StateError

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
