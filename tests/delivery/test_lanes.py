from __future__ import annotations

from datetime import timedelta

from braze_etl.delivery import Hold, Lane
from braze_etl.delivery.lanes import Closed, Lanes
from braze_etl.model import Reason
from tests.delivery.conftest import NOON, event

ANN = Lane("user_id", "ann")
PHONE = Lane("device_id", "phone")
SHORT = Hold(Reason.THROTTLED, 30.0)
LONG = Hold(Reason.DAILY_QUOTA, 7200.0)


def later(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def test_events_of_a_closed_lane_wait_and_no_others() -> None:
    lanes = Lanes()
    lanes.close({ANN: SHORT}, NOON)
    found = lanes.sift([event(0), event(1, user_id="ann"), event(2, device_id="ann")], NOON)
    assert found == {1: Closed(Reason.THROTTLED, NOON + later(30))}


def test_a_lane_opens_when_its_time_is_over() -> None:
    lanes = Lanes()
    lanes.close({ANN: SHORT}, NOON)
    assert lanes.sift([event(0, user_id="ann")], NOON + later(29))
    assert not lanes.sift([event(0, user_id="ann")], NOON + later(30))


def test_an_event_waits_for_the_longest_of_its_lanes() -> None:
    lanes = Lanes()
    lanes.close({ANN: SHORT, PHONE: LONG}, NOON)
    found = lanes.sift([event(0, user_id="ann", device_id="phone")], NOON)
    assert found[0].reason is Reason.DAILY_QUOTA


def test_a_shorter_wait_does_not_replace_a_longer_one() -> None:
    lanes = Lanes()
    lanes.close({ANN: LONG}, NOON)
    lanes.close({ANN: SHORT}, NOON)
    assert lanes.sift([event(0, user_id="ann")], NOON + later(3600))


def test_memory_is_bounded_and_lanes_that_are_over_make_room() -> None:
    lanes = Lanes(most=3)
    lanes.close({Lane("user_id", str(n)): SHORT for n in range(10)}, NOON)
    assert len(lanes) == 3
    lanes.close({ANN: SHORT}, NOON + later(60))
    assert len(lanes) == 1
    assert lanes.sift([event(0, user_id="ann")], NOON + later(60))


def test_an_event_without_ids_travels_in_no_lane() -> None:
    lanes = Lanes()
    lanes.close({ANN: SHORT}, NOON)
    assert not lanes.sift([{"event_type": "opened", "user_id": None}, {}], NOON)
