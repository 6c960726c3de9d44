"""The commands of the documents, run one after the other: on a small export, against the sandbox."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from braze_etl.cli import cli
from braze_etl.sandbox.amplitude.project import Project
from braze_etl.sandbox.amplitude.read_api import ReadOptions
from tests.docs.pages import PAGES, command_lines, name, resolved
from tests.workplace import KEY, Workplace

_GENERATED = {"docs/reference.md"}
_OWN_TEST = {"README.md", "docs/getting-started.md"}
_SENDING = {"run", "backfill", "replay", "verify"}
"""These start worker processes, so they are run as processes."""
_FINE = {0, 3, 4, 5}


def shown() -> list[list[str]]:
    """Each command line of the hand-written pages, once, in their order."""
    pages = [page for page in PAGES if name(page) not in _GENERATED | _OWN_TEST]
    lines = (" ".join(words) for page in pages for words in command_lines(page, "braze-etl"))
    here = [line for line in dict.fromkeys(lines) if "dask" not in line]  # those: `test_machines`
    return [words for line in here if not is_a_name(words := line.split())]


def is_a_name(words: list[str]) -> bool:
    """Whether running text merely names a command, which needs more than that."""
    command, rest = resolved(words)
    bare = not rest and any(parameter.required for parameter in command.params)
    return bare or isinstance(command, click.Group) or (words[0] == "backfill" and "--from" not in words)


def filled_in(words: list[str], place: Workplace) -> list[str]:
    """The words, with what stands for something replaced by it."""
    file = "plan.csv" if words[:2] == ["mapping", "check"] else str(place.files()[0])
    values = {
        "THE.EVENT.TYPE": "users.messages.email.Click",
        "FROM": "sqlite:///state/braze-etl.db",
        "TO": "sqlite:///copied/braze-etl.db",
        "...": "rejected",
        "FILE": file,
        "s3://acme-currents/currents": "export",
        "2026-11-01.zip": "plan.csv",
        "20261001T050000Z-ab12cd": _run_of(place) if "--run" in words else "",
    }
    filled = [values.get(word, word) for word in words]
    if "-c" in filled:
        filled[filled.index("-c") + 1] = "config.yaml"
    return filled


def _run_of(place: Workplace) -> str:
    run_id: str = place.do("status", "--output", "json").json["runs"][-1]["run_id"]
    return run_id


@pytest.fixture
def place(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    """A pipeline that has run, with something in its quarantine."""
    workplace.export(events=200, hours=2, awkward=0.2, event_types=("users.messages.email.*",))
    (workplace.folder / "suppressed.txt").touch()
    privacy = {"suppress": "suppressed.txt", "salt": "a salt"}
    workplace.become(Project(api_key=KEY, reads=ReadOptions(export_delay=0)))
    reading = {"secret_key": "fedcba98" * 4, "read_endpoint": workplace.amplitude.url}
    workplace.configure(mapping={"privacy": privacy}, amplitude=reading, workers=1)
    workplace.run()
    monkeypatch.chdir(workplace.folder)
    monkeypatch.setenv("BRAZE_ETL_CONFIG", "config.yaml")
    return workplace


def code_of(words: list[str], place: Workplace) -> int:
    """The exit code of a command; processes are started only where they must be."""
    if _SENDING & set(words[:2]):
        return place.do(*words).code
    result = CliRunner().invoke(cli, words, input="anna@example.com\n", standalone_mode=False)
    assert result.exception is None, (words, result.exception)
    value: int = result.return_value or 0
    return value


def test_every_command_of_the_documents_does_what_it_is_told(place: Workplace) -> None:
    CliRunner().invoke(cli, ["mapping", "export", "-o", "plan.csv"], standalone_mode=False)
    entries = json.loads(CliRunner().invoke(cli, ["quarantine", "list", "--output", "json"]).output)[
        "entries"
    ]
    first = entries[0]["id"]
    position = "{key}#{block}#{record}".format(**entries[0])
    lines = shown()
    assert len(lines) > 25
    codes = {
        " ".join(words): code_of(
            [
                (position if words[0] == "explain" else first) if word == "ID" else word
                for word in filled_in(words, place)
            ],
            place,
        )
        for words in lines
    }
    assert {line: code for line, code in codes.items() if code not in _FINE} == {}
    assert Path("report.html").exists()
    assert Path("copied/braze-etl.db").exists()
