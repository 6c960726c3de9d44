from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from braze_etl.errors import StateError
from braze_etl.state.sqlite_schema import in_our_words


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (sqlite3.SQLITE_FULL, "disk is full"),
        (sqlite3.SQLITE_READONLY, "read-only"),
        (sqlite3.SQLITE_READONLY_DIRECTORY, "read-only"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "locked by another process"),
        (sqlite3.SQLITE_CANTOPEN_ISDIR, "can't be opened"),
        (sqlite3.SQLITE_IOERR_FSYNC, "input/output error"),
        (sqlite3.SQLITE_CORRUPT_INDEX, "damaged"),
        (sqlite3.SQLITE_NOTADB, "no SQLite database"),
        (sqlite3.SQLITE_PERM, "access is denied"),
        (sqlite3.SQLITE_MISUSE, "can't be used"),
    ],
)
def test_every_trouble_names_the_file_and_the_remedy(code: int, words: str) -> None:
    error = sqlite3.OperationalError("the words of SQLite")
    error.sqlite_errorcode = code
    with pytest.raises(StateError, match=words) as caught, in_our_words(Path("state/a.db")):
        raise error
    assert "state/a.db" in caught.value.message
    assert "the words of SQLite" in caught.value.message
    assert caught.value.remedy


def test_an_error_of_the_module_itself_has_no_code() -> None:
    with pytest.raises(StateError, match="closed database"), in_our_words(Path("a.db")):
        raise sqlite3.ProgrammingError("closed database")
