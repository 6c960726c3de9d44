"""What is held: once each, cut, with the server's fields (amplitude.md, 1.4 and 1.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from braze_etl.sandbox.amplitude.event_store import Hold, derived_device_id
from braze_etl.sandbox.amplitude.project import Project
from braze_etl.sandbox.amplitude.replies import Limits, Reply

MakeEvent = Callable[..., dict[str, Any]]
Post = Callable[..., Reply]
DAY = 86_400


@pytest.fixture
def project(now: Callable[[], float]) -> Project:
    return Project(clock=now)


def duplicates(project: Project) -> int:
    return int(project.stats()["duplicates"])


@pytest.mark.parametrize("hold", ["events", "ids"])
def test_the_same_insert_id_and_device_is_held_once(
    hold: Hold, post: Post, make_event: MakeEvent, now: Any
) -> None:
    project = Project(clock=now, hold=hold)
    reply = post(project, make_event(insert_id="a"), make_event(insert_id="a"), make_event(insert_id="b"))
    assert reply.body["events_ingested"] == 3
    assert [event["insert_id"] for event in project.events()] == ["a", "b"]
    assert duplicates(project) == 1


def test_the_first_of_two_is_the_one_that_stays(project: Project, post: Post, make_event: MakeEvent) -> None:
    post(project, make_event(insert_id="a", platform="first"))
    post(project, make_event(insert_id="a", platform="second"), endpoint="/2/httpapi")
    assert [event["platform"] for event in project.events()] == ["first"]


def test_another_device_makes_it_another_event(project: Project, post: Post, make_event: MakeEvent) -> None:
    post(
        project,
        make_event(insert_id="a", device_id="device-1"),
        make_event(insert_id="a", device_id="device-2"),
    )
    assert duplicates(project) == 0


def test_without_a_device_the_user_decides(project: Project, post: Post, make_event: MakeEvent) -> None:
    post(project, make_event(insert_id="a"), make_event(insert_id="a", user_id="another"))
    assert duplicates(project) == 0
    post(project, make_event(insert_id="a", device_id=derived_device_id("another")))
    assert duplicates(project) == 1  # the device that the user_id was hashed to


def test_a_repeat_after_seven_days_is_a_new_event(
    project: Project, post: Post, make_event: MakeEvent, now: Any
) -> None:
    post(project, make_event(insert_id="a"))
    now.seconds += 7 * DAY - 1
    post(project, make_event(insert_id="a"))
    assert duplicates(project) == 1
    now.seconds += 1  # the duplicate has not renewed the window
    post(project, make_event(insert_id="a"))
    assert project.stats()["events_held"] == 2


def test_events_without_insert_id_are_never_duplicates(
    project: Project, post: Post, make_event: MakeEvent
) -> None:
    post(project, make_event(), make_event())
    assert project.stats()["events_held"] == 2


def test_a_constant_event_id_makes_duplicates_of_events_of_one_moment(
    project: Project, post: Post, make_event: MakeEvent
) -> None:
    post(project, make_event(insert_id="a", event_id=1), make_event(insert_id="b", event_id=1))
    post(project, make_event(insert_id="c", event_id=1, time=5), make_event(insert_id="d", event_id=2))
    assert [event["insert_id"] for event in project.events()] == ["a", "c", "d"]


def test_long_strings_are_cut_at_every_depth(post: Post, make_event: MakeEvent, now: Any) -> None:
    project = Project(clock=now, limits=Limits(max_string=8))
    long = "x" * 20
    post(project, make_event(user_id=long, event_properties={"a": long, "b": [long, {"c": long}], "d": 5}))
    (held,) = project.events()
    assert held["user_id"] == "x" * 8
    assert held["event_properties"] == {"a": "x" * 8, "b": ["x" * 8, {"c": "x" * 8}], "d": 5}


def test_insert_ids_are_compared_as_they_are_held(post: Post, make_event: MakeEvent, now: Any) -> None:
    project = Project(clock=now, limits=Limits(max_string=8))
    post(project, make_event(insert_id="12345678-a"), make_event(insert_id="12345678-b"))
    assert duplicates(project) == 1


def test_a_held_event_has_the_fields_of_the_server(
    project: Project, post: Post, make_event: MakeEvent, now: Any
) -> None:
    post(project, make_event(), make_event(time=None, device_id="device-1"))
    received = int(now.seconds * 1000)
    first, second = project.events()
    assert first == make_event(
        device_id=derived_device_id("user-000001"),
        event_time=1_790_000_000_000,
        server_received_time=received,
        server_upload_time=received,
    )
    assert (second["device_id"], second["event_time"]) == ("device-1", received)


@pytest.mark.parametrize(
    ("uploaded", "shift"),
    [
        ("2026-09-21T13:18:20.000Z", 300_000),
        ("2026-09-21T13:22:21.000Z", 0),
        ("2026-09-21T13:22:20.000Z", 60_000),
        ("2026-09-21T13:33:20.000Z", -600_000),
        ("yesterday", 0),
        (1_790_000_000_000, 0),
        (None, 0),
    ],
)
def test_a_stale_upload_time_moves_the_event(
    uploaded: Any, shift: int, post: Post, make_event: MakeEvent
) -> None:
    project = Project(clock=lambda: 1_789_997_000.0)  # 2026-09-21T13:23:20Z
    post(project, make_event(time=1_000_000), client_upload_time=uploaded)
    (held,) = project.events()
    assert held["event_time"] - 1_000_000 == shift


def test_ids_alone_are_held_when_asked(post: Post, make_event: MakeEvent, now: Any) -> None:
    project = Project(clock=now, hold="ids")
    post(project, make_event(insert_id="a"), make_event(event_type="other"))
    assert list(project.events()) == [
        {"event_type": "[Appboy] Email Opened", "insert_id": "a"},
        {"event_type": "other", "insert_id": None},
    ]
