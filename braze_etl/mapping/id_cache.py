"""Copies of lists and tables of people on this disk: SQLite files of one layout, made once for each version.

They hold ids of people, or hashes of these, and are for their owner's eyes. Processes share them, and none
keeps one in memory.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias
from urllib.parse import quote

from braze_etl.errors import ConfigError, StoreError
from braze_etl.logs import get_logger
from braze_etl.storage.opening import Located

_FAST: Final = (
    "PRAGMA journal_mode = OFF",  # what breaks off is thrown away
    "PRAGMA synchronous = OFF",
    "PRAGMA temp_store = FILE",
    "PRAGMA cache_size = -32768",  # 32 MB, and as much for the sorter
    "CREATE TEMP TABLE rows (key, value TEXT, line INTEGER)",
)
_IN_ORDER: Final = "SELECT key, value FROM temp.rows GROUP BY key, value ORDER BY key, value"
_CONFLICT: Final = (
    "SELECT min(line), max(line) FROM temp.rows GROUP BY key HAVING count(DISTINCT value) > 1"
    " ORDER BY min(line) LIMIT 1"
)
_FORMAT: Final = "2"
"""Of the copies: a release that writes others makes them anew."""

Row: TypeAlias = tuple[str | bytes, str, int]
"""A key, its value, and the line that says so."""
Make: TypeAlias = Callable[[BinaryIO, Path], None]
"""Writes what a source holds into an empty file."""

_log = get_logger(__name__)


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_CACHE_HOME/braze_etl`, by default below `~/.cache`; `ConfigError` for a user without a home."""
    base = environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(base) if base.startswith("/") else Path("~/.cache").expanduser()) / "braze_etl"
    except RuntimeError:
        raise ConfigError(
            "there is no place for the copies of lists and tables of people: this user has no home folder",
            remedy="Set XDG_CACHE_HOME to a folder that this user may write to.",
        ) from None


@dataclass(frozen=True, slots=True)
class IdCache:
    """The copies in one folder."""

    folder: Path

    def of(self, source: Located, form: object, make: Make) -> Path:
        """Give the copy of *source* in a *form* (what else its content depends on), which *make* writes.

        It is made once for each version: size and times of a file, the etag of an object in S3. The copy of
        an older version is removed. Processes that want the same copy at once wait for the first.
        `ConfigError` for a source that is not there, `StoreError` for the disk and the store, and the errors
        of *make*: then no copy is left.
        """
        version, name = source.version(), f"{_name_of_all(source)}-{_short(str(form))}"
        with self._disk_errors(source):
            copy = self.folder / f"{name}-{_short(version + _changed(source))}.sqlite"
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (self.folder / f"{name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                for left in self.folder.glob(f".{name}-*"):
                    left.unlink(missing_ok=True)  # by a process that was killed while it made one
                if not copy.exists():
                    self._make(source, version, copy, make)
                    for other in self.folder.glob(f"{name}-*.sqlite"):
                        if other != copy:
                            other.unlink(missing_ok=True)  # who still reads it keeps it until the end
        return copy

    def copies(self, source: Located) -> list[Path]:
        """The copies of *source* that are there, of whatever version and form."""
        return sorted(self.folder.glob(f"{_name_of_all(source)}-*.sqlite"))

    def _make(self, source: Located, version: str, copy: Path, make: Make) -> None:
        began = time.monotonic()
        _log.info(f"the {source.what} is new: a copy of it is made", uri=source.uri, folder=str(self.folder))
        part = copy.with_name(f".{copy.name}.{os.getpid()}")
        try:
            part.touch(0o600)
            with source.reading(version) as stream:
                make(stream, part)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(copy)
        finally:
            part.unlink(missing_ok=True)
        seconds = round(time.monotonic() - began, 1)
        _log.info(f"the {source.what} was copied", bytes=copy.stat().st_size, seconds=seconds)

    @contextmanager
    def _disk_errors(self, source: Located) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise StoreError(
                f"the copy of the {source.what} can't be written to {self.folder}: {reason}",
                remedy="Set XDG_CACHE_HOME to a folder with room that this user may write to, and "
                "SQLITE_TMPDIR to one for temporary files.",
            ) from error


def _changed(source: Located) -> str:
    """When a file was changed, which nobody can set: another one may have its size and modification time.

    Some tools give all files the same time, and entries of a list of hashes are all of one length.
    """
    return "" if source.path is None else f"-{source.path.stat().st_ctime_ns:x}"


def _name_of_all(source: Located) -> str:
    return _short(f"{_FORMAT}\0{source.uri}")


def _short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def write_rows(path: Path, source: Located, rows: Iterable[Row], names: tuple[str, str, str]) -> None:
    """Write rows into an empty file, as a table whose name and columns are *names*; each key is there once.

    Rows come in any order; one that comes twice counts once. A key with two values is a `ConfigError`, since
    one of two people would become the other. Needs about 80 MB of memory, and twice the size of what comes of
    it in SQLite's folder for temporary files (`SQLITE_TMPDIR`). `sqlite3.Error` for the disk.
    """
    table, key, value = map(quoted, names)  # "rows" is a name like any other
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in _FAST:
            connection.execute(statement)
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO temp.rows VALUES (?, ?, ?)", rows)
        connection.execute(
            f"CREATE TABLE main.{table} ({key} TEXT PRIMARY KEY, {value} TEXT NOT NULL) WITHOUT ROWID"
        )
        try:
            connection.execute(f"INSERT INTO main.{table} {_IN_ORDER}")
        except sqlite3.IntegrityError as error:
            first, last = connection.execute(_CONFLICT).fetchone()
            raise ConfigError(
                f"the {source.what} {source.uri} gives one key two values, in lines {first:,} and {last:,}",
                remedy="Keep one of the lines: with both, one of two people would become the other.",
            ) from error
        connection.execute("COMMIT")


def holds(path: Path, ids: Collection[str]) -> bool:
    """Whether one of *ids* is in a SQLite file, in whatever column; `StoreError` if it can't be read."""
    try:
        with closing(connect(path)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            return any(_is_in(connection, quoted(table), ids) for (table,) in tables)
    except sqlite3.Error as error:
        raise StoreError(
            f"the copy {path} can't be read: {error}", remedy="Delete it: the next run makes it anew."
        ) from error


def _is_in(connection: sqlite3.Connection, table: str, ids: Collection[str]) -> bool:
    columns = [quoted(str(row[1])) for row in connection.execute(f"PRAGMA table_info({table})")]
    found = " OR ".join(f"CAST({column} AS TEXT) IN ({', '.join('?' * len(ids))})" for column in columns)
    rows = f"FROM {table} WHERE {found}"
    return connection.execute(f"SELECT 1 {rows} LIMIT 1", [*ids] * len(columns)).fetchone() is not None


def connect(path: Path) -> sqlite3.Connection:
    """Open a SQLite file to read it, without locks or files beside it; it must not change meanwhile."""
    uri = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def quoted(name: str) -> str:
    """A name as SQL takes any."""
    return '"' + name.replace('"', '""') + '"'
