"""What only the SQLite ledger has to show: files, processes, crashes, versions."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from braze_etl.clock import ManualClock
from braze_etl.errors import ConfigError, LeaseHeldError, StateError
from braze_etl.model import FileRef
from braze_etl.state import file_lease, sqlite, sqlite_schema
from braze_etl.state.ledger import Backlog, Ledger, LedgerIdentity, LedgerMissingError, RunRecord
from braze_etl.state.sqlite import SqliteLedger
from tests.state.ground import IDENTITY, NOON, OWNER, backlog, done, positions, ref, still_open


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


def opened(path: Path, *, read_only: bool = False, create: bool = True) -> SqliteLedger:
    clock = ManualClock(NOON)
    return SqliteLedger.open(path, IDENTITY, clock=clock, read_only=read_only, create=create)


def one_transaction(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


class TestOpening:
    def test_the_folder_is_created_and_the_ledger_is_one_file(self, path: Path) -> None:
        ledger = opened(path)
        ledger.settle("run-1", [done(ref(), accepted=1)], Backlog())
        ledger.close()
        assert [each.name for each in path.parent.iterdir()] == ["ledger.db"]

    def test_what_root_creates_belongs_to_the_owner_of_the_folder(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given: list[str] = []
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(
            os, "fchown", lambda file, *_: given.append(Path(f"/proc/self/fd/{file}").readlink().name)
        )
        ledger = opened(path)
        with ledger.lease(OWNER):
            assert given == ["state", "ledger.db", "ledger.db.lock"]
        ledger.close()

    def test_only_the_owner_reads_it_whatever_the_umask(self, path: Path) -> None:
        umask = os.umask(0)
        try:
            ledger = opened(path)
            with ledger.lease(OWNER), sqlite3.connect(path) as writer:
                writer.execute("BEGIN")
                writer.execute("CREATE TABLE more (id)")
                modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
                writer.rollback()
            ledger.close()
        finally:
            os.umask(umask)
        assert modes == dict.fromkeys(("ledger.db", "ledger.db.lock", "ledger.db-journal"), 0o600)

    def test_one_that_others_may_read_is_closed_to_them_when_it_is_written(self, path: Path) -> None:
        opened(path).close()
        path.chmod(0o644)
        opened(path, read_only=True).close()
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        opened(path).close()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_reading_a_missing_ledger_creates_nothing(self, path: Path) -> None:
        with pytest.raises(LedgerMissingError, match="no ledger at"):
            opened(path, read_only=True)
        assert not path.parent.exists()

    def test_a_creation_that_broke_off_counts_as_missing(self, path: Path) -> None:
        path.parent.mkdir()
        path.touch()
        with pytest.raises(LedgerMissingError):
            opened(path, read_only=True)
        with pytest.raises(ConfigError, match="never"):
            opened(path, create=False)
        opened(path).close()

    def test_reading_needs_a_ledger_and_writes_nothing(self, path: Path) -> None:
        opened(path).close()
        before = path.read_bytes()
        ledger = opened(path, read_only=True)
        assert ledger.summary().files == {}
        with pytest.raises(StateError, match="read-only") as caught:
            ledger.begin_run(RunRecord("run-1", "run", NOON))
        assert caught.value.remedy
        with pytest.raises(StateError, match="reading only"), ledger.lease(OWNER):
            pytest.fail("a reader holds the lease")
        ledger.close()
        assert path.read_bytes() == before
        assert [each.name for each in path.parent.iterdir()] == ["ledger.db"]

    def test_a_reader_sees_what_a_run_at_work_has_committed(self, path: Path) -> None:
        run = opened(path)
        reader = opened(path, read_only=True)
        run.settle("run-1", [still_open(ref(), positions(1))], backlog(3))
        reading = reader.open_files()
        next(reading)
        run.settle("run-1", [done(ref("b"), accepted=1)], backlog(2))
        assert reader.summary().backlog == backlog(2)

    @pytest.mark.parametrize("other", [{"project": "other"}, {"region": "US"}, {"flow": "events_to_braze"}])
    def test_another_project_region_or_flow_is_refused(self, path: Path, other: dict[str, str]) -> None:
        opened(path).close()
        with pytest.raises(ConfigError, match=r"belongs to project 'shop' in region EU") as caught:
            SqliteLedger.open(path, replace(IDENTITY, **other), clock=ManualClock(NOON))
        assert caught.value.exit_code == 2
        assert "state.uri" in caught.value.remedy

    def test_the_pipeline_is_a_label(self, path: Path) -> None:
        opened(path).close()
        renamed = LedgerIdentity("renamed", "shop", "EU")
        assert SqliteLedger.open(path, renamed, clock=ManualClock(NOON)).identity == renamed


class TestVersions:
    def test_a_ledger_of_an_older_version_is_migrated(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ledger = opened(path)
        ledger.settle("run-1", [done(ref(), accepted=1)], backlog())
        ledger.close()

        def another(connection: sqlite3.Connection) -> None:
            connection.execute("ALTER TABLE files ADD COLUMN colour TEXT")

        old = sqlite_schema.latest_version()
        monkeypatch.setattr(sqlite_schema, "MIGRATIONS", (*sqlite_schema.MIGRATIONS, another))
        with pytest.raises(StateError, match=rf"older .*schema {old}, this one reads {old + 1}"):
            opened(path, read_only=True)
        ledger = opened(path)
        assert ledger.summary().schema_version == old + 1
        assert ledger.summary().backlog == backlog()
        assert ref().key in ledger.known([ref()])

    @pytest.mark.parametrize("read_only", [False, True])
    def test_a_ledger_from_before_the_first_release_is_refused_untouched(
        self, path: Path, read_only: bool
    ) -> None:
        opened(path).close()
        one_transaction(path, f"PRAGMA user_version = {sqlite_schema.OLDEST - 1}")
        before = path.read_bytes()
        with pytest.raises(StateError, match=r"before its first release: schema 4") as caught:
            opened(path, read_only=read_only)
        assert "begin a new ledger" in caught.value.remedy
        assert path.read_bytes() == before

    def test_a_migration_that_fails_leaves_the_ledger_as_it_was(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened(path).close()

        def broken(connection: sqlite3.Connection) -> None:
            connection.execute("ALTER TABLE files ADD COLUMN colour TEXT")
            connection.execute("no statement at all")

        with monkeypatch.context() as patch:
            patch.setattr(sqlite_schema, "MIGRATIONS", (*sqlite_schema.MIGRATIONS, broken))
            with pytest.raises(StateError, match="syntax error"):
                opened(path)
        assert opened(path).summary().schema_version == sqlite_schema.latest_version()

    def test_a_newer_ledger_is_refused_untouched(self, path: Path) -> None:
        opened(path).close()
        one_transaction(path, "PRAGMA user_version = 99")
        before = path.read_bytes()
        with pytest.raises(StateError, match=r"newer braze-etl: schema 99") as caught:
            opened(path)
        assert "Upgrade" in caught.value.remedy
        assert path.read_bytes() == before

    def test_the_database_of_another_program_is_refused(self, path: Path) -> None:
        path.parent.mkdir()
        one_transaction(path, "CREATE TABLE bookmarks (url TEXT)")
        with pytest.raises(StateError, match="another program"):
            opened(path)


class TestTroubles:
    def test_a_file_that_is_no_database_is_named(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_bytes(b"not a database, whatever its name says\n" * 100)
        with pytest.raises(StateError, match=r"ledger\.db is damaged, or is no SQLite database") as caught:
            opened(path)
        assert "copy" in caught.value.remedy

    def test_a_damaged_page_is_an_error_and_not_an_empty_ledger(self, path: Path) -> None:
        ledger = opened(path)
        ledger.settle("r", [done(ref(f"{number:04}"), accepted=1) for number in range(2000)], Backlog())
        ledger.close()
        content = path.read_bytes()
        half = len(content) // 2
        path.write_bytes(content[:4096] + b"\xa5" * (half - 4096) + content[half:])
        with pytest.raises(StateError, match="damaged"):
            opened(path).known([ref(f"{number:04}") for number in range(2000)])

    def test_a_full_disk_leaves_the_settlement_before(self, path: Path) -> None:
        ledger = opened(path)
        ledger.settle("run-1", [done(ref("before"), accepted=1)], backlog(5))
        pages = ledger._query("PRAGMA page_count")[0][0]
        ledger._query(f"PRAGMA max_page_count = {pages + 1}")
        many = [done(ref(f"{number:05}"), accepted=1) for number in range(5000)]
        with pytest.raises(StateError, match="disk is full") as caught:
            ledger.settle("run-2", many, backlog(4))
        assert "Free space" in caught.value.remedy
        assert ledger.known([each.ref for each in many]) == {}
        assert ledger.summary().backlog == backlog(5)

    def test_room_for_settlements_is_there_or_is_missed_before_they_are_due(self, path: Path) -> None:
        ledger = opened(path)
        size = path.stat().st_size
        ledger.reserve(1000)
        many = [done(ref(f"{'x' * 200}{number:05}"), accepted=1) for number in range(1000)]
        grown, pages = path.stat().st_size, ledger._query("PRAGMA page_count")[0][0]
        assert grown > size + 1_000_000
        assert ledger.get_note("reserve") == {}
        ledger._query(f"PRAGMA max_page_count = {pages}")
        ledger.settle("run-1", many, backlog(0))
        assert path.stat().st_size == grown
        with pytest.raises(StateError, match="disk is full"):
            ledger.reserve(2000)

    def test_what_is_pruned_gives_its_space_back(self, path: Path) -> None:
        ledger = opened(path)
        old = [done(ref(f"{'x' * 100}{number:05}", hour=-24 * 30), accepted=1) for number in range(20_000)]
        ledger.settle("run-1", old, None)
        ledger.reserve(1000)
        full, free = path.stat().st_size, ledger._query("PRAGMA freelist_count")[0][0]
        middle = ledger.prune(NOON + timedelta(days=1), "")
        assert middle is not None
        assert full / 3 < path.stat().st_size < full * 2 / 3
        assert ledger.prune(NOON + timedelta(days=1), middle) is not None
        assert path.stat().st_size < full / 8 + 4096 * free
        assert ledger._query("PRAGMA freelist_count")[0][0] >= free
        assert ledger.summary().files == {"done": 20_000}

    def test_a_database_locked_by_another_program_is_an_error_in_the_end(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_schema, "BUSY_SECONDS", 0.01)
        ledger = opened(path)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StateError, match="locked by another process"):
            ledger.begin_run(RunRecord("run-1", "run", NOON))
        other.execute("ROLLBACK")
        ledger.begin_run(RunRecord("run-1", "run", NOON))

    def test_a_place_that_is_no_folder_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StateError, match=r"file/ledger\.db can't be used") as caught:
            opened(tmp_path / "file" / "ledger.db")
        assert "state.uri" in caught.value.remedy

    def test_a_folder_in_place_of_the_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(StateError, match="can't be opened"):
            opened(tmp_path)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_read_only_folder_gives_no_lease(self, path: Path) -> None:
        ledger = opened(path)
        path.parent.chmod(0o500)
        with pytest.raises(StateError, match="Permission denied"), ledger.lease(OWNER):
            pytest.fail("a lease without a lock file")
        path.parent.chmod(0o700)


HOLD = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from braze_etl.state.ledger import LeaseOwner, LedgerIdentity
from braze_etl.state.sqlite import SqliteLedger
from braze_etl.clock import ManualClock

ledger = SqliteLedger.open(
    Path(sys.argv[1]), LedgerIdentity("default", "shop", "EU"), clock=ManualClock(datetime.now(UTC))
)
with ledger.lease(LeaseOwner("run-9", "host-z", 99, "run")):
    print("ready", flush=True)
    time.sleep(60)
"""

HALF = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from braze_etl.state.ledger import LedgerIdentity
from braze_etl.state.sqlite import SqliteLedger
from braze_etl.clock import ManualClock

ledger = SqliteLedger.open(
    Path(sys.argv[1]), LedgerIdentity("default", "shop", "EU"), clock=ManualClock(datetime.now(UTC))
)
ledger._connection.execute("PRAGMA cache_size = 1")
with ledger._transaction():
    ledger._connection.execute("UPDATE files SET state = 'failed', etag = hex(randomblob(400))")
    print("ready", flush=True)
    time.sleep(60)
"""


def started(script: str, path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def killed(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


class TestProcesses:
    def test_the_lease_of_a_killed_run_is_free_at_once(self, path: Path) -> None:
        holding = started(HOLD, path)
        ledger = opened(path)
        try:
            holder = ledger.holder()
            with pytest.raises(LeaseHeldError, match=r"run run-9 .* host-z, process 99"), ledger.lease(OWNER):
                pytest.fail("two processes hold one lease")
        finally:
            killed(holding)
        assert holder is not None
        assert ledger.holder() is None
        with ledger.lease(OWNER):
            assert ledger.holder() is not None

    @pytest.mark.parametrize("way", ["symlink", "folder", "hard link", "lock deleted", "lock replaced"])
    def test_a_run_at_work_is_seen_whatever_the_ledger_is_called(
        self, path: Path, tmp_path: Path, way: str
    ) -> None:
        first, other, lock = opened(path), path, path.with_name("ledger.db.lock")
        with first.lease(OWNER):
            first.begin_run(RunRecord("run-1", "run", NOON))
            if way == "symlink":
                other = tmp_path / "other.db"
                other.symlink_to(path)
            elif way == "folder":
                (tmp_path / "link").symlink_to(path.parent)
                other = tmp_path / "link" / path.name
            elif way == "hard link":
                other = tmp_path / "other.db"
                other.hardlink_to(path)
            else:
                lock.unlink()
                if way == "lock replaced":
                    lock.touch()
            second = opened(other)
            with pytest.raises(LeaseHeldError), second.lease(OWNER):
                pytest.fail("two runs are at work on one ledger")
            holder = second.holder()
            assert holder is not None
            assert holder.owner.command == "run"
            first.settle("run-1", [done(ref("a"), accepted=1)], backlog(0))
        with second.lease(OWNER):
            assert set(second.known([ref("a")])) == {ref("a").key}

    @pytest.mark.parametrize("way", ["deleted", "replaced"])
    def test_nothing_is_stored_in_a_database_that_is_no_longer_there(self, path: Path, way: str) -> None:
        ledger = opened(path)
        with ledger.lease(OWNER):
            copy = path.read_bytes()
            path.unlink()
            if way == "replaced":
                path.write_bytes(copy)
            with pytest.raises(StateError, match="deleted or replaced"):
                ledger.settle("run-1", [done(ref("a"), accepted=1)], backlog(0))

    def test_where_the_database_can_not_be_locked_a_lost_lock_file_ends_the_run(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(file_lease, "_lock_database", lambda _descriptor: None)
        ledger = opened(path)
        with ledger.lease(OWNER):
            ledger.settle("run-1", [done(ref("a"), accepted=1)], backlog(1))
            path.with_name("ledger.db.lock").unlink()
            with pytest.raises(StateError, match="deleted or replaced"):
                ledger.settle("run-1", [done(ref("b"), accepted=1)], backlog(0))
        ledger.settle("run-2", [done(ref("b"), accepted=1)], backlog(0))

    def test_a_program_that_the_holder_starts_does_not_keep_the_lease(self, path: Path) -> None:
        ledger = opened(path)
        with ledger.lease(OWNER):
            child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        with opened(path).lease(OWNER):
            pass
        child.communicate(b"\n")

    def test_a_commit_that_was_killed_leaves_nothing_half_written(self, path: Path) -> None:
        ledger = opened(path)
        files = [done(ref(f"{number:04}"), accepted=1) for number in range(500)]
        ledger.settle("run-1", files, backlog(3))
        killed(started(HALF, path))
        assert path.with_name("ledger.db-journal").exists()
        # A reader comes first: `status` after a crash.
        for read_only in (True, False):
            found = opened(path, read_only=read_only)
            assert {each.run_id for each in found.known([each.ref for each in files]).values()} == {"run-1"}
            assert found.summary().backlog == backlog(3)


def test_only_the_newest_runs_are_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "RUNS_KEPT", 3)
    ledger = opened(path)
    for number in range(5):
        ledger.begin_run(RunRecord(f"run-{number}", "run", NOON))
        ledger.finish_run(RunRecord(f"run-{number}", "run", NOON, NOON, 0))
    assert [run.run_id for run in ledger.runs(10)] == ["run-4", "run-3", "run-2"]


def test_a_thousand_files_are_looked_up_in_milliseconds(path: Path) -> None:
    ledger: Ledger = opened(path)
    refs = [ref(f"{'long/' * 30}{number:06}") for number in range(20_000)]
    ledger.settle("run-1", [done(each, accepted=1) for each in refs], Backlog())
    took = min(_seconds(ledger, refs[start : start + 20_000 : 20]) for start in range(5))
    assert took < 0.05, "ten times what an idle machine needs"


def _seconds(ledger: Ledger, refs: list[FileRef]) -> float:
    begin = time.perf_counter()
    assert len(ledger.known(refs)) == 1000
    return time.perf_counter() - begin
