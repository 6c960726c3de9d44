from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braze_etl.errors import ConfigError, StoreError
from braze_etl.mapping import lookup
from braze_etl.mapping.id_cache import IdCache, holds
from braze_etl.mapping.lookup import LookupColumns, LookupTable, is_sqlite, open_lookup
from braze_etl.storage.settings import StoreAccess

Make: TypeAlias = Callable[..., Path]
TABLE = "CREATE TABLE ids (braze TEXT PRIMARY KEY, amplitude TEXT) WITHOUT ROWID"
ROWS = (("anna", "1001"), ("bert", "1002"))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a SQLite file of these statements, with rows in its first table."""

    def made(*statements: str, rows: Iterable[tuple[object, object]] = ROWS, table: str = "ids") -> Path:
        path = tmp_path / "ids.db"
        with closing(sqlite3.connect(path)) as connection, connection:
            for statement in statements or (TABLE,):
                connection.execute(statement)
            connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", rows)
        return path

    return made


@pytest.fixture
def build(tmp_path: Path) -> Make:
    """Makes a table of the text of a CSV file."""

    def built(text: str | bytes, columns: LookupColumns = LookupColumns()) -> Path:  # noqa: B008 - frozen
        (tmp_path / "ids.csv").write_bytes(text.encode() if isinstance(text, str) else text)
        return copied(tmp_path, columns)

    return built


def copied(folder: Path, columns: LookupColumns = LookupColumns()) -> Path:  # noqa: B008 - frozen
    """The copy of the CSV file in a folder."""
    open_lookup(str(folder / "ids.csv"), StoreAccess(), columns, IdCache(folder / "cache")).close()
    (copy,) = (folder / "cache").glob("*.sqlite")
    return copy


def left(folder: Path) -> list[str]:
    """What is in a folder but for locks."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


class TestASqliteFile:
    def test_gives_the_value_of_a_key(self, make: Make) -> None:
        with LookupTable(make()) as table:
            assert [table.find(key) for key in ("anna", "bert", "carl")] == ["1001", "1002", None]

    def test_is_matched_to_the_letter_whatever_its_columns_are(self, make: Make) -> None:
        rows = [(7, 70), (8, None), ("anna", "1001")]
        with LookupTable(make("CREATE TABLE ids (k NUMERIC UNIQUE COLLATE NOCASE, v)", rows=rows)) as table:
            assert [table.find(key) for key in ("7", "anna")] == ["70", "1001"]
            assert [table.find(key) for key in ("07", "7.0", " 7", "Anna", "8", "")] == [None] * 6

    def test_has_columns_of_any_name(self, make: Make) -> None:
        path = make(
            'CREATE TABLE "my "" ids" (note, "the key" TEXT UNIQUE, "select" TEXT)',
            "CREATE TABLE ids (a, b)",
            """INSERT INTO "my "" ids" VALUES ('x', 'anna', '1001')""",
        )
        with LookupTable(path, LookupColumns('MY " ids', "The Key", "select")) as table:
            assert table.find("anna") == "1001"

    def test_with_two_tables_asks_for_the_name_of_one(self, make: Make) -> None:
        path = make(TABLE, "CREATE TABLE others (a PRIMARY KEY, b)")
        with pytest.raises(ConfigError, match="2 tables: ids, others") as caught:
            LookupTable(path)
        assert "identity.lookup.table" in caught.value.remedy
        with LookupTable(path, LookupColumns("ids")) as table:
            assert table.find("anna") == "1001"

    @pytest.mark.parametrize(
        ("columns", "words"),
        [
            (LookupColumns("idz"), "no table .* called 'idz'; the nearest is 'ids'"),
            (LookupColumns(key="brase"), "called 'brase'; the nearest is 'braze'"),
            (LookupColumns(value="amplitud"), "called 'amplitud'; the nearest is 'amplitude'"),
        ],
    )
    def test_names_the_nearest_name(self, make: Make, columns: LookupColumns, words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            LookupTable(make(), columns)

    @pytest.mark.parametrize(
        "statements",
        [
            ["CREATE TABLE ids (k TEXT, v TEXT)"],
            ["CREATE TABLE ids (k TEXT, v TEXT)", "CREATE INDEX i ON ids (k)"],
            ["CREATE TABLE ids (k TEXT, v TEXT, PRIMARY KEY (k, v))"],
            ["CREATE TABLE ids (k TEXT, v TEXT)", "CREATE UNIQUE INDEX i ON ids (k) WHERE v > ''"],
            ["CREATE TABLE ids (k TEXT, v TEXT)", "CREATE UNIQUE INDEX i ON ids (k COLLATE NOCASE)"],
        ],
    )
    def test_without_a_unique_index_is_refused_with_the_statement_that_makes_one(
        self, make: Make, statements: list[str]
    ) -> None:
        path = make(*statements)
        with pytest.raises(ConfigError, match="no unique index on 'k'") as caught:
            LookupTable(path)
        statement = caught.value.remedy.split("'")[1]
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(statement)
        with LookupTable(path) as table:
            assert table.find("anna") == "1001"

    def test_of_numbers_that_no_text_finds_is_refused(self, make: Make) -> None:
        with pytest.raises(ConfigError, match="hold no text"):
            LookupTable(make("CREATE TABLE ids (k BLOB PRIMARY KEY, v)", rows=[(7, "x")]))
        with pytest.raises(ConfigError, match="one column"):
            LookupTable(make("CREATE TABLE t (k PRIMARY KEY)", rows=()), LookupColumns("t"))

    def test_is_never_written_to(self, make: Make, tmp_path: Path) -> None:
        path = make()
        before = path.read_bytes(), sorted(tmp_path.iterdir())
        path.chmod(0o400)
        with LookupTable(path) as table:
            table.find("anna")
            assert (path.read_bytes(), sorted(tmp_path.iterdir())) == before

    def test_with_a_write_ahead_log_is_refused(self, make: Make) -> None:
        path = make()
        with closing(sqlite3.connect(path)) as writer:
            writer.execute("PRAGMA journal_mode = WAL")
            writer.execute("INSERT INTO ids VALUES ('carl', '1003')")
            writer.commit()
            with pytest.raises(ConfigError, match=r"changes in ids\.db-wal"):
                LookupTable(path)

    def test_that_is_none_is_a_mistake_of_the_configuration(self, tmp_path: Path) -> None:
        (tmp_path / "text").write_text("anna,1001\n" * 100)
        for path in (tmp_path / "text", tmp_path / "absent", tmp_path):
            with pytest.raises(ConfigError, match="can't be read"):
                LookupTable(path)

    def test_that_breaks_ends_the_run_instead_of_finding_nobody(self, make: Make) -> None:
        path = make(rows=[(f"user-{number}", "x" * 50) for number in range(5000)])
        with LookupTable(path) as table:
            size = path.stat().st_size
            path.write_bytes(path.read_bytes()[:4096] + b"\xff" * (size - 4096))
            with pytest.raises(StoreError, match="can't be read"):
                table.find("user-4999")
        with pytest.raises(StoreError, match=r"can't be read.*malformed"):
            holds(path, ["user-4999"])

    def test_remembers_the_last_answers(self, make: Make) -> None:
        path = make()
        with LookupTable(path) as table:
            assert (table.find("anna"), table.find("carl")) == ("1001", None)
            table._connection.close()
            assert (table.find("anna"), table.find("carl")) == ("1001", None)

    def test_is_searched_whole_for_a_person(self, make: Make) -> None:
        path = make()
        assert [holds(path, ids) for ids in (["anna"], ["x", "1002"], ["carl", "ann"])] == [True, True, False]

    def test_has_no_answer_for_what_is_no_text(self, make: Make) -> None:
        with LookupTable(make()) as table:
            assert table.find("\ud800") is None


class TestACsvFile:
    def test_becomes_a_table(self, build: Make) -> None:
        path = build('\ufeffanna,1001\r\n"b,ert","10""02"\r\n\r\ncarl,1003,more\r\n,1\r\ndora,\r\n')
        assert is_sqlite(path.read_bytes()[:100])
        assert path.stat().st_mode & 0o777 == 0o600
        with LookupTable(path) as table:
            assert [table.find(key) for key in ("anna", "b,ert", "carl")] == ["1001", '10"02', "1003"]
            assert [table.find(key) for key in ("", "dora")] == [None, None]

    def test_with_a_header_is_read_by_the_names_of_its_columns(self, build: Make) -> None:
        columns = LookupColumns(table="people", key="braze id", value="amplitude")
        path = build("amplitude,mail,braze id\n1001,a@example.com,anna\n", columns)
        with LookupTable(path, columns) as table:
            assert table.find("anna") == "1001"
            assert table.find("braze id") is None
        assert b"a@example.com" not in path.read_bytes()

    def test_may_say_a_thing_twice_but_not_two_things(self, build: Make, tmp_path: Path) -> None:
        with LookupTable(build("anna,1\nbert,2\nanna,1\n")) as table:
            assert table.find("anna") == "1"
        before = left(tmp_path)
        with pytest.raises(ConfigError, match="two values, in lines 2 and 4") as caught:
            build("bert,2\nanna,1\ncarl,3\nanna,4\n")
        assert "anna" not in f"{caught.value.message} {caught.value.remedy}"
        assert left(tmp_path) == before

    @pytest.mark.parametrize(
        ("text", "columns", "words"),
        [
            ("anna,1\nbert\n", LookupColumns(), "line 2 .* has 1 columns"),
            ('anna,1\nbert,2\n"carl', LookupColumns(), "line [34] .* is no CSV"),
            (b"anna,1\n\xff\xfe,2\n", LookupColumns(), "line 1 .* no UTF-8"),
            ("a,b\n", LookupColumns(key="a"), "names one column"),
            ("a,b\n", LookupColumns(key="a", value="c"), "no column 'c'"),
            ("", LookupColumns(key="a", value="c"), "no column 'a'"),
        ],
    )
    def test_with_a_mistake_is_refused_with_its_line(
        self, build: Make, tmp_path: Path, text: str | bytes, columns: LookupColumns, words: str
    ) -> None:
        with pytest.raises(ConfigError, match=words):
            build(text, columns)
        assert left(tmp_path) == ["ids.csv"]

    def test_that_finds_no_room_leaves_nothing_behind(
        self, build: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(lookup, "write_rows", full)
        with pytest.raises(StoreError, match=r"can't be written .*: database or disk is full"):
            build("anna,1\n")
        assert left(tmp_path) == ["ids.csv"]

    @settings(deadline=None, max_examples=15)
    @given(st.dictionaries(st.integers(0, 10**6), st.integers(0, 99), max_size=400))
    def test_of_any_order_gives_what_it_says(
        self, tmp_path_factory: pytest.TempPathFactory, rows: dict[int, int]
    ) -> None:
        folder = tmp_path_factory.mktemp("csv")
        (folder / "ids.csv").write_text("".join(f"user-{key},{value}\n" for key, value in rows.items()))
        with LookupTable(copied(folder)) as table:
            assert all(table.find(f"user-{key}") == str(value) for key, value in rows.items())
            assert table.find("user-1000001") is None
