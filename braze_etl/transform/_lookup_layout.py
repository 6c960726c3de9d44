"""Where in a SQLite file keys and values are, and whether a key is found without reading all of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from braze_etl.errors import ConfigError


@dataclass(frozen=True, slots=True)
class LookupColumns:
    """The names of table and columns; None is the only table, its first column, its second one."""

    table: str | None = None
    key: str | None = None
    value: str | None = None


AS_THEY_COME = LookupColumns()


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
