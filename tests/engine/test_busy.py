from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braze_etl.clock import ManualClock
from braze_etl.engine import busy
from braze_etl.engine.busy import COUNTERS, NOTE, BusyDays, BusyIds, BusyStanding
from braze_etl.model import Event
from braze_etl.state.ledger import LedgerIdentity
from braze_etl.state.memory import MemoryLedger

NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)


def events(**counts: int) -> list[Event]:
    return [{"user_id": id_} for id_, number in counts.items() for _ in range(number)]


def counted(**counts: int) -> BusyIds:
    ids = BusyIds()
    ids.take(events(**counts))
    return ids


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def ledger(clock: ManualClock) -> MemoryLedger:
    return MemoryLedger(LedgerIdentity("default", "shop", "EU"), clock=clock)


def run(ledger: MemoryLedger, clock: ManualClock, bound: int | None = 10, **counts: int) -> int:
    days = BusyDays(ledger, clock, bound)
    days.settled([counted(**counts)])
    return days.remember()


def standing(ledger: MemoryLedger, clock: ManualClock, bound: int = 10) -> BusyStanding:
    return BusyStanding.read(ledger, clock.now(), bound)


class TestCounting:
    def test_events_are_counted_by_user_or_else_by_device(self) -> None:
        ids = BusyIds()
        ids.take([{"user_id": "anna", "device_id": "d1"}, {"device_id": "d1"}, {"user_id": "anna"}])
        assert ids.counts == {"anna": 2, "d1": 1}
        assert (ids.sent, ids.missed) == (3, 0)

    def test_what_is_handed_over_begins_anew(self) -> None:
        ids = counted(anna=3)
        assert ids.hand_over() == counted(anna=3)
        assert ids == BusyIds()

    def test_memory_is_bounded_and_the_busiest_is_found_among_a_hundred_thousand(self) -> None:
        ids, most = BusyIds(), 0
        for batch in range(100):
            people = [{"user_id": f"user-{batch}-{number}"} for number in range(1000)]
            ids.take([*people, *events(everybody=50)])
            most = max(most, len(ids.counts))
        assert most <= 4 * COUNTERS + 1001
        found = ids.hand_over()
        assert len(found.counts) <= COUNTERS
        assert 5000 - found.missed <= found.counts["everybody"] <= 5000
        assert found.missed <= found.sent / COUNTERS

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.lists(st.integers(0, 40), max_size=60), max_size=12), st.integers(1, 10))
    def test_a_count_is_never_too_high_and_too_low_by_what_was_missed_at_most(
        self, batches: list[list[int]], counters: int
    ) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(busy, "COUNTERS", counters)
            patch.setattr(busy, "_ROOM", counters)
            whole, worker = BusyIds(), BusyIds()
            for batch in batches:
                worker.take([{"user_id": str(number)} for number in batch])
                if len(batch) % 3 == 0:
                    whole.add(worker.hand_over())
            whole.add(worker.hand_over())
        true = Counter(str(number) for batch in batches for number in batch)
        assert whole.sent == true.total()
        assert whole.missed <= whole.sent / (counters + 1)
        for id_, number in true.items():
            assert number - whole.missed <= whole.counts[id_] <= number


class TestRemembering:
    def test_a_day_is_the_sum_of_its_runs(self, ledger: MemoryLedger, clock: ManualClock) -> None:
        assert run(ledger, clock, anna=6, bert=2) == 0
        clock.advance(3600)
        assert run(ledger, clock, anna=6, carl=11) == 2
        (day,) = standing(ledger, clock).as_dict()["days"]
        assert day == {
            "day": "2026-10-05",
            "sent": 25,
            "missed_at_most": 0,
            "ids": [
                {"id": "anna", "events": 12, "flagged": True},
                {"id": "carl", "events": 11, "flagged": True},
                {"id": "bert", "events": 2, "flagged": False},
            ],
        }

    def test_each_day_begins_anew_and_the_day_before_yesterday_is_forgotten(
        self, ledger: MemoryLedger, clock: ManualClock
    ) -> None:
        run(ledger, clock, anna=11)
        clock.advance(24 * 3600)
        assert run(ledger, clock, anna=9) == 0
        assert standing(ledger, clock).words == "2026-10-05: anna (11)"
        days = [day["day"] for day in standing(ledger, clock).as_dict()["days"]]
        assert days == ["2026-10-06", "2026-10-05"]
        clock.advance(24 * 3600)
        assert standing(ledger, clock).words == ""
        run(ledger, clock)
        assert list(ledger.get_note(NOTE)) == ["2026-10-06"]

    def test_a_run_over_midnight_counts_for_both_days(self, ledger: MemoryLedger, clock: ManualClock) -> None:
        days = BusyDays(ledger, clock, 10)
        days.settled([counted(anna=11)])
        clock.advance(12 * 3600)
        days.settled([counted(anna=12), BusyIds()])
        assert days.remember() == 1
        assert standing(ledger, clock).words == "2026-10-06: anna (12); 2026-10-05: anna (11)"

    def test_fifty_ids_are_kept_and_what_is_left_out_counts_as_missed(
        self, ledger: MemoryLedger, clock: ManualClock
    ) -> None:
        run(ledger, clock, **{f"user{number:03}": 100 - number for number in range(80)})
        fact = ledger.get_note(NOTE)["2026-10-05"]
        assert len(fact["ids"]) == 50
        assert fact["missed"] == 50
        assert len(orjson.dumps(fact)) < 4096

    def test_switched_off_it_forgets_what_it_knew(self, ledger: MemoryLedger, clock: ManualClock) -> None:
        run(ledger, clock, anna=11)
        assert run(ledger, clock, None) == 0
        assert ledger.get_note(NOTE) == {}

    def test_without_anything_sent_nothing_is_written(
        self, ledger: MemoryLedger, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run(ledger, clock, anna=1)
        monkeypatch.setattr(ledger, "put_note", None)
        clock.advance(timedelta(hours=1).total_seconds())
        assert run(ledger, clock) == 0
        assert run(MemoryLedger(ledger.identity, clock=clock), clock, None) == 0
