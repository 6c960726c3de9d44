"""A look-up table on disk: from an id that Braze knows to the user id in Amplitude, never in memory."""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, closing
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from braze_etl.errors import ConfigError, StoreError
from braze_etl.transform._lookup_layout import AS_THEY_COME, LookupColumns, layout_of

REMEMBERED: Final = 65_536
"""Answers kept in memory, about 15 MB; people come in bursts."""
_MAGIC: Final = b"SQLite format 3\0"


class LookupTable:
    """A table of a SQLite file, read only; the file must not change while it is open.

    Each process that asks opens the file for itself, also after a fork. `ConfigError` for a file without such
    a table, or one in which a look-up would have to read the whole of it.
    """

    def __init__(self, path: Path, columns: LookupColumns = AS_THEY_COME) -> None:
        self._path = path
        self._columns = columns
        self._process = os.getpid()
        self._remembered = lru_cache(maxsize=REMEMBERED)(self._look_up)
        try:
            with ExitStack() as on_failure:
                self._connection = on_failure.enter_context(closing(_connect(path)))
                self._layout = layout_of(self._connection, path, columns)
                on_failure.pop_all()
        except sqlite3.Error as error:
            raise ConfigError(
                f"the look-up table {path} can't be read: {error}",
                remedy="Give a SQLite database or a CSV file that the user who runs the job may read.",
            ) from error

    def find(self, key: str) -> str | None:
        """The value of *key*, matched to the letter; None if the table has none, or an empty one.

        `StoreError` when the file can't be read: nobody is taken for unknown because of a broken disk.
        """
        return self._remembered(key)

    def names(self, id_: str) -> bool:
        """Whether *id_* is a key or a value; the latter reads the whole table."""
        query = self._layout.query_for_any
        with closing(self._here().execute(query, (id_, id_))) as rows:
            return rows.fetchone() is not None

    def close(self) -> None:
        """Let the file go."""
        self._remembered.cache_clear()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        return LookupTable, (self._path, self._columns)

    def _look_up(self, key: str) -> str | None:
        try:
            row = self._here().execute(self._layout.query, (key,)).fetchone()
        except UnicodeEncodeError:  # half of a pair of surrogates: no table holds it
            return None
        except sqlite3.Error as error:
            raise StoreError(
                f"the look-up table {self._path} can't be read: {error}",
                remedy="Build it again; while a run is at work, replace it whole and never write to it.",
            ) from error
        # SQLite compares '007' and 7 as equal where a column is numeric, and 'Anna' and 'anna' by collation.
        return _as_id(row[1]) if row is not None and str(row[0]) == key else None

    def _here(self) -> sqlite3.Connection:
        if self._process != os.getpid():
            self._connection = _connect(self._path)
            self._process = os.getpid()
        return self._connection


def is_sqlite(beginning: bytes) -> bool:
    """Whether a file that begins so is a SQLite database."""
    return beginning.startswith(_MAGIC)


def _connect(path: Path) -> sqlite3.Connection:
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise ConfigError(
            f"the look-up table {path} has changes in {log.name} that a reader without a lock does not see",
            remedy=f"Finish its writer, then: sqlite3 {path} 'PRAGMA wal_checkpoint(TRUNCATE)'",
        )
    # Immutable: no locks, and no files beside it where nothing may be written.
    uri = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def _as_id(value: object) -> str | None:
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) else None
