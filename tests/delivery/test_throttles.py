from __future__ import annotations

from datetime import timedelta

from braze_etl.amplitude.replies import throttle_keys
from braze_etl.delivery.destination import Defer, Throttled, ThrottleKey
from braze_etl.delivery.throttles import Throttles, Wait
from braze_etl.model import Reason
from tests.delivery.conftest import NOON, event

ANN = ThrottleKey("user_id", "ann")
PHONE = ThrottleKey("device_id", "phone")
SHORT = Defer(Reason.THROTTLED, 30.0)
LONG = Defer(Reason.DAILY_QUOTA, 7200.0)


def throttled_by_amplitude(**options: int) -> Throttles:
    return Throttles(throttle_keys, 30.0, **options)


def later(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def test_events_of_a_throttled_key_wait_and_no_others() -> None:
    throttles = throttled_by_amplitude()
    throttles.close({ANN: SHORT}, NOON)
    found = throttles.filter([event(0), event(1, user_id="ann"), event(2, device_id="ann")], NOON)
    assert found == {1: Wait(Reason.THROTTLED, NOON + later(30))}


def test_a_key_is_free_when_its_time_is_over() -> None:
    throttles = throttled_by_amplitude()
    throttles.close({ANN: SHORT}, NOON)
    assert throttles.filter([event(0, user_id="ann")], NOON + later(29))
    assert not throttles.filter([event(0, user_id="ann")], NOON + later(30))


def test_an_event_waits_for_the_longest_of_its_keys() -> None:
    throttles = throttled_by_amplitude()
    throttles.close({ANN: SHORT, PHONE: LONG}, NOON)
    found = throttles.filter([event(0, user_id="ann", device_id="phone")], NOON)
    assert found[0].reason is Reason.DAILY_QUOTA


def test_a_shorter_wait_does_not_replace_a_longer_one() -> None:
    throttles = throttled_by_amplitude()
    throttles.close({ANN: LONG}, NOON)
    throttles.close({ANN: SHORT}, NOON)
    assert throttles.filter([event(0, user_id="ann")], NOON + later(3600))


def test_memory_is_bounded_and_keys_that_are_free_make_room() -> None:
    throttles = throttled_by_amplitude(most=3)
    throttles.close({ThrottleKey("user_id", str(n)): SHORT for n in range(10)}, NOON)
    assert len(throttles) == 3
    throttles.close({ANN: SHORT}, NOON + later(60))
    assert len(throttles) == 1
    assert throttles.filter([event(0, user_id="ann")], NOON + later(60))


def test_an_event_without_ids_has_no_key() -> None:
    throttles = throttled_by_amplitude()
    throttles.close({ANN: SHORT}, NOON)
    assert not throttles.filter([{"event_type": "opened", "user_id": None}, {}], NOON)


def refused(throttles: Throttles, share: int, seconds: float, most: int | None = None) -> None:
    throttles.close({ANN: SHORT}, NOON + later(seconds), Throttled({ANN: share}, most))


def passing(throttles: Throttles, events: int, seconds: float) -> int:
    """How many of so many events of Ann's are sent at that time."""
    anns = [event(number, user_id="ann") for number in range(events)]
    return events - len(throttles.filter(anns, NOON + later(seconds)))


def test_of_a_key_with_more_than_a_window_takes_as_many_are_sent_as_it_takes() -> None:
    throttles = throttled_by_amplitude()
    refused(throttles, 2000, 0, most=900)
    assert passing(throttles, 2000, 29) == 0
    assert passing(throttles, 2000, 30) == 900
    assert passing(throttles, 1100, 31) == 0
    throttles.accepted([event(0, user_id="ann")], NOON + later(32))
    assert [passing(throttles, 1100, 61), passing(throttles, 1100, 62)] == [0, 900]


def test_a_key_that_only_has_to_wait_sends_all_of_it_after_that() -> None:
    throttles = throttled_by_amplitude()
    refused(throttles, 2000, 0, most=30_000)
    assert passing(throttles, 2000, 30) == 2000
    throttles.accepted([event(0, user_id="ann")], NOON + later(31))
    assert len(throttles) == 0


def test_a_key_that_is_refused_right_after_its_wait_sends_half_and_half_again() -> None:
    throttles = throttled_by_amplitude()
    refused(throttles, 2000, 0)
    assert passing(throttles, 2000, 30) == 2000
    refused(throttles, 2000, 31)
    assert passing(throttles, 2000, 61) == 1000
    refused(throttles, 1000, 62)
    assert passing(throttles, 2000, 92) == 500


def test_a_quota_is_waited_for_and_not_cut_into_parts() -> None:
    throttles = throttled_by_amplitude()
    for seconds in (0, 7200, 14400):
        throttles.close({ANN: LONG}, NOON + later(seconds), Throttled({ANN: 2000}))
        assert passing(throttles, 2000, seconds + 7200) == 2000
