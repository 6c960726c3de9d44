"""Whatever happens in whatever order: no file is done without its events settled, and all arrive."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from braze_etl.model import FileState
from tests.faults.world import CrashingLedger, World

USERS = st.sampled_from(["user-anna", "user-ben", "user-carl", "user-dora"])
LISTS = st.sampled_from(["throttled_users", "exceeded_daily_quota_users"])
HOURS = st.sampled_from([1, 20, 47])
_MOST_RUNS = 12


class Histories(RuleBasedStateMachine):
    """A job's life, with a ledger in memory."""

    sqlite: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(Path(self.folder.name), sqlite=self.sqlite)

    @initialize(users=st.lists(st.lists(USERS, min_size=1, max_size=5), min_size=2, max_size=3))
    def begin_with_some_files(self, users: list[list[str]]) -> None:
        for number, each in enumerate(users):
            self.world.write(self.world.key(20 + number, 0), each)

    @rule(hours_ago=HOURS, number=st.integers(0, 1), users=st.lists(USERS, min_size=1, max_size=5))
    def add_a_file_or_more_records_to_one(self, hours_ago: int, number: int, users: list[str]) -> None:
        """New, late, or changed: that depends on what has been delivered meanwhile."""
        self.world.write(self.world.key(hours_ago, number), users)

    @rule(user=USERS, name=LISTS)
    def throttle(self, user: str, name: str) -> None:
        self.world.wire.throttled[user] = name

    @precondition(lambda self: self.world.wire.throttled)
    @rule()
    def let_everybody_go(self) -> None:
        self.world.wire.throttled.clear()

    @rule(minutes=st.sampled_from([1, 30, 240]))
    def time_passes(self, minutes: int) -> None:
        self.world.clock.advance(60 * minutes)

    @rule(failures=st.sampled_from([0, 2, 100]))
    def run(self, failures: int) -> None:
        """A run, at whose beginning so many requests fail: a few, or more than it bears."""
        self.world.wire.failures = failures
        report = self.world.run()
        self.world.wire.failures = 0
        assert report.discovered == report.done + report.failed + report.remaining

    @rule(request=st.integers(1, 6), taken=st.booleans())
    def crash_in_a_request(self, request: int, taken: bool) -> None:
        wire = self.world.wire
        wire.crash_at, wire.crash_after_taking = wire.sent + request, taken
        self.world.crash()

    @rule(after=st.booleans())
    def crash_in_a_commit(self, after: bool) -> None:
        self.world.crash(CrashingLedger(self.world.ledger, 1, after=after))

    @invariant()
    def no_file_is_done_without_its_events_settled(self) -> None:
        files, held = self.world.files(), self.world.held()
        known = self.world.ledger.known(files)
        waiting = {file.ref.key: file.tally.deferred for file in self.world.ledger.open_files()}
        for ref in files:
            entry = known.get(ref.key)
            if entry is None or entry.etag != ref.etag:
                continue
            missing = [id_ for id_ in self.world.expected[ref.key] if id_ not in held]
            assert entry.state in (FileState.DONE, FileState.OPEN)
            assert len(missing) <= waiting.get(ref.key, 0)

    def teardown(self) -> None:
        wire = self.world.wire
        wire.throttled = {}
        try:
            self._until_nothing_is_left()
            ids = {id_ for ids in self.world.expected.values() for id_ in ids}
            assert self.world.held() == ids
        finally:
            self.world.close()
            self.folder.cleanup()

    def _until_nothing_is_left(self) -> None:
        for _ in range(_MOST_RUNS):
            report = self.world.run()
            assert report.error is None
            if report.exit_code == 0:
                return
            self.world.clock.advance(3600)
        raise AssertionError("there is work left after half a day without a fault")


class HistoriesOnDisk(Histories):
    """The same with a ledger on disk, which is opened again after every crash."""

    sqlite = True


LIMITS = settings(
    max_examples=60,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestHistories = Histories.TestCase
TestHistories.settings = LIMITS
TestHistoriesOnDisk = HistoriesOnDisk.TestCase
TestHistoriesOnDisk.settings = LIMITS


def test_a_file_that_was_only_the_next_one_whenever_a_run_was_killed_is_not_set_aside(tmp_path: Path) -> None:
    world = World(tmp_path, sqlite=True)
    for number in range(3):
        world.write(world.key(20 + number, 0), ["user-anna"])
    world.write(world.key(47, 0), ["user-anna"] * 4)
    world.crash(CrashingLedger(world.ledger, 1, after=False))
    world.wire.crash_at = world.wire.sent + 3
    world.crash()
    for _ in range(2):
        world.crash(CrashingLedger(world.ledger, 1, after=True))
    assert world.run().failed == 0
    assert world.held() == {id_ for ids in world.expected.values() for id_ in ids}
    world.close()
