"""The sender: its ends, its threads, its bounds."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from braze_etl.amplitude.destination import BatchApi
from braze_etl.clock import Clock, ManualClock, SystemClock
from braze_etl.delivery.batches import BatchResult
from braze_etl.delivery.http import Kind, NoReply, Reply
from braze_etl.errors import DeliveryError
from braze_etl.model import Event, Reason
from tests.delivery.conftest import (
    NOON,
    Answer,
    Wire,
    batch,
    deliver,
    html,
    in_turn,
    numbers,
    ok,
    reply,
    reset,
    settings,
)
from tests.posting import AtOnce, KeepingSender

BAD = "Invalid field values on some events"


def sender_on(wire: Wire, clock: ManualClock, **changes: Any) -> KeepingSender:
    destination = BatchApi(settings(**changes))
    return KeepingSender(wire, destination, clock, Random(1), threading.Event(), executor=AtOnce())


class QuickClock(SystemClock):
    """A clock on which waiting takes next to no time."""

    def __init__(self) -> None:
        self._skipped = 0.0

    def monotonic(self) -> float:
        return self._skipped

    def wait(self, seconds: float, wake: threading.Event | None = None) -> bool:
        self._skipped += seconds
        return super().wait(0.0005, wake)


class ThreadSafeWire:
    """Answers by a rule, from any thread, and knows how many requests there were at once."""

    def __init__(self, behaviour: Any) -> None:
        self._behaviour = behaviour
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0
        self.sent = 0

    def send(self, body: bytes, *, gzip: bool) -> Answer:
        with self._lock:
            self._now += 1
            self.sent += 1
            self.most = max(self.most, self._now)
        answer: Answer = self._behaviour(orjson.loads(body)["events"])
        with self._lock:
            self._now -= 1
        return answer


def sender_over(wire: ThreadSafeWire, clock: Clock, **changes: Any) -> KeepingSender:
    return KeepingSender(wire, BatchApi(settings(**changes)), clock, Random(1), threading.Event())


def open_tags(cursed: BatchResult[int]) -> list[int]:
    """What is left to a later run, and on the books until then."""
    assert all(reason is Reason.FAILING for _, reason, _ in cursed.deferred)
    assert cursed.unsettled == []
    return sorted(tag for tag, _, _ in cursed.deferred)


def test_one_event_that_no_request_survives_is_left_open_and_the_rest_of_its_batch_is_delivered() -> None:
    def behave(events: Sequence[Event]) -> Answer:
        return Reply(500) if 1234 in numbers(events) else ok()

    wire = ThreadSafeWire(behave)
    with sender_over(wire, QuickClock(), concurrency=2) as sender:
        sender.give(batch(2000, event_type="cursed"))
        seen: list[BatchResult[int]] = []
        while not any(one.deferred for one in seen):
            sender.give(batch(1, first=5000))
            seen.extend(sender.results())
        seen.extend(sender.drain())
    (cursed,) = [one for one in seen if one.deferred]
    assert open_tags(cursed) == [1234]
    assert len(cursed.accepted) == 1999


@pytest.mark.parametrize("answer", [Reply(500), reset(), Reply(429, {"code": 429})])
def test_nothing_but_trouble_ends_the_run_and_leaves_everything_open(answer: Answer) -> None:
    out = deliver(lambda _events: answer, batch(20), batch(5), give_up_after=600.0)
    assert type(out.error) is DeliveryError
    assert "600 s" in out.error.message
    assert sorted(out.unsettled) == sorted([*range(20), *range(5)])
    assert 600.0 <= out.clock.monotonic() <= 602.0
    assert out.counts.sent < 200


def test_an_outage_of_nine_minutes_is_survived() -> None:
    clock = ManualClock(NOON)
    wire = Wire(lambda _events: Reply(503) if clock.monotonic() < 540 else ok(), clock)
    sender = sender_on(wire, clock)
    sender.give(batch(10))
    (delivered,) = sender.drain()
    assert delivered.accepted == list(range(10))


def test_a_batch_handed_in_after_the_end_comes_back_unsettled() -> None:
    clock = ManualClock(NOON)
    wire = Wire(lambda _events: reply(401), clock)
    sender = sender_on(wire, clock)
    sender.give(batch(2))
    with pytest.raises(DeliveryError):
        sender.give(batch(3))
    assert [one.unsettled for one in sender.results()] == [[0, 1], [0, 1, 2]]
    assert len(wire.requests) == 1


def test_a_proxy_without_gzip_costs_one_request_for_the_whole_run() -> None:
    class Proxy(Wire):
        def send(self, body: bytes, *, gzip: bool) -> Answer:
            answer = super().send(body, gzip=gzip)
            return html(400) if gzip else answer

    clock = ManualClock(NOON)
    wire = Proxy(lambda _events: ok(), clock)
    sender = sender_on(wire, clock, gzip=True)
    sender.give(batch(5))
    sender.give(batch(5))
    assert [len(one.accepted) for one in sender.drain()] == [5, 5]
    assert wire.gzipped == [True, False, False]


def test_where_gzip_was_taken_a_refusal_that_names_nothing_is_not_about_gzip() -> None:
    clock = ManualClock(NOON)
    wire = Wire(in_turn(ok(), html(400)), clock)
    sender = sender_on(wire, clock, gzip=True)
    sender.give(batch(5))
    sender.give(batch(5))
    assert [len(one.accepted) for one in sender.drain()] == [5, 5]
    assert wire.gzipped == [True, True, True]


def test_a_request_that_was_under_way_at_the_fall_back_to_plain_falls_back_too() -> None:
    both = threading.Barrier(2)
    seen: list[bool] = []

    class Proxy(ThreadSafeWire):
        def send(self, body: bytes, *, gzip: bool) -> Answer:
            seen.append(gzip)
            if gzip:
                both.wait(timeout=30)
            return html(415) if gzip else ok()

    wire = Proxy(lambda _events: ok())
    with sender_over(wire, SystemClock(), gzip=True) as sender:
        sender.give(batch(2))
        sender.give(batch(2))
        assert [len(one.accepted) for one in sender.drain()] == [2, 2]
    assert sorted(seen) == [False, False, True, True]


def test_a_rate_of_our_own_spaces_the_requests() -> None:
    out = deliver(lambda _events: ok(), batch(2000), batch(1000), batch(1), rate=1000.0)
    assert out.wire.times == [0.0, 2.0, 3.0]


def beside_others(answer: Answer) -> list[BatchResult[int]]:
    """Deliver a batch that always gets *answer*, and good ones beside it until it is over."""

    def behave(events: Sequence[Event]) -> Answer:
        return answer if events[0]["event_type"] == "cursed" else ok()

    wire = ThreadSafeWire(behave)
    with sender_over(wire, QuickClock(), concurrency=2) as sender:
        sender.give(batch(3, event_type="cursed"))
        seen: list[BatchResult[int]] = []
        while not any(one.unsettled or one.deferred for one in seen):
            sender.give(batch(1))
            seen.extend(sender.results())
        seen.extend(sender.drain())
    return [one for one in seen if not one.accepted]


@pytest.mark.parametrize("answer", [Reply(500), reset(), NoReply(Kind.TIMEOUT, "late")])
def test_a_batch_that_alone_keeps_failing_is_left_open_while_the_others_go_through(answer: Answer) -> None:
    (cursed,) = beside_others(answer)
    assert open_tags(cursed) == [0, 1, 2]


@pytest.mark.parametrize("answer", [reply(400, error="odd"), reply(403, error="Forbidden"), html(403)])
def test_a_batch_whose_way_refuses_everything_is_left_open_though_others_go_through(answer: Answer) -> None:
    (cursed,) = beside_others(answer)
    assert open_tags(cursed) == [0, 1, 2]
    assert cursed.set_aside == []


def test_a_batch_that_alone_is_throttled_without_a_name_comes_back_deferred() -> None:
    (cursed,) = beside_others(reply(429, retry_after=2.0))
    assert [(tag, reason) for tag, reason, _ in cursed.deferred] == [(n, Reason.THROTTLED) for n in range(3)]


def test_threads_deliver_many_batches_within_the_bound() -> None:
    wire = ThreadSafeWire(lambda _events: ok())
    with sender_over(wire, SystemClock(), concurrency=3) as sender:
        seen: list[BatchResult[int]] = []
        for _ in range(200):
            sender.give(batch(2))
            seen.extend(sender.results())
        seen.extend(sender.drain())
    assert sum(len(one.accepted) for one in seen) == 400
    assert wire.most <= 3
    assert sender.counts.sent == 200


def test_submit_blocks_while_too_many_batches_are_in_hand() -> None:
    gate = threading.Event()
    wire = ThreadSafeWire(lambda _events: ok() if gate.wait(30) else reset())
    with sender_over(wire, SystemClock(), concurrency=1) as sender:

        def feed() -> None:
            for _ in range(5):
                sender.give(batch(1))

        feeder = threading.Thread(target=feed)
        feeder.start()
        feeder.join(timeout=0.3)
        assert feeder.is_alive()
        gate.set()
        feeder.join(timeout=30)
        assert sum(len(one.accepted) for one in sender.drain()) == 5


def test_an_error_of_ours_in_a_thread_is_raised_to_the_owner() -> None:
    def broken(_events: Sequence[Event]) -> Answer:
        raise ZeroDivisionError

    wire = ThreadSafeWire(broken)
    with sender_over(wire, SystemClock()) as sender:
        sender.give(batch(2))
        outcomes = sender.drain()
        assert next(outcomes).unsettled == [0, 1]
        with pytest.raises(ZeroDivisionError):
            next(outcomes)


ANSWERS: list[Answer] = [
    ok(),
    ok(1),
    html(200),
    Reply(200, {"code": 429}),
    reply(400, error="odd"),
    reply(400, error=BAD, events_with_invalid_fields={"time": [0, 3, 99]}),
    reply(400, error="Events silenced for device_id", silenced_events=[1], throttled_events=[2]),
    reply(403, error="Forbidden"),
    html(403),
    Reply(408),
    html(413),
    Reply(415),
    reply(429, throttled_users={"user-2": 1200}, throttled_events=[0]),
    reply(429, exceeded_daily_quota_users={"user-1": 500_001}),
    Reply(429),
    Reply(500),
    Reply(302),
    reset(),
    NoReply(Kind.TIMEOUT, "late"),
]


@hypothesis_settings(max_examples=400, deadline=None)
@given(
    script=st.lists(st.sampled_from(ANSWERS), max_size=40),
    last=st.sampled_from([ok(), Reply(500), reply(403, error="Forbidden"), Reply(429)]),
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    seed=st.integers(0, 1000),
)
def test_whatever_is_answered_every_event_ends_in_exactly_one_place(
    script: list[Answer], last: Answer, sizes: list[int], seed: int
) -> None:
    out = deliver(
        in_turn(*script, then=lambda _events: last),
        *[batch(size, first=100 * place) for place, size in enumerate(sizes)],
        seed=seed,
        gzip=True,
        give_up_after=120.0,
    )
    ended = len(out.delivered)
    assert ended <= len(sizes)
    for place, one in enumerate(out.delivered):
        tags = [*one.accepted, *one.unsettled]
        tags += [tag for tag, _ in one.set_aside] + [tag for tag, _, _ in one.deferred]
        assert sorted(tags) == list(range(100 * place, 100 * place + sizes[place]))
        assert set(one.accepted) <= out.wire.acknowledged
    assert ended == len(sizes) or out.error is not None
    assert out.counts.sent == sum(out.counts.by_status.values()) == len(out.requests)
    assert out.error is not None or not out.unsettled
