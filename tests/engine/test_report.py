from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

import orjson

from braze_etl.delivery.batches import RequestCounts
from braze_etl.engine.forecast import Window
from braze_etl.engine.report import RunReport
from braze_etl.engine.tasks import Settlement
from braze_etl.errors import StateError
from braze_etl.model import Counts, FileRef, FileSettlement, FileState, Reason, Tally

OPEN = "users.messages.email.Open"


def settlement(ref: FileRef, state: FileState | None, tally: Tally, **reasons: int) -> Settlement:
    counts = Counts()
    counts.count(ref.event_type, tally, {Reason(name): count for name, count in reasons.items()})
    return Settlement(
        1,
        files=[FileSettlement(ref, state, tally)],
        counts=counts,
        repeats=Counts() if state else counts,
        requests=RequestCounts(sent=2, throttled=1, by_status=Counter({"200": 2})),
    )


def test_a_report_is_the_sum_of_its_settlements(make_ref: Callable[..., FileRef], now: datetime) -> None:
    report = RunReport("r1", "p", "run", now, discovered=3, bytes=3000)
    report.add(settlement(make_ref("a"), FileState.DONE, Tally(accepted=5, filtered=1), no_identity=1))
    report.add(settlement(make_ref("b"), FileState.FAILED, Tally(quarantined=1), unreadable_file=1))
    report.add(settlement(make_ref("c"), None, Tally(accepted=2)))
    report.finished_at, report.seconds, report.exit_code = now + timedelta(seconds=2), 2.0, 4
    report.window = Window(timedelta(hours=48), timedelta(hours=24), None, now)
    facts = report.as_dict()
    assert facts["files"] == {"discovered": 3, "done": 1, "failed": 1, "remaining": 1, "bytes": 3000}
    assert facts["events"] == {"read": 9, "accepted": 7, "filtered": 1, "quarantined": 1, "deferred": 0}
    assert facts["by_event_type"] == {OPEN: facts["events"]}
    assert facts["reasons"] == {"no_identity": 1, "unreadable_file": 1}
    repeats = {"read": 2, "accepted": 2, "filtered": 0, "quarantined": 0, "deferred": 0}
    assert facts["repeats"] == {"by_event_type": {OPEN: repeats}, "reasons": {}}
    assert (facts["requests"]["sent"], facts["requests"]["throttled"]) == (6, 3)
    assert facts["events_per_second"] == 4.5
    assert facts["window"] == {"oldest_undelivered": None, "hours_left": 48.0}
    assert orjson.loads(orjson.dumps(facts)) == facts


def test_a_record_that_is_taken_up_again_counts_once(make_ref: Callable[..., FileRef], now: datetime) -> None:
    report = RunReport("r1", "p", "run", now, discovered=1)
    report.add(settlement(make_ref("a"), FileState.OPEN, Tally(accepted=5, deferred=2), throttled=2))
    report.take_back(OPEN, Counter({Reason.THROTTLED: 2}))
    report.add(settlement(make_ref("a"), FileState.DONE, Tally(accepted=1, quarantined=1), rejected=1))
    assert report.events == Tally(accepted=6, quarantined=1)
    assert report.counts.by_reason == {Reason.REJECTED: 1}
    assert report.remaining == 0


def test_an_error_is_told_with_its_remedy(now: datetime) -> None:
    report = RunReport("r1", "p", "run", now, error=StateError("disk full", remedy="Make room."))
    assert report.as_dict()["error"] == {
        "type": "StateError",
        "message": "disk full",
        "remedy": "Make room.",
    }


def test_rates_are_measured_by_the_bytes_behind_the_records_read(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    report = RunReport("r1", "p", "run", now, discovered=3)
    report.add(settlement(make_ref("whole", size=1000), FileState.DONE, Tally(accepted=10)))
    report.add(settlement(make_ref("unsettled", size=1000), None, Tally(accepted=5)))
    resent = settlement(make_ref("resent", size=1000), FileState.DONE, Tally(accepted=100))
    resent.counts.by_event_type = {OPEN: Tally(accepted=2)}
    report.add(resent)
    assert report.as_dict()["bytes_read"] == {OPEN: 1020}
