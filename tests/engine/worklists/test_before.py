"""Files before the start are counted once, also when that takes longer than one run may spend on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from braze_etl.clock import ManualClock
from braze_etl.engine.worklists.listed import BeforeStart
from braze_etl.model import FileRef
from braze_etl.state.ledger import LedgerIdentity
from braze_etl.state.sqlite import SqliteLedger


class Slow:
    """Lists files of these hours ago, and each takes a second."""

    def __init__(self, make_ref: Callable[..., FileRef], clock: ManualClock, hours_ago: list[int]) -> None:
        self.files = [make_ref(f"f{n}", hours_ago=hours) for n, hours in enumerate(hours_ago)]
        self.clock = clock
        self.listed = 0

    def __call__(self, since: datetime, until: datetime) -> Iterator[FileRef]:
        for ref in self.files:
            if since <= ref.hour < until:
                self.clock.advance(1)
                self.listed += 1
                yield ref


def test_a_long_history_is_counted_in_parts_and_no_file_twice(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    clock = ManualClock(now)
    ledger = SqliteLedger.in_memory(LedgerIdentity("p", "default", "US"), clock=clock, start_at=now)
    hours = Slow(make_ref, clock, [90, 90, 80, 80, 80, 70, 60, 60, 50])
    counts: list[int | None] = []
    while not counts or counts[-1] is None:
        counts.append(BeforeStart(ledger, hours, clock, timedelta(seconds=3)).count(lambda: False))
        assert len(counts) < 10
    assert counts[-1] == 9
    assert len(counts) > 1
    assert hours.listed <= 9 + 3 * len(counts)


def test_a_stop_ends_it_and_the_next_run_goes_on(make_ref: Callable[..., FileRef], now: datetime) -> None:
    clock = ManualClock(now)
    ledger = SqliteLedger.in_memory(LedgerIdentity("p", "default", "US"), clock=clock, start_at=now)
    hours = Slow(make_ref, clock, [90, 80, 70])
    assert BeforeStart(ledger, hours, clock).count(lambda: hours.listed == 3) is None
    assert BeforeStart(ledger, hours, clock).count(lambda: False) == 3
    assert hours.listed == 4
