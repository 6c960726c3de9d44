"""A user or device that Amplitude does not take at the moment delays nobody else; on a manual clock."""

from __future__ import annotations

import threading
import tracemalloc
from datetime import UTC, datetime
from random import Random

import orjson
import pytest
from pydantic import SecretStr

from braze_etl.amplitude.destination import BatchApi
from braze_etl.amplitude.settings import Amplitude
from braze_etl.clock import ManualClock
from braze_etl.delivery.batches import Batch
from braze_etl.delivery.destination import DictItems
from braze_etl.delivery.http import Reply
from braze_etl.sandbox.amplitude.rates import Rates, load_of
from braze_etl.sandbox.amplitude.replies import Limits
from tests.posting import AtOnce, KeepingSender
from tests.workplace import KEY

_ROUND_TRIP = 0.2
_BATCH = 200
_START = 4


class Wire:
    """Amplitude behind a line of 200 ms, which does not take some users at the moment."""

    def __init__(self, clock: ManualClock, throttled: frozenset[str], key: str) -> None:
        self._clock = clock
        self._throttled = throttled
        self._key = key

    def send(self, body: bytes, *, gzip: bool) -> Reply:
        self._clock.advance(_ROUND_TRIP)
        events = orjson.loads(body)["events"]
        named = {event["user_id"]: 31 for event in events if event["user_id"] in self._throttled}
        if named:
            return Reply(429, {"code": 429, "error": "Too many requests for some users", self._key: named})
        return Reply(200, {"code": 200, "events_ingested": len(events)})


def deliver(batches: int, throttled: frozenset[str], key: str = "throttled_users") -> tuple[float, int, int]:
    """The rate of accepted events a second, and how many were accepted and left open.

    Whoever is named, the requests in flight are not cut below those of the start: nobody else is slowed.
    """
    clock = ManualClock(datetime(2026, 10, 5, 12, tzinfo=UTC))
    settings = Amplitude(region="US", endpoint="http://localhost/batch", api_key=SecretStr(KEY), gzip=False)
    sender = KeepingSender(
        Wire(clock, throttled, key),
        BatchApi(settings),
        clock,
        Random(1),
        threading.Event(),
        executor=AtOnce(),
    )
    accepted = deferred = 0
    for number in range(batches):
        events = [{"user_id": f"user-{index}", "event_type": "t"} for index in range(_BATCH)]
        sender.give(Batch(DictItems(events), list(range(number * _BATCH, (number + 1) * _BATCH))))
        for delivered in sender.results():
            accepted += len(delivered.accepted)
            deferred += len(delivered.deferred)
    assert sender.limit >= _START
    return accepted / clock.monotonic(), accepted, deferred


@pytest.mark.parametrize("key", ["throttled_users", "exceeded_daily_quota_users"])
@pytest.mark.parametrize("users", [1, 10])
def test_others_keep_nine_tenths_of_their_free_rate(key: str, users: int) -> None:
    throttled = frozenset(f"user-{index}" for index in range(users))
    free, _, _ = deliver(100, frozenset())
    rate, accepted, deferred = deliver(100, throttled, key)
    assert accepted >= 100 * (_BATCH - users)
    assert deferred > 0
    share_of_others = (_BATCH - users) / _BATCH
    assert rate >= 0.9 * free * share_of_others


class Interface:
    """HTTP V2 by the sandbox's rules: 30 events a second of a user or device, over 30 seconds."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._rates = Rates(Limits())
        self.refused = 0

    def send(self, body: bytes, *, gzip: bool) -> Reply:
        self._clock.advance(_ROUND_TRIP)
        events = orjson.loads(body)["events"]
        load, now = load_of(events), self._clock.monotonic()
        if refusal := self._rates.refusal("/2/httpapi", events, load, now):
            self.refused += 1
            return Reply(429, dict(refusal.body))
        self._rates.add("/2/httpapi", load, now)
        return Reply(200, {"code": 200, "events_ingested": len(events)})


@pytest.mark.parametrize("fresh", [False, True], ids=["one process", "a process for each try"])
def test_more_of_one_id_than_a_window_takes_is_delivered_window_by_window(*, fresh: bool) -> None:
    clock = ManualClock(datetime(2026, 10, 5, 12, tzinfo=UTC))
    interface = Interface(clock)
    settings = Amplitude(
        region="US", endpoint="http://localhost/2/httpapi", api_key=SecretStr(KEY), gzip=False
    )

    def sender() -> KeepingSender:
        stop, at_once = threading.Event(), AtOnce()
        return KeepingSender(interface, BatchApi(settings), clock, Random(1), stop, executor=at_once)

    hot = [{"device_id": "hot-device", "event_type": "t"} for _ in range(1900)]
    others = [{"user_id": f"user-{number}", "event_type": "t"} for number in range(100)]
    events, at_work, accepted = [*hot, *others], sender(), []
    left, tries = list(range(len(events))), 0
    while left:
        tries += 1
        at_work = sender() if fresh else at_work
        at_work.give(Batch(DictItems([events[tag] for tag in left]), list(left)))
        (delivered,) = at_work.results()
        accepted.append(len(delivered.accepted))
        left = sorted(tag for tag, _, _ in delivered.deferred)
        clock.advance(_ROUND_TRIP + 30)
    assert accepted[0] >= len(others)
    assert sum(accepted) == len(events)
    assert tries == 3
    assert interface.refused == (2 if fresh else 1)


def test_memory_does_not_grow_with_a_throttled_key() -> None:
    throttled = frozenset({"user-0"})
    deliver(5, throttled)
    peaks = []
    for batches in (50, 500):
        tracemalloc.start()
        deliver(batches, throttled, "exceeded_daily_quota_users")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200_000
