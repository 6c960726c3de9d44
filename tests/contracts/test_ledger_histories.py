"""Whatever is settled in whatever order: every ledger tells the same, and the last word on a file stands."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from braze_etl.clock import ManualClock
from braze_etl.model import FileRef, FileSettlement, FileState, OpenPositions, Reason, Tally
from braze_etl.state.ledger import Backlog, KnownFile, Ledger
from braze_etl.state.s3.compaction import Compactor
from braze_etl.state.s3.ledger import S3Ledger
from braze_etl.state.sqlite import SqliteLedger
from tests.state.bucket import MemoryBucket
from tests.state.ground import IDENTITY, NOON, by_hand, ref

REFS = [ref(name, hour=11 * (number % 3)) for number, name in enumerate("abcdef")]

open_positions = st.builds(
    lambda reason, wait, indexes: OpenPositions(
        reason, NOON + timedelta(minutes=wait), {16: tuple(sorted(indexes))}
    ),
    st.sampled_from([Reason.THROTTLED, Reason.DAILY_QUOTA]),
    st.integers(0, 5),
    st.sets(st.integers(0, 9), min_size=1, max_size=3),
)


@st.composite
def settlements(draw: st.DrawFn) -> FileSettlement:
    state = draw(st.sampled_from([*FileState, None]))
    still_open = tuple(draw(st.lists(open_positions, min_size=1, max_size=2))) if state == "open" else ()
    tally = Tally(accepted=draw(st.integers(0, 3)), deferred=sum(each.count for each in still_open))
    mapping = draw(st.sampled_from(["", "ab", "ab,cd"]))
    held_from = draw(st.none() | st.tuples(st.integers(0, 9), st.integers(0, 9)))
    sent = NOON + timedelta(hours=draw(st.integers(0, 9))) if tally.accepted else None
    file = FileSettlement(draw(st.sampled_from(REFS)), state, tally, still_open, mapping, held_from)
    return replace(file, sent_from=sent, sent_to=sent)


def _told(file: KnownFile | FileSettlement) -> tuple[object, ...]:
    return file.state, file.tally, file.mapping, file.held_from


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = ManualClock(NOON)
        self.path = Path(self.folder.name, "ledger.db")
        self.sqlite = SqliteLedger.open(self.path, IDENTITY, clock=self.clock)
        self.bucket = MemoryBucket()
        self.s3 = self.on_s3()
        self.last: dict[str, FileSettlement] = {}
        self.pruned: set[datetime] = set()

    @property
    def all(self) -> list[Ledger]:
        return [self.sqlite, self.s3]

    def on_s3(self) -> S3Ledger:
        return S3Ledger.open(self.bucket, "state/", IDENTITY, clock=self.clock, keeper=by_hand)

    @rule(batch=st.lists(settlements(), max_size=4), left=st.integers(0, 9))
    def settle(self, batch: list[FileSettlement], left: int) -> None:
        self.clock.advance(1)
        for ledger in self.all:
            ledger.settle("run", batch, Backlog(files=left))
        self.last |= {each.ref.key: each for each in batch if each.state is not None}

    @rule(chosen=st.sets(st.sampled_from(REFS)), mapping=st.sampled_from(["ef", "ab,ef"]))
    def note_mappings(self, chosen: set[FileRef], mapping: str) -> None:
        for ledger in self.all:
            ledger.note_mappings([(each, mapping) for each in chosen])
        for key in {each.key for each in chosen} & self.last.keys():
            self.last[key] = replace(self.last[key], mapping=mapping, held_from=None)

    @rule()
    def open_again(self) -> None:
        self.sqlite.close()
        self.sqlite = SqliteLedger.open(self.path, IDENTITY, clock=self.clock)
        self.s3 = self.on_s3()

    @rule(days=st.integers(1, 2))
    def prune(self, days: int) -> None:
        before = NOON + timedelta(days=days)
        Compactor(self.s3._parts).compact()
        for ledger in self.all:
            assert ledger.prune(before, "") is None
        for key, file in list(self.last.items()):
            if file.state is FileState.DONE and file.ref.hour < before.replace(hour=0):
                self.pruned.add(file.ref.hour.replace(hour=0))
                del self.last[key]

    @rule()
    def compact(self) -> None:
        Compactor(self.s3._parts).compact()

    @rule(minute=st.integers(0, 5))
    def ready(self, minute: int) -> None:
        by = NOON + timedelta(minutes=minute)
        expected = [each for each in self.sqlite.open_files() if min(o.not_before for o in each.open) <= by]
        assert [list(ledger.open_files(by)) for ledger in self.all] == [expected] * 2

    @invariant()
    def the_last_settlement_of_a_file_stands(self) -> None:
        for ledger in self.all:
            known = {key: each for key, each in ledger.known(REFS).items() if not each.pruned}
            assert {key: _told(each) for key, each in known.items()} == {
                key: _told(each) for key, each in self.last.items()
            }
            still_open = {each.ref.key: each.open for each in ledger.open_files()}
            assert still_open == {key: each.open for key, each in self.last.items() if each.open}

    @invariant()
    def a_pruned_day_is_known_whole(self) -> None:
        of_pruned = {each.key for each in REFS if each.hour.replace(hour=0) in self.pruned}
        for ledger in self.all:
            known = ledger.known(REFS)
            assert {key for key, each in known.items() if each.pruned} == of_pruned - self.last.keys()
            assert ledger.pruned_through() == max(self.pruned, default=None)

    @invariant()
    def all_sum_up_alike(self) -> None:
        first, second = (ledger.known(REFS) for ledger in self.all)
        assert first == second
        sqlite, s3 = (replace(each.summary(), schema_version=0) for each in self.all)
        assert sqlite == s3

    def teardown(self) -> None:
        self.sqlite.close()
        self.folder.cleanup()


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=40,
    stateful_step_count=10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
