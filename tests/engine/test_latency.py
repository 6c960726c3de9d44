from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from braze_etl.engine.latency import BOUNDS, Latency
from braze_etl.model import FileRef, FileSettlement, FileState, Tally


def test_a_file_counts_once_and_each_record_with_its_hour(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    ref = make_ref("a", hours_ago=2)  # hour 10:00, modified at 12:30
    seen = Latency()
    seen.note(
        [FileSettlement(ref, FileState.DONE, Tally(accepted=5), accepted=5)], now + timedelta(minutes=10)
    )
    assert seen.as_facts() == {
        "files": 1,
        "file_to_accepted": 600.0,
        "records": 5,
        "hour_to_accepted": 9600.0,
    }
    assert dict(seen.file.buckets())["300.0"] == 0
    assert dict(seen.file.buckets())["900.0"] == 1


def test_records_of_a_file_that_is_not_done_count_and_the_file_later(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    ref, seen = make_ref("a"), Latency()
    seen.note([FileSettlement(ref, FileState.OPEN, Tally(accepted=4, deferred=1), accepted=4)], now)
    seen.note([FileSettlement(ref, FileState.DONE, Tally(accepted=5), accepted=1)], now)
    assert (seen.as_facts()["files"], seen.as_facts()["records"]) == (1, 5)


def test_what_was_accepted_by_an_earlier_run_or_not_at_all_has_no_latency(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    seen = Latency()
    seen.note([FileSettlement(make_ref("a"), FileState.DONE, Tally(accepted=5, filtered=1))], now)
    assert seen.as_facts()["file_to_accepted"] is None


def test_a_clock_behind_that_of_the_store_gives_no_negative_age(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    seen = Latency()
    done = FileSettlement(make_ref("a"), FileState.DONE, Tally(accepted=1), accepted=1)
    seen.note([done], now - timedelta(days=1))
    assert (seen.file.total, seen.event.total) == (0.0, 0.0)


def test_the_objective_and_the_warning_time_are_bounds() -> None:
    assert {86400.0, 172800.0} <= set(BOUNDS)
    seen = Latency()
    seen.event.observe(1.0, 3)
    again = Latency.from_dict(seen.as_dict())
    again.add(seen)
    assert again.as_facts()["records"] == 6
