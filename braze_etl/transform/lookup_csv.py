"""From a CSV file to a look-up table, with little memory: rows are sorted on disk and written in order."""

from __future__ import annotations

import csv
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from braze_etl.errors import ConfigError, StoreError
from braze_etl.transform._lookup_layout import AS_THEY_COME, LookupColumns, quoted

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
