"""What is stored in another shape, through the commands that read it: exit 1 with words, no traceback."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from braze_etl.cli import cli
from braze_etl.errors import BrazeEtlError, StateError
from tests.workplace import Workplace

READERS = (
    ("status", "--output", "json"),
    ("plan", "--output", "json"),
    ("report", "--output", "json"),
    ("state", "copy", "config.yaml", "sqlite:///copy.db"),
)
SHOWS = (READERS[0], READERS[2])
"""Those that look into the reports of runs."""
_MOMENT = "2026-10-01T00:00:00Z"


@pytest.fixture
def used(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    """A place with a ledger of one run, from which commands are called."""
    monkeypatch.chdir(workplace.folder)
    monkeypatch.setenv("BRAZE_ETL_CONFIG", "config.yaml")
    workplace.export(events=300, awkward=0.1)
    workplace.configure(source={"uri": "export", "start_at": "2026-10-01"})
    workplace.run()
    return workplace


def stored(place: Workplace, statement: str, *values: object) -> list[Any]:
    with closing(sqlite3.connect(place.ledger)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def ended(*words: str) -> BaseException | None:
    Path("copy.db").unlink(missing_ok=True)
    return CliRunner().invoke(cli, words, standalone_mode=False).exception


def test_a_run_report_is_read_or_told_as_damage_whatever_part_of_it_is_another(used: Workplace) -> None:
    report = orjson.loads(stored(used, "SELECT report FROM runs")[0][0])
    told = 0
    for name in report:
        for wrong in (5, {"x": {"y": None}}):
            changed = orjson.dumps({**report, name: wrong}).decode()
            stored(used, "UPDATE runs SET report = ?", changed)
            for words in SHOWS:
                failure = ended(*words)
                assert failure is None or isinstance(failure, StateError), (words, name, wrong, failure)
                told += failure is not None
    assert told > len(report)


@pytest.mark.parametrize(
    ("statement", "value", "what"),
    [
        ("UPDATE runs SET report = ?", "{", "a run"),
        ("UPDATE runs SET started_at = ?", "soon", "a run"),
        ("UPDATE notes SET fact = ? WHERE name = 'source'", '{"newest_hour": 7}', "the note source"),
        ("INSERT INTO notes VALUES ('quarantine_stop', ?)", '{"read": 0}', "the note quarantine_stop"),
        ("INSERT OR REPLACE INTO notes VALUES ('begun', ?)", '{"suspects": 5}', "the note begun"),
        ("UPDATE files SET state = ?", "sent", "its summary"),
        ("UPDATE files SET hour = ?", "noon", "the row of a file"),
        ("UPDATE ledger SET backlog = ?", '{"files": 1}', "its summary"),
        ("UPDATE ledger SET created_at = ?", "x", "its beginning"),
    ],
)
def test_each_kind_of_damage_is_told_by_every_command_that_meets_it(
    used: Workplace, statement: str, value: str, what: str
) -> None:
    stored(used, statement, value)
    failures = {words: ended(*words) for words in READERS}
    assert all(each is None or isinstance(each, BrazeEtlError) for each in failures.values()), failures
    run = used.do("run", "--output", "json")
    told = [*(str(each) for each in failures.values() if each), run.out if run.code else ""]
    assert any(f"is damaged: {what} can't be read" in words for words in told), failures
    assert run.code in (0, 1, 3)
    if run.code == 1:
        assert "copy" in run.error["remedy"]
