"""The state store as it is found: newer, foreign, missing, full, read-only, locked, damaged."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from braze_etl.state import sqlite_schema as _connect
from tests.faults.confined import confined
from tests.faults.conftest import SMALL, deliver_all, nothing_is_lost
from tests.workplace import Result, Workplace, Written, ended


@pytest.fixture
def used(place: Workplace) -> Written:
    """What was exported after a first run had made the ledger."""
    place.source.mkdir()
    # Listings look back from now; the files lie in an October that is over.
    place.configure(source={"lookback": "3650d"}, amplitude=SMALL)
    assert place.do("run", "--output", "json").code == 0
    return place.export(events=350, hours=1, duplicates=0)


def refused(place: Workplace, result: Result, code: int) -> str:
    """A failed run's words; nothing was sent, nothing is marked done."""
    assert result.code == code, result
    with closing(sqlite3.connect(place.ledger)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM files").fetchone() == (0,)
    return f"{result.error['message']} {result.error['remedy']}"


def test_a_ledger_of_a_newer_version_is_refused(place: Workplace, used: Written) -> None:
    with closing(sqlite3.connect(place.ledger)) as connection, connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute("PRAGMA user_version = 99")
    words = refused(place, place.do("run", "--output", "json"), 1)
    assert "newer braze-etl: schema 99" in words
    with closing(sqlite3.connect(place.ledger)) as connection, connection:
        connection.execute(f"PRAGMA user_version = {version}")
    deliver_all(place)
    nothing_is_lost(place, used)


@pytest.mark.parametrize("other", [{"project": "another"}, {"region": "EU"}], ids=["project", "region"])
def test_a_ledger_of_another_project_or_region_is_refused(
    place: Workplace, used: Written, other: dict[str, str]
) -> None:
    place.configure(amplitude={**SMALL, **other})
    assert "state.uri" in refused(place, place.do("run", "--output", "json"), 2)
    assert place.amplitude.stats()["events_received"] == 0


def test_a_missing_ledger_is_no_fresh_start_where_that_is_forbidden(place: Workplace) -> None:
    place.export(events=50, hours=1)
    place.configure(state={"create": "never"})
    result = place.do("run", "--output", "json")
    assert result.code == 2
    assert "never" in result.error["message"]
    assert not place.ledger.exists()
    assert place.amplitude.stats()["requests"] == {}


def test_a_new_key_of_the_same_project_is_a_line_in_the_log(place: Workplace) -> None:
    place.source.mkdir()
    place.do("run")
    place.configure(amplitude={**SMALL, "api_key": "e" * 32})
    changed, again = place.do("run"), place.do("run")
    assert (changed.code, again.code) == (0, 0)
    assert "API key is another" in changed.err
    assert "API key is another" not in again.err
    assert b"e" * 32 not in place.ledger.read_bytes()


def test_a_ledger_that_can_not_grow_fails_the_run_loudly(place: Workplace, used: Written) -> None:
    command = confined(place.command("run", "--output", "json"), file_size=place.ledger.stat().st_size)
    result = ended(place.start(command=command))
    assert result.code == 1, result
    assert str(place.ledger.name) in result.error["message"]
    assert result.json["files"]["done"] == 0
    deliver_all(place)
    nothing_is_lost(place, used)


@pytest.mark.parametrize("room", [4, 16, 32, 64, 128, 4096])
def test_with_little_room_left_all_is_sent_and_settled_or_nothing_is_sent(
    place: Workplace, used: Written, room: int
) -> None:
    size = place.ledger.stat().st_size + room * 1024
    result = ended(place.start(command=confined(place.command("run", "--output", "json"), file_size=size)))
    sent = place.amplitude.stats()["events_received"]
    assert (result.code, sent) in {(0, len(used.must_arrive())), (1, 0)}, result
    assert result.code == 0 or room < 4096
    deliver_all(place)
    nothing_is_lost(place, used)
    assert place.amplitude.stats()["duplicates"] == 0


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\x00garbage\n"])
def test_a_damaged_segment_of_the_quarantine_is_put_beside_and_the_run_goes_on(
    place: Workplace, used: Written, damage: bytes
) -> None:
    segment = place.folder / "state/quarantine/2026-10-01/0123456789abcdef-1.jsonl"
    segment.parent.mkdir(parents=True)
    segment.write_bytes(damage)
    result = place.do("run", "--output", "json")
    assert result.code == 0, result
    assert result.json["warnings"]["damaged_segments"] == 1
    assert "damaged segment" in result.err
    assert "damaged/2026-10-01" in result.err
    beside = place.folder / "state/quarantine/damaged/2026-10-01/0123456789abcdef-1.jsonl"
    assert beside.read_bytes() == damage
    nothing_is_lost(place, used)
    again = place.run()
    assert (again["exit_code"], again["events"]["read"]) == (0, 0)
    assert place.amplitude.stats()["duplicates"] == 0


def test_a_read_only_ledger_fails_the_run_before_anything_is_sent(place: Workplace, used: Written) -> None:
    place.ledger.chmod(0o444)
    command = confined(place.command("run", "--output", "json"), obey_modes=True)
    words = refused(place, ended(place.start(command=command)), 1)
    assert "write" in words
    assert place.amplitude.stats()["events_received"] == 0
    place.ledger.chmod(0o644)
    deliver_all(place)
    nothing_is_lost(place, used)


def test_a_ledger_that_another_program_locks_fails_the_run_in_the_end(
    place: Workplace, used: Written
) -> None:
    with closing(sqlite3.connect(place.ledger, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        result = place.do("run", "--output", "json")
        other.execute("ROLLBACK")
    assert _connect.BUSY_SECONDS < 30
    assert "locked by another process" in refused(place, result, 1)
    deliver_all(place)
    nothing_is_lost(place, used)


def test_a_file_that_is_no_ledger_is_not_taken_for_an_empty_one(place: Workplace) -> None:
    place.export(events=50, hours=1)
    place.ledger.parent.mkdir()
    place.ledger.write_bytes(b"not a database at all" * 200)
    result = place.do("run", "--output", "json")
    assert result.code == 1
    assert "Restore it from a copy" in result.error["remedy"]
    assert place.amplitude.stats()["events_received"] == 0


def test_a_quarantine_that_belongs_to_somebody_else_fails_the_run_before_anything_is_sent(
    place: Workplace, used: Written
) -> None:
    theirs = place.folder / "state/quarantine/2026-10-01/0123456789abcdef-1.jsonl"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"{}")
    theirs.chmod(0)
    command = confined(place.command("run", "--output", "json"), obey_modes=True)
    words = refused(place, ended(place.start(command=command)), 1)
    assert theirs.name in words
    assert "chown" in words
    assert place.amplitude.stats()["events_received"] == 0
    theirs.unlink()
    deliver_all(place)
    nothing_is_lost(place, used)
