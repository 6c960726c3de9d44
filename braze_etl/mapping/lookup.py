"""The look-up table: from an id that Braze knows to the user id in Amplitude, on disk and never in memory.

A SQLite file is searched where it lies; a CSV, or an object in S3, in a copy (see `IdCache`).
"""

from __future__ import annotations

import csv
import io
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO, Final, Self

from braze_etl.errors import ConfigError, StoreError
from braze_etl.mapping.id_cache import IdCache, Row, cache_folder, connect, quoted, write_rows
from braze_etl.storage.opening import Located, locate
from braze_etl.storage.settings import StoreAccess

REMEMBERED: Final = 65_536
"""Answers kept in memory, about 15 MB; people come in bursts."""
_MAGIC: Final = b"SQLite format 3\0"
_NAMES: Final = ("lookup", "key", "value")


@dataclass(frozen=True, slots=True)
class LookupColumns:
    """The names of table and columns; None is the only table, its first column, its second one."""

    table: str | None = None
    key: str | None = None
    value: str | None = None


AS_THEY_COME = LookupColumns()


def open_lookup(
    uri: str, access: StoreAccess, columns: LookupColumns = AS_THEY_COME, cache: IdCache | None = None
) -> LookupTable:
    """Open the look-up table that *uri* names, a CSV or a SQLite file; the caller closes it.

    What can't be searched where it lies is copied first, which takes minutes for tens of millions of rows:
    open it once before processes do that need it. `ConfigError` for a table that is not there or has a
    mistake, `StoreError` for one that can't be reached, or copied.
    """
    source = locate("look-up table", uri, access)
    if source.path is not None and is_sqlite(source.beginning()):
        return LookupTable(source.path, columns)
    copy = (cache or IdCache(cache_folder())).of(source, columns, partial(_copy, source, columns))
    return LookupTable(copy, columns)


class LookupTable:
    """A table of a SQLite file, read only; the file must not change while it is open.

    `ConfigError` for a file without such a table, or one in which a look-up would have to read the whole.
    """

    def __init__(self, path: Path, columns: LookupColumns = AS_THEY_COME) -> None:
        self._path = path
        self._remembered = lru_cache(maxsize=REMEMBERED)(self._look_up)
        _refuse_open_log(path)
        try:
            with ExitStack() as on_failure:
                self._connection = on_failure.enter_context(closing(connect(path)))
                self._layout = _layout_of(self._connection, path, columns)
                on_failure.pop_all()
        except sqlite3.Error as error:
            raise ConfigError(
                f"the look-up table {path} can't be read: {error}",
                remedy="Give a SQLite database or a CSV file that the user who runs the job may read; "
                "a damaged copy of one may be deleted, and is made anew.",
            ) from error

    def find(self, key: str) -> str | None:
        """The value of *key*, matched to the letter; None if the table has none, or an empty one.

        `StoreError` when the file can't be read: nobody is taken for unknown because of a broken disk.
        """
        return self._remembered(key)

    def close(self) -> None:
        self._remembered.cache_clear()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _look_up(self, key: str) -> str | None:
        try:
            row = self._connection.execute(self._layout.query, (key,)).fetchone()
        except UnicodeEncodeError:  # half of a pair of surrogates: no table holds it
            return None
        except sqlite3.Error as error:
            raise StoreError(
                f"the look-up table {self._path} can't be read: {error}",
                remedy="Build it again; while a run is at work, replace it whole and never write to it.",
            ) from error
        # SQLite compares '007' and 7 as equal where a column is numeric, and 'Anna' and 'anna' by collation.
        return _as_id(row[1]) if row is not None and str(row[0]) == key else None


def is_sqlite(beginning: bytes) -> bool:
    return beginning.startswith(_MAGIC)


def _as_id(value: object) -> str | None:
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) else None


def _copy(source: Located, columns: LookupColumns, stream: BinaryIO, target: Path) -> None:
    """Write a SQLite file as it is, or the table of a CSV: UTF-8, commas, double quotes where needed.

    With names for both columns the first line is a header; without, key and value are the first two columns
    of every line. Lines without a key or a value are left out.
    """
    if is_sqlite(source.beginning()):
        with target.open("wb") as file:
            shutil.copyfileobj(stream, file, 1 << 20)
        return
    named = (columns.table, columns.key, columns.value)
    table, key, value = (name or other for name, other in zip(named, _NAMES, strict=True))
    write_rows(target, source, _rows(source.uri, columns, stream), (table, key, value))


def _rows(name: str, columns: LookupColumns, stream: BinaryIO) -> Iterator[Row]:
    """Give key, value and line number of each row that has both; *name* is what errors call the source."""
    line = 0
    try:
        reader = csv.reader(io.TextIOWrapper(stream, "utf-8-sig", newline=""), strict=True)
        key, value = _places(name, columns, reader)
        for row in reader:
            line = reader.line_num
            if not row:
                continue
            if len(row) <= max(key, value):
                raise _bad_line(name, line, f"has {len(row)} columns")
            if row[key] and row[value]:
                yield row[key], row[value], line
    except csv.Error as error:
        raise _bad_line(name, line + 1, f"is no CSV: {error}") from error
    except UnicodeDecodeError as error:
        raise _bad_line(name, line + 1, "or one soon after it is no UTF-8") from error


def _places(name: str, columns: LookupColumns, reader: Iterator[list[str]]) -> tuple[int, int]:
    if columns.key is None and columns.value is None:
        return 0, 1
    if columns.key is None or columns.value is None:
        raise ConfigError(
            "mapping.identity.lookup names one column of a CSV and not the other",
            remedy="Give key_column and value_column, or neither: then there is no header.",
        )
    header = next(reader, [])
    for column in (columns.key, columns.value):
        if column not in header:
            raise ConfigError(
                # Without a header its words are somebody's ids.
                f"the first line of {name} has no column {column!r} among its {len(header)}",
                remedy="Correct mapping.identity.lookup, or give the file a header.",
            )
    return header.index(columns.key), header.index(columns.value)


def _bad_line(name: str, line: int, what: str) -> ConfigError:
    return ConfigError(
        f"line {line:,} of the look-up table {name} {what}",
        remedy="Write the key and its value, in UTF-8 and with a comma between them, on each line.",
    )


def _refuse_open_log(path: Path) -> None:
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise ConfigError(
            f"the look-up table {path} has changes in {log.name} that a reader without a lock does not see",
            remedy=f"Finish its writer, then: sqlite3 {path} 'PRAGMA wal_checkpoint(TRUNCATE)'",
        )


@dataclass(frozen=True, slots=True)
class _Layout:
    """Names as they are in the file; SQL for some row, and for key and value of a key."""

    table: str
    key: str
    value: str
    sample: str
    query: str

    @classmethod
    def of(cls, table: str, key: str, value: str) -> Self:
        rows, its_key = f"{quoted(key)}, {quoted(value)} FROM {quoted(table)}", f"WHERE {quoted(key)} = ?"
        return cls(table, key, value, f"SELECT {rows} LIMIT 1", f"SELECT {rows} {its_key}")


def _layout_of(connection: sqlite3.Connection, path: Path, columns: LookupColumns) -> _Layout:
    """Find table and columns; `ConfigError` if they are not there, or there is no fast way to a key."""
    table = _table(connection, path, columns.table)
    names = [str(row[1]) for row in connection.execute(f"PRAGMA table_info({quoted(table)})")]
    if len(names) < 2:
        raise ConfigError(
            f"the table {table!r} in {path} has one column: a look-up needs a key and a value",
            remedy="Give a table with two columns, or name another one as mapping.identity.lookup.table.",
        )
    kind = f"column of {table!r} in {path}"
    key = _named(columns.key, names, kind) if columns.key else names[0]
    value = _named(columns.value, names, kind) if columns.value else names[1]
    layout = _Layout.of(table, key, value)
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


def _check_index(connection: sqlite3.Connection, path: Path, layout: _Layout) -> None:
    """See to it that a key has one value at most, and is found by an index."""
    ways = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {layout.query}", ("",))]
    if _is_unique(connection, layout) and all(way.startswith("SEARCH") for way in ways):
        return
    index = f"CREATE UNIQUE INDEX lookup_key ON {quoted(layout.table)} ({quoted(layout.key)})"
    raise ConfigError(
        f"the table {layout.table!r} in {path} has no unique index on {layout.key!r}: "
        "each look-up would read all of it, and a key could have two values",
        remedy=f"Run: sqlite3 {path} '{index}'. Where that fails, a key has two values.",
    )


def _is_unique(connection: sqlite3.Connection, layout: _Layout) -> bool:
    ask, table = connection.execute, quoted(layout.table)
    if [row[1] for row in ask(f"PRAGMA table_info({table})") if row[5]] == [layout.key]:
        return True
    indexes = [row[1] for row in ask(f"PRAGMA index_list({table})") if row[2] and not row[4]]
    return any([row[2] for row in ask(f"PRAGMA index_info({quoted(i)})")] == [layout.key] for i in indexes)


def _check_types(connection: sqlite3.Connection, path: Path, layout: _Layout) -> None:
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
