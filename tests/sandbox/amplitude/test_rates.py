"""Rates and quotas on a clock that is set by hand: amplitude.md, 1.2 and 1.3."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braze_etl.sandbox.amplitude.project import Project
from braze_etl.sandbox.amplitude.rates import SlidingCounts
from braze_etl.sandbox.amplitude.replies import EndpointLimits, Limits, Reply

SMALL = Limits(
    batch=EndpointLimits(max_bytes=1_000_000, eps=2),
    httpapi=EndpointLimits(max_bytes=1_000_000, eps=1),
    rate_window=5,
    daily_quota=25,
)
MakeEvent = Callable[..., dict[str, Any]]
Post = Callable[..., Reply]
HOUR = 3_600


@pytest.fixture
def project(now: Callable[[], float]) -> Project:
    return Project(clock=now, limits=SMALL)


def test_an_id_may_send_its_rate_over_the_window_and_no_more(
    project: Project, post: Post, make_event: MakeEvent
) -> None:
    assert post(project, *[make_event()] * 10).status == 200
    reply = post(project, make_event(user_id="another"), make_event())
    assert reply.status == 429
    assert reply.body == {
        "code": 429,
        "error": "Too many requests for some devices and users",
        "eps_threshold": 2,
        "throttled_users": {"user-000001": 3},
        "throttled_devices": {},
        "throttled_events": [1],
        "exceeded_daily_quota_users": {},
        "exceeded_daily_quota_devices": {},
    }
    assert project.stats()["events_ingested"] == 10  # nothing of the refused request


def test_users_and_devices_are_counted_apart(project: Project, post: Post, make_event: MakeEvent) -> None:
    for number in range(10):
        assert post(project, make_event(user_id=f"user-{number}", device_id="device")).status == 200
    reply = post(project, make_event(device_id="device"), make_event(user_id=None, device_id="device"))
    assert reply.body["throttled_devices"] == {"device": 3}
    assert reply.body["throttled_users"] == {}
    assert reply.body["throttled_events"] == [0, 1]


def test_the_window_moves_on(project: Project, post: Post, make_event: MakeEvent, now: Any) -> None:
    post(project, *[make_event()] * 6)
    now.seconds += 3
    post(project, *[make_event()] * 4)
    now.seconds += 1.5
    assert post(project, make_event()).status == 429
    now.seconds += 0.5  # the first six have left
    assert post(project, *[make_event()] * 6).status == 200
    assert post(project, make_event()).status == 429


def test_a_refused_request_does_not_push_its_ids_further_out(
    project: Project, post: Post, make_event: MakeEvent, now: Any
) -> None:
    post(project, *[make_event()] * 10)
    for _ in range(4):
        now.seconds += 1
        assert post(project, *[make_event()] * 10).status == 429
    now.seconds += 1
    assert post(project, *[make_event()] * 10).status == 200


def test_each_endpoint_has_its_own_rate(project: Project, post: Post, make_event: MakeEvent) -> None:
    assert post(project, *[make_event()] * 10).status == 200
    assert post(project, *[make_event()] * 5, endpoint="/2/httpapi").status == 200
    reply = post(project, make_event(), endpoint="/2/httpapi")
    assert (reply.status, reply.body["eps_threshold"]) == (429, 1)


def test_the_daily_quota_is_common_to_both_endpoints_and_names_its_events(
    project: Project, post: Post, make_event: MakeEvent, now: Any
) -> None:
    for endpoint, events in (("/batch", 10), ("/2/httpapi", 5), ("/batch", 10)):
        assert post(project, *[make_event(device_id="device")] * events, endpoint=endpoint).status == 200
        now.seconds += 60
    reply = post(project, make_event(device_id="device"), make_event(user_id="another"))
    assert reply.status == 429
    assert reply.body["exceeded_daily_quota_users"] == {"user-000001": 26}
    assert reply.body["exceeded_daily_quota_devices"] == {"device": 26}
    assert reply.body["throttled_users"] == {}
    assert reply.body["throttled_events"] == [0]


def test_the_daily_quota_rolls_in_buckets_of_an_hour(
    project: Project, post: Post, make_event: MakeEvent, now: Any
) -> None:
    now.seconds = 1_000 * HOUR
    for _ in range(5):
        post(project, *[make_event()] * 5)
        now.seconds += HOUR
    assert post(project, make_event()).status == 429
    now.seconds = 1_000 * HOUR + 24 * HOUR  # the first bucket has left
    assert post(project, *[make_event()] * 5).status == 200
    now.seconds += 60
    assert post(project, make_event()).status == 429


def test_the_rate_of_the_project_names_nobody(post: Post, make_event: MakeEvent, now: Any) -> None:
    batch = EndpointLimits(max_bytes=1_000_000, eps=1000, project_eps=3)
    project = Project(clock=now, limits=Limits(batch=batch))
    events = [make_event(user_id=f"user-{number}") for number in range(3)]
    assert post(project, *events).status == 200
    reply = post(project, events[0])
    assert reply.body == {"code": 429, "error": "Too many requests", "eps_threshold": 3}
    now.seconds += 1
    assert post(project, *events).status == 200


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5)), max_size=40))
def test_totals_are_the_sum_of_what_lies_in_the_span(steps: list[tuple[int, int]]) -> None:
    counts = SlidingCounts(span=10, bucket=2)
    log: list[tuple[int, int]] = []
    now = 0
    for pause, amount in steps:
        now += pause
        counts.add({"id": amount}, now)
        log.append((now // 2, amount))
        inside = sum(count for bucket, count in log if bucket > now // 2 - 5)
        assert counts.over({"id": 0}, -1, now) == {"id": inside}


def test_ids_that_have_left_the_span_are_forgotten() -> None:
    counts = SlidingCounts(span=10, bucket=1)
    counts.add(Counter({"a": 1, "b": 2}), 0)
    counts.add({"b": 1}, 5)
    assert counts.over({}, 0, 10) == {}
    assert counts._totals == {"b": 1}
