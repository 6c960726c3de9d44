"""Whatever is settled in whatever order: both ledgers tell the same, and the last word on a file stands."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from braze_etl.checkpoint import Backlog, Ledger, MemoryLedger, SqliteLedger
from braze_etl.clock import ManualClock
from braze_etl.model import FileSettlement, FileState, OpenPositions, Reason, Tally
from tests.checkpoint.conftest import IDENTITY, NOON, ref

REFS = [ref(name, hour=number % 3) for number, name in enumerate("abcdef")]

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
    return FileSettlement(draw(st.sampled_from(REFS)), state, tally, still_open)


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = ManualClock(NOON)
        self.path = Path(self.folder.name, "ledger.db")
        self.memory = MemoryLedger(IDENTITY, clock=self.clock)
        self.sqlite = SqliteLedger.open(self.path, IDENTITY, clock=self.clock)
        self.last: dict[str, FileSettlement] = {}

    @property
    def both(self) -> list[Ledger]:
        return [self.memory, self.sqlite]

    @rule(batch=st.lists(settlements(), max_size=4), left=st.integers(0, 9))
    def settle(self, batch: list[FileSettlement], left: int) -> None:
        self.clock.advance(1)
        for ledger in self.both:
            ledger.settle("run", batch, Backlog(files=left))
        self.last |= {each.ref.key: each for each in batch if each.state is not None}

    @rule()
    def open_again(self) -> None:
        self.sqlite.close()
        self.sqlite = SqliteLedger.open(self.path, IDENTITY, clock=self.clock)

    @rule(minute=st.integers(0, 5))
    def ready(self, minute: int) -> None:
        by = NOON + timedelta(minutes=minute)
        expected = [each for each in self.memory.open_files() if min(o.not_before for o in each.open) <= by]
        assert [list(ledger.open_files(by)) for ledger in self.both] == [expected] * 2

    @invariant()
    def the_last_settlement_of_a_file_stands(self) -> None:
        for ledger in self.both:
            known = ledger.known(REFS)
            assert {key: (each.state, each.tally) for key, each in known.items()} == {
                key: (each.state, each.tally) for key, each in self.last.items()
            }
            still_open = {each.ref.key: each.open for each in ledger.open_files()}
            assert still_open == {key: each.open for key, each in self.last.items() if each.open}

    @invariant()
    def both_sum_up_alike(self) -> None:
        assert self.memory.summary() == self.sqlite.summary()

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
