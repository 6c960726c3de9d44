"""A file whose reading ends the whole run, its parent with it: the next runs find out which it is."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing

import pytest

from tests.faults.poison import poison
from tests.workplace import Workplace, balanced


@pytest.fixture
def acts(place: Workplace) -> dict[str, str]:
    """An export of one hour, and what one of its files does."""
    place.export(events=300, hours=1, duplicates=0)
    return {place.files()[5].relative_to(place.source).as_posix(): "_kill_group"}


def readings(place: Workplace) -> Counter[str]:
    """How often each file was read that does something terrible."""
    return Counter((place.folder / "poisoned.txt").read_text().splitlines())


def test_a_file_that_ends_whole_runs_is_set_aside_at_the_third_time_and_holds_nothing_back(
    place: Workplace, acts: dict[str, str]
) -> None:
    environ, everything = poison(place.folder, acts), len(place.files())
    (culprit,) = acts

    for _ in range(3):
        assert place.do("run", **environ).code == -9
    # All others are delivered by now: from the second time on, it is read after them.
    with closing(sqlite3.connect(place.ledger)) as ledger:
        (done,) = ledger.execute("SELECT COUNT(*) FROM files WHERE state = 'done'").fetchone()
    assert done == everything - 1

    result = place.do("run", "--output", "json", **environ)

    assert result.code == 3
    report = balanced(result.json)
    assert report["files"] | {"bytes": 0} == {
        "discovered": 1, "done": 0, "failed": 1, "remaining": 0, "bytes": 0
    }  # fmt: skip
    assert readings(place) == {culprit: 3}
    (entry,) = place.do("quarantine", "list", "--output", "json").json["entries"]
    assert (entry["key"], entry["reason"]) == (culprit, "unreadable_file")
    assert "ended the whole run 3 times" in entry["detail"]
    again = place.run()
    assert (again["exit_code"], again["files"]["discovered"]) == (0, 0)


def test_files_that_were_begun_by_runs_that_others_killed_are_delivered(place: Workplace) -> None:
    written = place.export(events=300, hours=1, duplicates=0)
    for number in range(4):
        place.inject("- when: {after: 1}\n  do: {hang: 60}")
        process = place.start("run")
        while place.amplitude.stats()["requests"].get("hang", 0) <= number:
            assert process.poll() is None
        place.clear()
    place.recover()
    report = place.run()
    assert (report["exit_code"], report["files"]["failed"]) == (0, 0)
    assert place.accepted_ids() == written.must_arrive()
    with closing(sqlite3.connect(place.ledger)) as ledger:
        assert ledger.execute("SELECT fact FROM notes WHERE name = 'begun'").fetchall() == [("{}",)]
