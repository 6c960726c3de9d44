"""`braze-etl erase` as its users have it: after a real run, on what that has left."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, TypeAlias

import pytest

from braze_etl.cli import run_command_line
from tests.workplace import Result, Workplace, balanced, ended

ANNA = "anna-1234"
STRICT = {"min_id_length": 10}
"""Ids of fewer characters are set aside, and Anna's with them."""


Do: TypeAlias = Callable[..., Result]


@pytest.fixture
def do(workplace: Workplace, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Do:
    """Runs commands in the workplace without a process for each."""
    monkeypatch.chdir(workplace.folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(workplace.folder / "cache"))
    monkeypatch.setenv("BRAZE_ETL_CONFIG", "config.yaml")

    def command(*words: str) -> Result:
        with pytest.raises(SystemExit) as end:
            run_command_line(words)
        out, err = capfd.readouterr()
        return Result(int(end.value.code or 0), out, err)

    return command


@pytest.fixture
def place(workplace: Workplace) -> Workplace:
    """A workplace in which a run has set records aside, and kept them."""
    workplace.export(events=120, awkward=0.3, records_per_file=60, hours=1)
    workplace.configure(quarantine={"payload": True}, amplitude=STRICT, workers=1)
    assert workplace.run()["events"]["quarantined"]
    return workplace


def kept(do: Do) -> tuple[str, dict[str, Any]]:
    """An entry of the quarantine, and the record that is kept with it."""
    listed = do("quarantine", "list", "--reason", "invalid_user_id", "--output", "json").json
    id_: str = listed["entries"][0]["id"]
    return id_, do("quarantine", "show", id_, "--output", "json").json["payload"]


def erase(do: Do, id_: str, *options: str) -> Result:
    return do("erase", "--user", id_, *options)


def test_a_person_is_gone_and_a_receipt_says_so(place: Workplace, do: Do) -> None:
    entry, record = kept(do)
    id_ = record["external_user_id"]
    depth = do("status", "--output", "json").json["quarantined"]

    rehearsal = erase(do, id_, "--dry-run", "--output", "json").json
    assert rehearsal["places"]["quarantine_records"]["found"] >= 1
    assert do("quarantine", "show", entry, "--output", "json").json["payload"] == record

    done = erase(do, id_, "--output", "json")
    assert done.code == done.json["exit_code"] == 0
    removed = done.json["places"]["quarantine_records"]["removed"]
    assert removed == rehearsal["places"]["quarantine_records"]["found"]
    assert done.json["id_sha256"] == sha256(id_.encode()).hexdigest()
    assert f'"{id_}"' not in done.out + done.err
    assert "payload" not in do("quarantine", "show", entry, "--output", "json").json
    assert do("status", "--output", "json").json["quarantined"] == depth

    again = erase(do, id_, "--output", "json").json
    assert all(each["removed"] == 0 for each in again["places"].values())


def test_people_get_the_receipt_as_text(do: Do) -> None:
    told = erase(do, ANNA)
    assert told.code == 0
    assert "records kept in the quarantine" in told.out
    assert "beyond the reach of this program" in told.out
    assert "User Privacy API" in told.out


def test_the_id_may_be_kept_off_the_command_line(workplace: Workplace) -> None:
    piped = ["sh", "-c", 'echo "$0" | "$@"', ANNA, *workplace.command("erase", "--user", "-")]
    assert sha256(ANNA.encode()).hexdigest() in ended(workplace.start(command=piped)).out


def test_the_id_may_be_suppressed_in_the_same_breath(workplace: Workplace, do: Do) -> None:
    refused = erase(do, ANNA, "--suppress", "--output", "json")
    assert (refused.code, refused.error["type"]) == (2, "UsageError")
    assert "mapping.privacy.suppress" in refused.error["remedy"]

    workplace.configure(mapping={"privacy": {"suppress": "people.txt"}})
    missing = erase(do, ANNA, "--suppress", "--output", "json")
    assert (missing.code, missing.error["type"]) == (2, "ConfigError")

    (workplace.folder / "people.txt").write_text("# asked to be forgotten\n")
    assert not erase(do, ANNA, "--output", "json").json["suppressed"]
    assert erase(do, ANNA, "--suppress", "--output", "json").json["suppressed"]
    (line,) = (workplace.folder / "people.txt").read_text().splitlines()[1:]
    assert line == f"sha256:{sha256(ANNA.encode()).hexdigest()}"


def test_whoever_was_erased_does_not_come_back_with_a_replay(place: Workplace, do: Do) -> None:
    _, record = kept(do)
    (place.folder / "people.txt").touch()
    place.configure(
        amplitude={"min_id_length": 1}, mapping={"privacy": {"suppress": "people.txt"}}, workers=1
    )
    assert erase(do, record["external_user_id"], "--suppress").code == 0
    report = balanced(place.do("quarantine", "replay", "--output", "json").json)
    assert report["reasons"]["suppressed"] >= 1
    assert report["events"]["accepted"] > 0
    assert record["id"] not in place.accepted_ids()
    assert all(event.get("user_id") != record["external_user_id"] for event in place.project.events())


@pytest.mark.parametrize("words", [["erase"], ["erase", "--user", ""], ["erase", "--user", "\udcff"]])
def test_without_an_id_nothing_is_done(do: Do, words: list[str]) -> None:
    told = do(*words, "--output", "json")
    assert (told.code, told.error["type"]) == (2, "UsageError")
