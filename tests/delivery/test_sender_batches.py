"""What becomes of the events of a batch, and at what cost in requests, whatever Amplitude answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import orjson
import pytest

from braze_etl.delivery.http import Reply
from braze_etl.delivery.pacing import Room
from braze_etl.errors import DeliveryError
from braze_etl.model import Event, Reason
from tests.delivery.conftest import (
    NOON,
    Answer,
    batch,
    deliver,
    event,
    html,
    in_turn,
    numbers,
    of_events,
    ok,
    poisoned,
    reply,
)

BAD = "Invalid field values on some events"


def names(field: str, *bad: int) -> Any:
    """A service that names those of *bad* that are in the request, by their place in it."""

    def behave(events: Sequence[Event]) -> Answer:
        places = [place for place, number in enumerate(numbers(events)) if number in bad]
        return reply(400, error=BAD, events_with_invalid_fields={field: places}) if places else ok()

    return behave


def test_accepted_events_are_sent_once() -> None:
    out = deliver(lambda events: ok(len(events)), batch(2000), batch(3))
    assert len(out.accepted) == 2003
    assert [len(request) for request in out.requests] == [2000, 3]
    assert (out.counts.sent, out.counts.retried, out.counts.by_status) == (2, 0, {"200": 2})
    assert out.counts.bytes_raw == out.counts.bytes_wire > 0


def test_a_short_ingest_is_counted_and_not_sent_again() -> None:
    out = deliver(lambda _events: ok(7), batch(10))
    assert out.accepted == list(range(10))
    assert (out.counts.sent, out.counts.short_ingests) == (1, 1)


def test_ids_that_come_twice_in_a_request_are_counted_and_sent_all_the_same() -> None:
    events = [event(number, insert_id=str(max(0, number - 2))) for number in range(10)]
    out = deliver(lambda _events: ok(), of_events(events, range(10)))
    assert out.accepted == list(range(10))
    assert out.counts.repeated_ids == 2


def test_named_events_cost_one_request_and_the_rest_is_delivered() -> None:
    out = deliver(names("time", 3, 5), batch(2000))
    assert out.set_aside == {3: Reason.REJECTED, 5: Reason.REJECTED}
    assert "invalid time" in out.words[3]
    assert len(out.accepted) == 1998
    assert (out.counts.sent, out.counts.retried) == (2, 1)


def test_lists_that_name_only_the_first_event_cost_one_request_each() -> None:
    def first_only(events: Sequence[Event]) -> Answer:
        places = [place for place, number in enumerate(numbers(events)) if number in {2, 4, 9}]
        return reply(400, error=BAD, events_with_missing_fields={"time": places[:1]}) if places else ok()

    out = deliver(first_only, batch(10))
    assert set(out.set_aside) == {2, 4, 9}
    assert out.counts.sent == 4


@pytest.mark.parametrize("bad", [0, 1, 1000, 1998, 1999])
@pytest.mark.parametrize("refusal", [reply(400, error="odd"), reply(403, error="Forbidden"), html(403)])
def test_an_unnamed_event_costs_no_good_one_and_twice_the_logarithm(bad: int, refusal: Reply) -> None:
    out = deliver(poisoned(bad, refusal=refusal), batch(2000))
    assert out.set_aside == {bad: Reason.REJECTED}
    assert out.words[bad] == refusal.words
    assert len(out.accepted) == 1999
    assert out.counts.retried <= 2 * math.log2(2000)


def test_lists_of_nothing_but_indexes_out_of_range_are_a_refusal_without_names() -> None:
    answer = reply(400, error=BAD, events_with_invalid_fields={"time": [99_999]})
    out = deliver(poisoned(3, refusal=answer), batch(16))
    assert out.set_aside == {3: Reason.REJECTED}
    assert len(out.accepted) == 15


@pytest.mark.parametrize(
    "refusal", [reply(400, error="odd"), reply(403, error="Forbidden"), html(403), html(200)]
)
def test_a_service_that_refuses_everything_costs_no_event_and_ends_the_run(refusal: Reply) -> None:
    out = deliver(lambda _events: refusal, batch(50), give_up_after=600.0)
    assert isinstance(out.error, DeliveryError)
    assert refusal.words in out.error.message
    assert out.error.remedy
    assert (out.set_aside, out.unsettled) == ({}, list(range(50)))
    assert 60.0 <= out.clock.monotonic() <= 120.0
    assert "firewall" in out.error.remedy
    assert out.counts.sent < 1000


def test_a_proxy_that_refuses_for_a_moment_costs_one_request() -> None:
    out = deliver(in_turn(html(403)), batch(100))
    assert len(out.accepted) == 100
    assert out.counts.sent == 2


def test_a_page_in_place_of_a_reply_is_not_taken_for_acceptance() -> None:
    out = deliver(in_turn(html(200)), batch(5))
    assert out.counts.sent == 2
    assert out.wire.acknowledged == set(range(5))


def test_silenced_devices_are_set_aside_and_delay_nobody() -> None:
    def silenced(events: Sequence[Event]) -> Answer:
        hit = any(one.get("device_id") == "phone" for one in events)
        words = "Events silenced for device_id"
        return reply(400, error=words, silenced_devices=["phone"]) if hit else ok()

    events = [event(0), event(1, device_id="phone"), event(2, device_id="phone"), event(3)]
    out = deliver(silenced, of_events(events, [0, 1, 2, 3]))
    assert out.set_aside == {1: Reason.SILENCED, 2: Reason.SILENCED}
    assert out.accepted == [0, 3]
    assert out.clock.monotonic() == 0.0


def test_a_throttled_user_comes_back_open_at_once_and_later_batches_leave_that_user_alone() -> None:
    def throttles_ann(events: Sequence[Event]) -> Answer:
        hit = [place for place, one in enumerate(events) if one["user_id"] == "ann"]
        return reply(429, throttled_users={"ann": 1200}, throttled_events=hit) if hit else ok()

    first = of_events([event(0), event(1, user_id="ann")], [0, 1])
    second = of_events([event(2, user_id="ann"), event(3)], [2, 3])
    out = deliver(throttles_ann, first, second)
    assert out.accepted == [0, 3]
    until = NOON + timedelta(seconds=30)
    assert out.deferred == {1: (Reason.THROTTLED, until), 2: (Reason.THROTTLED, until)}
    assert out.requests == [[0, 1], [0], [3]]
    assert out.clock.monotonic() == 0.0
    assert (out.counts.throttled, out.limit) == (1, 4)


def test_a_batch_of_throttled_keys_alone_costs_no_request() -> None:
    answer = reply(429, throttled_users={"user-0": 1200})
    out = deliver(in_turn(answer), batch(1), batch(1))
    assert len(out.requests) == 1
    assert not out.accepted


def test_a_user_over_the_daily_quota_stays_open_for_hours() -> None:
    answer = reply(429, exceeded_daily_quota_users={"user-1": 500_001}, throttled_events=[1])
    out = deliver(in_turn(answer), batch(3))
    assert out.deferred == {1: (Reason.DAILY_QUOTA, NOON + timedelta(hours=3))}
    assert out.accepted == [0, 2]


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (Reply(429, {"code": 429}), 30.0),
        (Reply(200, {"code": 429}), 30.0),
        (reply(429, error="Too many requests for project"), 60.0),
        (reply(429, retry_after=7.0), 7.0),
        (Reply(503, None, retry_after=11.0), 11.0),
    ],
)
def test_a_wait_that_was_asked_for_is_kept(answer: Reply, wait: float) -> None:
    out = deliver(in_turn(answer), batch(5))
    assert len(out.accepted) == 5
    assert out.wire.times == [0.0, wait]
    assert out.limit == 2


def test_a_retry_after_of_nothing_still_backs_off() -> None:
    out = deliver(lambda _events: reply(429, retry_after=0.0), batch(1), give_up_after=60.0)
    assert out.counts.sent < 60
    assert out.unsettled == [0]


TOO_LARGE = Reply(413, {"code": 413, "error": "Payload too large"})


@pytest.mark.parametrize("place", [0, 5, 63])
def test_an_event_that_amplitude_itself_finds_too_large_is_set_aside(place: int) -> None:
    out = deliver(poisoned(place, refusal=TOO_LARGE), batch(64))
    assert out.set_aside == {place: Reason.TOO_LARGE}
    assert len(out.accepted) == 63
    assert out.counts.retried <= 2 * math.log2(64) + 1


def test_a_large_event_that_a_proxy_finds_too_large_is_set_aside() -> None:
    events = [event(n, note="x" * (200_000 if n == 5 else 400)) for n in range(8)]
    out = deliver(poisoned(5, refusal=html(413)), of_events(events, list(range(8))))
    assert out.set_aside == {5: Reason.TOO_LARGE}
    assert len(out.accepted) == 7


def test_small_events_that_a_proxy_finds_too_large_stay_open_and_the_others_go_on() -> None:
    bad = (0, 5, 6, 40)
    out = deliver(poisoned(*bad, refusal=html(413)), batch(64), batch(64, first=100), give_up_after=30.0)
    assert not out.set_aside
    assert out.accepted[:60] == [n for n in range(64) if n not in bad]
    assert isinstance(out.error, DeliveryError)
    assert "proxy" in out.error.message
    assert set(bad) <= set(out.unsettled)


@pytest.mark.parametrize("refusal", [html(413), TOO_LARGE])
def test_a_413_to_whatever_is_sent_sets_nothing_aside_and_names_a_proxy(refusal: Answer) -> None:
    out = deliver(lambda _events: refusal, batch(64))
    assert not out.set_aside
    assert not out.deferred
    assert out.unsettled == list(range(64))
    assert isinstance(out.error, DeliveryError)
    assert "proxy" in out.error.message
    assert out.counts.sent < 200


def test_a_413_that_is_over_after_a_while_keeps_nothing_back() -> None:
    out = deliver(in_turn(*[html(413)] * 20), batch(8))
    assert out.accepted == list(range(8))


def test_a_413_bounds_the_batches_that_follow() -> None:
    def bounded(events: Sequence[Event]) -> Answer:
        return html(413) if len(orjson.dumps(events)) > 3_000 else ok()

    out = deliver(bounded, *[batch(64, first=100 * n) for n in range(20)])
    assert len(out.accepted) == 20 * 64
    assert out.counts.by_status["413"] < 5
    assert len(out.requests) < 20 * 3


def test_the_bound_that_a_413_set_rises_slowly() -> None:
    room = Room(10_000)
    room.refused(1_000)
    assert room.limit == 900
    room.refused(2_000)
    assert room.limit == 900
    for _ in range(100):
        room.accepted()
    assert 900 < room.limit < 1_000
    for _ in range(3_000):
        room.accepted()
    assert room.limit == 10_000


def test_one_event_at_fault_does_not_bound_the_others() -> None:
    out = deliver(poisoned(5, refusal=TOO_LARGE), batch(64), batch(64, first=100))
    assert out.requests[-1] == list(range(100, 164))


def test_what_is_over_our_own_limit_is_split_before_it_is_sent() -> None:
    events = [event(n, note="x" * (5000 if n == 2 else 400)) for n in range(8)]
    out = deliver(lambda _events: ok(), of_events(events, list(range(8))), max_bytes=3000)
    assert out.set_aside == {2: Reason.TOO_LARGE}
    assert "3000" in out.words[2]
    assert out.accepted == [0, 1, 3, 4, 5, 6, 7]
    assert out.counts.by_status == {"200": len(out.requests)}


def test_bodies_are_compressed_and_both_sizes_are_counted() -> None:
    out = deliver(lambda _events: ok(), batch(500), gzip=True)
    assert out.wire.gzipped == [True]
    assert out.counts.bytes_wire < out.counts.bytes_raw / 5
