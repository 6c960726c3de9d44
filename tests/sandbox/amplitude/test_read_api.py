"""What Amplitude's APIs for reading say of what the stand-in holds (amplitude-read.md)."""

from __future__ import annotations

import gzip
import io
import zipfile
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
import requests

from braze_etl.sandbox.amplitude.cohorts import Cohort
from braze_etl.sandbox.amplitude.event_store import Drops
from braze_etl.sandbox.amplitude.project import Project
from braze_etl.sandbox.amplitude.read_api import Question, ReadOptions
from braze_etl.sandbox.amplitude.replies import Limits, RawReply, Reply
from braze_etl.sandbox.server import SandboxServer

MakeEvent = Callable[..., dict[str, Any]]
Post = Callable[..., Reply]
Serve = Callable[..., SandboxServer]
HOUR = 3_600.0


def basic(key: str = "key", secret: str = "secret") -> str:
    return "Basic " + b64encode(f"{key}:{secret}".encode()).decode()


def ask(project: Project, path: str, at_once: int = 1, /, **query: str) -> Reply | RawReply:
    return project.read(Question(path, query, basic(), "http://here"), at_once)


def export(project: Project, start: str, end: str = "") -> Reply | RawReply:
    return ask(project, "/api/2/export", start=start, end=end or start)


def members(reply: Reply | RawReply) -> dict[str, list[dict[str, Any]]]:
    assert isinstance(reply, RawReply)
    with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
        return {
            name: [orjson.loads(line) for line in gzip.decompress(archive.read(name)).splitlines()]
            for name in archive.namelist()
        }


def hour(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y%m%dT%H}"


@pytest.fixture
def project(now: Any) -> Project:
    now.seconds = datetime(2026, 10, 1, 5, 59, tzinfo=UTC).timestamp()
    return Project(clock=now, reads=ReadOptions())


def test_an_hour_is_exported_two_hours_after_its_end(
    project: Project, post: Post, make_event: MakeEvent, now: Any
) -> None:
    post(project, make_event(insert_id="a", library="Braze", event_properties={"x": 1}))
    now.seconds += HOUR  # 06:59
    post(project, make_event(insert_id="b"))
    assert export(project, "20261001T05").status == 404
    now.seconds += HOUR + 60  # 08:00
    [(name, [event])] = members(export(project, "20261001T05", "20261001T07")).items()
    assert name == "187520/187520_2026-10-01_5#0.json.gz"
    assert event["$insert_id"] == "a"
    assert (event["library"], event["event_properties"]) == ("Braze", {"x": 1})
    assert event["server_upload_time"] == "2026-10-01 05:59:00.000000"
    now.seconds += HOUR
    both = members(export(project, "20261001T05", "20261001T06"))
    assert [[event["$insert_id"] for event in part] for part in both.values()] == [["a"], ["b"]]


def test_without_a_delay_what_is_held_is_exported_at_once(
    post: Post, make_event: MakeEvent, now: Any
) -> None:
    project = Project(clock=now, reads=ReadOptions(export_delay=0))
    post(project, make_event(insert_id="a"))
    assert len(members(export(project, hour(now.seconds)))) == 1


def test_duplicates_within_seven_days_are_exported_once(post: Post, make_event: MakeEvent, now: Any) -> None:
    project = Project(clock=now, reads=ReadOptions(export_delay=0))
    first = hour(now.seconds)
    post(project, make_event(insert_id="a"))
    now.seconds += 6 * 24 * HOUR
    post(project, make_event(insert_id="a"), make_event(insert_id="a", device_id="another-device"))
    now.seconds += 2 * 24 * HOUR
    post(project, make_event(insert_id="a"))
    found = members(export(project, first, hour(now.seconds)))
    assert [event["$insert_id"] for part in found.values() for event in part] == ["a", "a", "a"]
    assert project.stats()["duplicates"] == 1


def test_what_is_held_as_ids_can_be_exported(post: Post, make_event: MakeEvent, now: Any) -> None:
    project = Project(clock=now, hold="ids", reads=ReadOptions(export_delay=0))
    post(project, make_event(insert_id="a"))
    [[event]] = members(export(project, hour(now.seconds))).values()
    assert (event["$insert_id"], event["event_type"]) == ("a", "[Appboy] Email Opened")


def test_more_than_an_export_takes_is_refused(post: Post, make_event: MakeEvent, now: Any) -> None:
    project = Project(clock=now, limits=Limits(export_bytes=100), reads=ReadOptions(export_delay=0))
    post(project, make_event(insert_id="a"))
    assert export(project, hour(now.seconds)).status == 400


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("", ""),
        ("20261001", "20261001"),
        ("2026-10-01T05", "2026-10-01T06"),
        ("20261001T06", "20261001T05"),
        ("20251001T05", "20261001T05"),
    ],
)
def test_a_range_that_is_none_is_refused(project: Project, start: str, end: str) -> None:
    assert export(project, start, end).status == 400


def test_dropped_events_are_accepted_and_never_held(post: Post, make_event: MakeEvent, now: Any) -> None:
    drops = Drops(frozenset({"blocked"}), frozenset({"user-000002"}), 5)
    project = Project(clock=now, drops=drops, reads=ReadOptions(export_delay=0))
    events = [make_event(insert_id=f"i{number}") for number in range(100)]
    events += [
        make_event(insert_id="t", event_type="blocked"),
        make_event(insert_id="u", user_id="user-000002"),
    ]
    assert post(project, *events).body["events_ingested"] == 102
    held = {event["insert_id"] for event in project.events()}
    assert project.stats()["dropped"] == 102 - len(held)
    assert not {"t", "u"} & held
    assert 60 < len(held) < 95
    project.drops = Drops()
    post(project, *events)
    assert len(list(project.events())) == 102


def test_keys_are_checked(post: Post, make_event: MakeEvent, now: Any) -> None:
    project = Project(clock=now, api_key="key", reads=ReadOptions(secret_key="secret"))
    paths = ("/api/2/export", "/api/2/events/list", "/api/3/cohorts")
    for path in paths:
        assert project.read(Question(path, {}, basic("key", "other"))).status == 403
        assert project.read(Question(path, {}, "")).status == 401
    assert ask(project, "/api/2/events/list").status == 200


def test_questions_are_limited_in_number(project: Project) -> None:
    assert ask(project, "/api/2/events/list", 5).status == 200
    assert ask(project, "/api/2/events/list", 6).status == 429
    assert ask(project, "/api/2/usersearch", 10, user="u").status == 200
    asked = [ask(project, "/api/2/usersearch", user="u").status for _ in range(360)]
    assert asked == [200] * 359 + [429]


def test_totals_are_counted_by_the_day_of_the_project(post: Post, make_event: MakeEvent, now: Any) -> None:
    now.seconds = datetime(2026, 10, 1, 22, 30, tzinfo=UTC).timestamp()
    reads = ReadOptions(time_zone="Europe/Berlin")
    project = Project(clock=now, reads=reads)
    for number in range(3):
        post(project, make_event(insert_id=f"{number}", time=int(now.seconds * 1000), event_type="e"))
        now.seconds += 0.5 * HOUR
    reply = ask(
        project,
        "/api/2/events/segmentation",
        e='{"event_type":"e"}',
        m="totals",
        start="20261001",
        end="20261002",
    )
    assert reply.status == 200
    data: Any = reply.body["data"]  # type: ignore[call-overload]
    assert (data["xValues"], data["series"]) == (["2026-10-01", "2026-10-02"], [[0, 3]])


def test_counts_have_a_cost(project: Project, now: Any) -> None:
    query = {"e": '{"event_type":"e"}', "m": "totals", "start": "20250101", "end": "20251231"}
    path = "/api/2/events/segmentation"
    assert [ask(project, path, **query).status for _ in range(3)] == [200, 200, 429]
    now.seconds += 300
    assert ask(project, path, **query).status == 200
    assert ask(project, path, **{**query, "e": "e"}).status == 400


def test_a_user_is_found_and_its_events_come_in_pages(
    project: Project, post: Post, make_event: MakeEvent, now: Any
) -> None:
    post(project, *(make_event(insert_id=f"{n}", time=1_790_000_000_000 + n) for n in range(5)))
    post(project, make_event(user_id="another"))
    reply: Any = ask(project, "/api/2/usersearch", user="user-0")
    [match] = reply.body["matches"]
    assert match["user_id"] == "user-000001"
    number = str(match["amplitude_id"])
    reply = ask(project, "/api/2/useractivity", user=number, limit="2", offset="1")
    assert [event["$insert_id"] for event in reply.body["events"]] == ["3", "2"]
    assert reply.body["userData"]["num_events"] == 5
    reply = ask(project, "/api/2/useractivity", user=number, direction="earliest")
    assert [event["$insert_id"] for event in reply.body["events"]] == ["0", "1", "2", "3", "4"]
    assert ask(project, "/api/2/useractivity", user="7").status == 404
    assert ask(project, "/api/2/usersearch", user="nobody").body["matches"] == []  # type: ignore[call-overload]


def test_the_list_of_types_shows_what_is_dropped_as_deleted(
    post: Post, make_event: MakeEvent, now: Any
) -> None:
    project = Project(clock=now, drops=Drops(frozenset({"blocked"})))
    post(project, make_event(), make_event(event_type="blocked"))
    reply: Any = ask(project, "/api/2/events/list")
    assert {each["name"]: (each["totals"], each["deleted"]) for each in reply.body["data"]} == {
        "[Appboy] Email Opened": (1, False),
        "blocked": (0, True),
    }


MEMBERS = [{"amplitude_id": number, "user_id": f"user, {number}"} for number in range(4)]


def test_a_cohort_is_downloaded_in_three_steps(now: Any) -> None:
    project = Project(clock=now, reads=ReadOptions(cohorts=[Cohort("c1", MEMBERS, {"name": "High value"})]))
    listed: Any = ask(project, "/api/3/cohorts")
    [cohort] = listed.body["cohorts"]
    assert (cohort["id"], cohort["name"], cohort["size"]) == ("c1", "High value", 4)
    requested: Any = ask(project, "/api/5/cohorts/request/c1")
    assert requested.status == 202
    number = requested.body["request_id"]
    path = f"/api/5/cohorts/request/{number}/file"
    assert ask(project, path).status == 404
    looks: list[Any] = [ask(project, f"/api/5/cohorts/request-status/{number}") for _ in range(2)]
    assert [(look.status, look.body["async_status"]) for look in looks] == [
        (202, "JOB INPROGRESS"),
        (200, "JOB COMPLETED"),
    ]
    file = ask(project, path)
    assert isinstance(file, RawReply)
    text = gzip.decompress(file.body).decode()
    assert text.splitlines()[:2] == ['"amplitude_id","user_id"', '"0","user, 0"']
    now.seconds += 7 * 24 * HOUR + 1
    assert ask(project, path).status == 404


def test_a_large_cohort_lies_behind_a_link_of_a_minute_that_takes_no_credentials(
    serve: Serve, now: Any
) -> None:
    reads = ReadOptions(cohorts=[Cohort("c1", MEMBERS)])
    server = serve(Project(clock=now, limits=Limits(inline_members=3), reads=reads))
    base, keys = server.url + "/api/5/cohorts/", ("key", "secret")
    number = requests.get(base + "request/c1", auth=keys, timeout=10).json()["request_id"]
    for _ in range(2):
        requests.get(f"{base}request-status/{number}", auth=keys, timeout=10)
    moved = requests.get(f"{base}request/{number}/file", auth=keys, timeout=10, allow_redirects=False)
    link = moved.headers["Location"]
    assert (moved.status_code, link.startswith(server.url)) == (302, True)
    assert requests.get(link, auth=keys, timeout=10).status_code == 400
    assert requests.get(link, timeout=10).text.count("user, ") == 4
    now.seconds += 61
    assert requests.get(link, timeout=10).status_code == 403


def test_downloads_of_cohorts_are_limited(now: Any) -> None:
    limits = Limits(cohort_requests=2, cohort_requests_a_month=3)
    project = Project(clock=now, limits=limits, reads=ReadOptions(cohorts=[Cohort("c1")]))
    assert [ask(project, "/api/5/cohorts/request/c1").status for _ in range(3)] == [202, 202, 429]
    now.seconds += 600
    assert [ask(project, "/api/5/cohorts/request/c1").status for _ in range(2)] == [202, 429]
    now.seconds += 32 * 24 * HOUR
    assert ask(project, "/api/5/cohorts/request/c1").status == 202
    assert ask(project, "/api/5/cohorts/request/c2").status == 404


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("reply: {status: 504}", (504, b"")),
        ("reply: {status: 200, body: {error: slow}}", (200, b'{"error":"slow"}')),
        ("ingest_then: {reply: {status: 500}}", (500, b"")),
    ],
)
def test_the_fault_script_holds_for_what_reads(serve: Serve, fault: str, seen: tuple[int, bytes]) -> None:
    server = serve(Project(), f"- when: {{path: /api/2/*}}\n  do: {{{fault}}}\n  times: 1\n")
    url, keys = server.url + "/api/2/events/list", ("key", "secret")
    assert requests.get(server.url + "/api/3/cohorts", auth=keys, timeout=10).status_code == 200
    reply = requests.get(url, auth=keys, timeout=10)
    assert (reply.status_code, reply.content) == seen
    assert requests.get(url, auth=keys, timeout=10).json() == {"data": []}
    assert server.stats()["reads"] == {str(seen[0]): 1 + (seen[0] == 200), "200": 2 + (seen[0] == 200)}
    assert server.stats()["requests"] == {}
