"""A project as a whole: which answer comes first, and what is counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from braze_etl.sandbox.amplitude.project import Lists, Project
from braze_etl.sandbox.amplitude.replies import EndpointLimits, Limits, Reply

MakeEvent = Callable[..., dict[str, Any]]
Post = Callable[..., Reply]


def test_a_good_request_is_ingested_and_measured(post: Post, make_event: MakeEvent, now: Any) -> None:
    project = Project(clock=now, api_key="key")
    body = b'{"api_key":"key","events":[{"user_id":"user-1","event_type":"x"}]}'
    reply = project.ingest("/batch", body)
    assert (reply.status, reply.body) == (
        200,
        {
            "code": 200,
            "events_ingested": 1,
            "payload_size_bytes": len(body),
            "server_upload_time": int(now.seconds * 1000),
        },
    )


def test_an_unknown_path_is_refused() -> None:
    reply = Project().ingest("/batches", b"{}")
    assert (reply.status, reply.body["error"]) == (404, "Invalid request path")


@pytest.mark.parametrize("key", ["other", 5])
def test_another_key_than_the_projects_is_refused(key: Any, post: Post, make_event: MakeEvent) -> None:
    reply = post(Project(api_key="key"), make_event(), api_key=key)
    assert reply.status == 400
    assert reply.body["error"].startswith("Invalid API key: ")


def test_without_a_key_of_its_own_a_project_takes_any(post: Post, make_event: MakeEvent) -> None:
    assert post(Project(), make_event(), api_key="whatever").status == 200


def test_each_endpoint_has_its_own_payload_limit(post: Post, make_event: MakeEvent) -> None:
    big = [make_event(event_properties={"text": "x" * 1_000_000})]
    assert post(Project(), *big, endpoint="/batch").status == 200
    reply = post(Project(), *big, endpoint="/2/httpapi")
    assert (reply.status, reply.body) == (413, {"code": 413, "error": "Payload too large"})


def test_more_than_2000_events_are_too_many(post: Post, make_event: MakeEvent) -> None:
    assert post(Project(), *[make_event()] * 2000).status == 200
    assert post(Project(), *[make_event()] * 2001).status == 413


def test_a_silenced_device_is_named_with_its_events(post: Post, make_event: MakeEvent) -> None:
    project = Project(silenced_devices=["bad-device", "unseen-device"])
    bad = make_event(device_id="bad-device")
    reply = post(project, make_event(), bad, make_event(device_id="good-device"), bad)
    assert reply.body == {
        "code": 400,
        "error": "Events silenced for device_id",
        "eps_threshold": 1000,
        "silenced_devices": ["bad-device"],
        "silenced_events": [1, 3],
        "throttled_devices": {},
        "throttled_events": [],
        "exceeded_daily_quota_devices": {},
    }
    assert post(project, make_event()).status == 200


def test_bad_events_answer_before_silenced_devices_and_these_before_rates(
    post: Post, make_event: MakeEvent
) -> None:
    limits = Limits(batch=EndpointLimits(max_bytes=10_000, eps=0))
    project = Project(limits=limits, silenced_devices=["bad-device"])
    bad, slow = make_event(device_id="bad-device"), make_event()
    assert "events_with_invalid_fields" in post(project, bad, make_event(time="x")).body
    assert "silenced_events" in post(project, bad, slow).body
    assert post(project, slow).status == 429


@pytest.mark.parametrize(("lists", "listed"), [("all", [0, 1]), ("first", [0])])
def test_a_project_lists_all_bad_events_or_the_first(
    lists: Lists, listed: list[int], post: Post, make_event: MakeEvent
) -> None:
    reply = post(Project(lists=lists), make_event(time="x"), make_event(time="y"))
    assert reply.body["events_with_invalid_fields"] == {"time": listed}


def test_one_bad_event_keeps_all_others_out(post: Post, make_event: MakeEvent) -> None:
    project = Project()
    assert post(project, make_event(), make_event(user_id="1")).status == 400
    assert list(project.events()) == []


def test_the_counters_balance(post: Post, make_event: MakeEvent) -> None:
    project = Project()
    post(project, make_event(insert_id="a"), make_event(insert_id="a"), make_event(event_type="b", new_key=1))
    post(project, make_event(user_id=None))
    assert project.stats() == {
        "events_received": 4,
        "events_ingested": 3,
        "events_held": 2,
        "duplicates": 1,
        "dropped": 0,
        "users": 1,
        "by_event_type": {"[Appboy] Email Opened": 1, "b": 1},
        "unknown_keys": {"new_key": 1},
    }


def test_a_reset_project_remembers_nothing(post: Post, make_event: MakeEvent) -> None:
    limits = Limits(batch=EndpointLimits(max_bytes=10_000, eps=1), rate_window=1)
    project = Project(clock=lambda: 0.0, limits=limits)
    post(project, make_event(insert_id="a"))
    project.reset()
    assert post(project, make_event(insert_id="a")).status == 200
    assert project.stats()["duplicates"] == 0
