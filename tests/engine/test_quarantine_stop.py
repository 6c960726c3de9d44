from __future__ import annotations

from datetime import datetime

import pytest

from braze_etl.clock import ManualClock
from braze_etl.engine.quarantine_stop import NOTE, QuarantineStop
from braze_etl.engine.report import RunReport
from braze_etl.errors import QuarantineStopError
from braze_etl.model import Reason, Tally
from braze_etl.state.ledger import LedgerIdentity
from braze_etl.state.sqlite import SqliteLedger


@pytest.fixture
def ledger(now: datetime) -> SqliteLedger:
    return SqliteLedger.in_memory(
        LedgerIdentity("eu", "default", "US"), start_at=None, clock=ManualClock(now)
    )


def read(now: datetime, accepted: int, set_aside: int, reason: Reason = Reason.INVALID_USER_ID) -> RunReport:
    report = RunReport("r1", "eu", "run", now)
    report.counts.count("users.messages.email.Open", Tally(accepted, 0, set_aside), {reason: set_aside})
    return report


@pytest.mark.parametrize(
    ("share", "outcomes", "stops"),
    [
        (0.2, (800, 200), False),
        (0.2, (800, 201), True),
        (0.2, (0, 999), False),  # too few to tell anything
        (0.99, (10, 990), False),
        (0.99, (9, 991), True),
        (0.35, (845, 455), False),  # to the record, which is no more than that
        (1.0, (0, 5_000), False),
        (None, (0, 5_000), False),
        (0.0, (1_000, 0), False),
        (0.0, (1_000, 1), True),
    ],
)
def test_a_run_stops_above_its_share_of_enough_records(
    ledger: SqliteLedger, now: datetime, share: float | None, outcomes: tuple[int, int], stops: bool
) -> None:
    stop = QuarantineStop(ledger, share)
    error = stop.check(read(now, *outcomes), now)
    assert (error is not None, stop.exceeded, bool(ledger.get_note(NOTE))) == (stops, stops, stops)


def test_what_the_source_had_deleted_does_not_count(ledger: SqliteLedger, now: datetime) -> None:
    assert QuarantineStop(ledger, 0.2).check(read(now, 0, 5_000, Reason.SOURCE_GONE), now) is None


def test_a_stop_stands_until_it_is_lifted_once(ledger: SqliteLedger, now: datetime) -> None:
    QuarantineStop(ledger, 0.2).check(read(now, 0, 5_000), now)
    for _ in range(2):
        with pytest.raises(QuarantineStopError, match="r1"):
            QuarantineStop(ledger, 0.2).admit()
    lifted = QuarantineStop(ledger, 0.2, lifted=True)
    lifted.admit()
    assert lifted.check(read(now, 0, 5_000), now) is None
    QuarantineStop(ledger, 0.2).admit()
