"""A look-up table on disk: from an id that Braze knows to the user id in Amplitude, never in memory.

`LookupTable` searches a SQLite file where it lies. `LookupCache` copies what can't be searched where it lies,
a CSV or an object in S3, into such a file; `build_table` makes one of a CSV.
"""

from __future__ import annotations

import csv
import fcntl
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias
from urllib.parse import quote

from braze_etl.errors import ConfigError, StoreError
from braze_etl.logs import get_logger
from braze_etl.storage.opening import Located

REMEMBERED: Final = 65_536
"""Answers kept in memory, about 15 MB; people come in bursts."""
_MAGIC: Final = b"SQLite format 3\0"

_FAST: Final = (
    "PRAGMA journal_mode = OFF",  # what breaks off is thrown away
    "PRAGMA synchronous = OFF",
    "PRAGMA temp_store = FILE",
    "PRAGMA cache_size = -32768",  # 32 MB, and as much for the sorter
    "PRAGMA raw.cache_size = -2048",
    "PRAGMA raw.journal_mode = OFF",
    "PRAGMA raw.synchronous = OFF",
    "CREATE TABLE raw.rows (key TEXT, value TEXT, line INTEGER)",
)
_IN_ORDER: Final = "SELECT key, value FROM raw.rows GROUP BY key, value ORDER BY key, value"
_CONFLICT: Final = (
    "SELECT min(line), max(line) FROM raw.rows GROUP BY key HAVING count(DISTINCT value) > 1"
    " ORDER BY min(line) LIMIT 1"
)
_Row: TypeAlias = tuple[str, str, int]

_FORMAT: Final = "1"
"""Of the copies: a release that writes others makes them anew."""
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LookupColumns:
    """The names of table and columns; None is the only table, its first column, its second one."""

    table: str | None = None
    key: str | None = None
    value: str | None = None


AS_THEY_COME = LookupColumns()


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


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_CACHE_HOME/braze_etl`, by default below `~/.cache`."""
    base = environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path("~/.cache").expanduser()) / "braze_etl"


@dataclass(frozen=True, slots=True)
class LookupCache:
    """The copies in one folder; they hold ids of people, and are for their owner's eyes."""

    folder: Path

    def of(self, table: Located, columns: LookupColumns) -> Path:
        """Give the SQLite file for a table, making a copy first if need be.

        A SQLite file on this machine is used as it is. A CSV is copied once for each size and modification
        time, an object in S3 once for each etag; the copy of an older version is removed. Processes that
        want the same copy at once wait for the first. `ConfigError` for what is wrong with the table,
        `StoreError` for the disk and the store.
        """
        if table.path is not None and is_sqlite(table.beginning()):
            return table.path
        version = table.version()
        copy = self.folder / f"{_name(table, columns)}-{_short(version)}.sqlite"
        with self._alone(_name(table, columns)):
            if not copy.exists():
                self._make(table, version, columns, copy)
        return copy

    def copies(self, table: Located, columns: LookupColumns) -> list[Path]:
        """The copies of a table with these columns that are there, of whatever version."""
        return sorted(self.folder.glob(f"{_name(table, columns)}-*.sqlite"))

    def _make(self, table: Located, version: str, columns: LookupColumns, copy: Path) -> None:
        began = time.monotonic()
        _log.info("the look-up table is new: a copy of it is made", table=table.uri, folder=str(self.folder))
        if table.path is not None:
            build_table(table.path, copy, columns)
        else:
            self._download(table, version, columns, copy)
        for other in self.copies(table, columns):
            if other != copy:
                other.unlink(missing_ok=True)  # who still reads it keeps it until the end
        seconds = round(time.monotonic() - began, 1)
        _log.info("the look-up table was copied", bytes=copy.stat().st_size, seconds=seconds)

    def _download(self, table: Located, version: str, columns: LookupColumns, copy: Path) -> None:
        part = copy.with_name(f".{copy.name}.{os.getpid()}.part")
        try:
            part.touch(0o600)
            with table.reading(version) as stream, part.open("wb") as file:
                shutil.copyfileobj(stream, file, 1 << 20)
            with part.open("rb") as file:
                whole = is_sqlite(file.read(100))
            if whole:
                part.replace(copy)
            else:
                build_table(part, copy, columns, name=table.uri)
        except OSError as error:
            raise self._no_room(error) from error
        finally:
            part.unlink(missing_ok=True)

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.folder / f"{name}.lock").open("w")
        except OSError as error:
            raise self._no_room(error) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _no_room(self, error: OSError) -> StoreError:
        return StoreError(
            f"the copy of the look-up table can't be written to {self.folder}: {error.strerror}",
            remedy="Set XDG_CACHE_HOME to a folder with room that this user may write to.",
        )


def _name(table: Located, columns: LookupColumns) -> str:
    return _short(f"{_FORMAT}\0{table.uri}\0{columns}")


def _short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def build_table(source: Path, target: Path, columns: LookupColumns = AS_THEY_COME, *, name: str = "") -> int:
    """Write the rows of a CSV file into the SQLite file *target*, whole or not at all; return how many.

    The table is as *columns* say. *name* is what errors call the source.

    UTF-8, with commas, double quotes where needed. With names for both columns the first line is a header;
    without, key and value are the first two columns of every line. Lines without a key or a value are left
    out. A line that comes twice counts once; a key with two values is an error, since one of two people would
    become the other. Needs about 80 MB of memory, and about three times the size of *source* on disk, of
    which one part is in SQLite's folder for temporary files (`SQLITE_TMPDIR`).

    `ConfigError` for what is wrong with *source*, with the line; `StoreError` for the disk.
    """
    with _work_files(target) as (whole, raw):
        try:
            with closing(sqlite3.connect(whole, isolation_level=None)) as connection:
                rows = _fill(connection, _Csv(source, name or str(source), columns), raw)
        except sqlite3.Error as error:
            raise _no_disk(target, error) from error
        _put_in_place(whole, target)
        return rows


@dataclass(frozen=True, slots=True)
class _Csv:
    path: Path
    name: str
    columns: LookupColumns


def _fill(connection: sqlite3.Connection, source: _Csv, raw: Path) -> int:
    connection.execute("ATTACH ? AS raw", (str(raw),))
    for statement in _FAST:
        connection.execute(statement)
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO raw.rows VALUES (?, ?, ?)", _rows(source))
    connection.execute("COMMIT")
    key, value = quoted(source.columns.key or "key"), quoted(source.columns.value or "value")
    table = quoted(source.columns.table or "lookup")
    connection.execute(f"CREATE TABLE {table} ({key} TEXT PRIMARY KEY, {value} TEXT NOT NULL) WITHOUT ROWID")
    try:
        return connection.execute(f"INSERT INTO {table} {_IN_ORDER}").rowcount
    except sqlite3.IntegrityError as error:
        first, last = connection.execute(_CONFLICT).fetchone()
        raise ConfigError(
            f"the look-up table {source.name} gives one key two values, in lines {first:,} and {last:,}",
            remedy="Keep one of the lines: with both, one of two people would become the other.",
        ) from error


def _rows(source: _Csv) -> Iterator[_Row]:
    """Give key, value and line number of each row that has both."""
    line = 0
    try:
        with source.path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            key, value = _places(source, reader)
            for row in reader:
                line = reader.line_num
                if not row:
                    continue
                if len(row) <= max(key, value):
                    raise _bad_line(source, line, f"has {len(row)} columns")
                if row[key] and row[value]:
                    yield row[key], row[value], line
    except csv.Error as error:
        raise _bad_line(source, line + 1, f"is no CSV: {error}") from error
    except UnicodeDecodeError as error:
        raise _bad_line(source, line + 1, "or one soon after it is no UTF-8") from error
    except OSError as error:
        raise StoreError(
            f"the look-up table {source.name} can't be read: {error.strerror}",
            remedy="Check the file and its rights.",
        ) from error


def _places(source: _Csv, reader: Iterator[list[str]]) -> tuple[int, int]:
    columns = source.columns
    if columns.key is None and columns.value is None:
        return 0, 1
    if columns.key is None or columns.value is None:
        raise ConfigError(
            "mapping.identity.lookup names one column of a CSV and not the other",
            remedy="Give key_column and value_column, or neither: then there is no header.",
        )
    header = next(reader, [])
    for name in (columns.key, columns.value):
        if name not in header:
            raise ConfigError(
                # Without a header its words are somebody's ids.
                f"the first line of {source.name} has no column {name!r} among its {len(header)}",
                remedy="Correct mapping.identity.lookup, or give the file a header.",
            )
    return header.index(columns.key), header.index(columns.value)


def _bad_line(source: _Csv, line: int, what: str) -> ConfigError:
    return ConfigError(
        f"line {line:,} of the look-up table {source.name} {what}",
        remedy="Write the key and its value, in UTF-8 and with a comma between them, on each line.",
    )


@contextmanager
def _work_files(target: Path) -> Iterator[tuple[Path, Path]]:
    """Two files beside *target*, for the owner's eyes, that are gone at the end."""
    work = [target.with_name(f".{target.name}.{os.getpid()}.{part}") for part in ("whole", "raw")]
    try:
        for file in work:
            file.unlink(missing_ok=True)
            file.touch(0o600)
        yield work[0], work[1]
    except OSError as error:
        raise _no_disk(target, error) from error
    finally:
        for file in work:
            file.unlink(missing_ok=True)


def _put_in_place(whole: Path, target: Path) -> None:
    with whole.open("rb") as file:
        os.fsync(file.fileno())
    whole.replace(target)


def _no_disk(target: Path, error: Exception) -> StoreError:
    return StoreError(
        f"the look-up table {target} can't be written: {getattr(error, 'strerror', None) or error}",
        remedy="Make room on its disk (XDG_CACHE_HOME) and on that of temporary files (SQLITE_TMPDIR).",
    )


@dataclass(frozen=True, slots=True)
class Layout:
    """Names as they are in the file."""

    table: str
    key: str
    value: str

    @property
    def query(self) -> str:
        """Gives key and value of one key."""
        return f"SELECT {quoted(self.key)}, {quoted(self.value)} {self._from} WHERE {quoted(self.key)} = ?"

    @property
    def query_for_any(self) -> str:
        """Gives a row with this key, or with this value."""
        return f"SELECT 1 {self._from} WHERE {quoted(self.key)} = ? OR {quoted(self.value)} = ? LIMIT 1"

    @property
    def sample(self) -> str:
        """Gives key and value of some row."""
        return f"SELECT {quoted(self.key)}, {quoted(self.value)} {self._from} LIMIT 1"

    @property
    def index(self) -> str:
        """Makes the index that is asked for."""
        return f"CREATE UNIQUE INDEX lookup_key ON {quoted(self.table)} ({quoted(self.key)})"

    @property
    def _from(self) -> str:
        return f"FROM {quoted(self.table)}"


def layout_of(connection: sqlite3.Connection, path: Path, columns: LookupColumns) -> Layout:
    """Find table and columns; `ConfigError` if they are not there, or there is no fast way to a key."""
    table = _table(connection, path, columns.table)
    names = [str(row[1]) for row in connection.execute(f"PRAGMA table_info({quoted(table)})")]
    if len(names) < 2:
        raise ConfigError(
            f"the table {table!r} in {path} has one column: a look-up needs a key and a value",
            remedy="Give a table with two columns, or name another one as mapping.identity.lookup.table.",
        )
    key = _named(columns.key, names, f"column of {table!r} in {path}") if columns.key else names[0]
    value = _named(columns.value, names, f"column of {table!r} in {path}") if columns.value else names[1]
    layout = Layout(table, key, value)
    _check_index(connection, path, layout)
    _check_types(connection, path, layout)
    return layout


def _table(connection: sqlite3.Connection, path: Path, wanted: str | None) -> str:
    found = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    )
    names = sorted(str(name) for (name,) in found)
    if wanted is not None:
        return _named(wanted, names, f"table in {path}")
    if len(names) == 1:
        return names[0]
    raise ConfigError(
        f"{path} has {len(names)} tables{': ' if names else ''}{', '.join(names)}",
        remedy="Name the one with the ids as mapping.identity.lookup.table.",
    )


def _named(wanted: str, names: Sequence[str], kind: str) -> str:
    """The name as the file has it; SQLite does not tell upper from lower case in names."""
    for name in names:
        if name.casefold() == wanted.casefold():
            return name
    near = get_close_matches(wanted, names, n=1, cutoff=0)
    nearest = f"; the nearest is {near[0]!r}" if near else ""
    raise ConfigError(
        f"there is no {kind} called {wanted!r}{nearest}",
        remedy=f"Correct the name in mapping.identity.lookup; there are: {', '.join(names) or 'none'}.",
    )


def _check_index(connection: sqlite3.Connection, path: Path, layout: Layout) -> None:
    """See to it that a key has one value at most, and is found by an index."""
    ways = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {layout.query}", ("",))]
    if _is_unique(connection, layout) and all(way.startswith("SEARCH") for way in ways):
        return
    raise ConfigError(
        f"the table {layout.table!r} in {path} has no unique index on {layout.key!r}: "
        "each look-up would read all of it, and a key could have two values",
        remedy=f"Run: sqlite3 {path} '{layout.index}'. Where that fails, a key has two values.",
    )


def _is_unique(connection: sqlite3.Connection, layout: Layout) -> bool:
    table = quoted(layout.table)
    primary = [str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})") if row[5]]
    indexes = [
        str(name)
        for _, name, unique, _, partial in connection.execute(f"PRAGMA index_list({table})")
        if unique and not partial
    ]
    of_indexes = ([row[2] for row in connection.execute(f"PRAGMA index_info({quoted(i)})")] for i in indexes)
    return primary == [layout.key] or [layout.key] in of_indexes


def _check_types(connection: sqlite3.Connection, path: Path, layout: Layout) -> None:
    """See to it that a key is found by its text, and that a value is an id."""
    row = connection.execute(layout.sample).fetchone()
    if row is None:
        return
    found = connection.execute(layout.query, (str(row[0]),)).fetchone()
    if found is None or str(found[0]) != str(row[0]) or not isinstance(row[1], str | int | None):
        raise ConfigError(
            f"the columns {layout.key!r} and {layout.value!r} of {layout.table!r} in {path} hold no text",
            remedy="Make a table whose columns are TEXT, and copy the ids into it.",
        )


def quoted(name: str) -> str:
    """A name as SQL takes any."""
    return '"' + name.replace('"', '""') + '"'
