"""Totals by day, event types and one user, asked of the stand-in and of answers in another form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import orjson
import pytest

from braze_etl.amplitude.dashboard import (
    COST_SECONDS,
    DailyTotals,
    activity,
    event_types,
    find_user,
    insert_id_of,
)
from braze_etl.amplitude.rest import RestApi
from braze_etl.clock import ManualClock
from braze_etl.errors import ReadError
from braze_etl.sandbox.amplitude.event_store import Drops
from braze_etl.sandbox.amplitude.project import Project
from braze_etl.sandbox.amplitude.read_api import ReadOptions
from braze_etl.sandbox.server import SandboxServer
from tests.amplitude.exports import SECRET, ExportServer, settings
from tests.delivery.conftest import KEY
from tests.serving import serving, url_of

NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def project(clock: ManualClock) -> Project:
    reads = ReadOptions(SECRET, time_zone="America/New_York")
    drops = Drops(frozenset({"blocked"}))
    return Project(clock=lambda: clock.now().timestamp(), api_key=KEY, drops=drops, reads=reads)


@pytest.fixture
def api(project: Project, clock: ManualClock) -> Iterator[RestApi]:
    with SandboxServer(project) as server:
        one = RestApi(settings(server.url), clock)
        yield one
        one.close()


def take(project: Project, **event: Any) -> None:
    event = {"event_type": "opened", "user_id": "user-000001", **event}
    assert project.ingest("/batch", orjson.dumps({"api_key": KEY, "events": [event]})).status == 200


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def test_totals_are_those_of_days_in_the_projects_zone(
    api: RestApi, project: Project, clock: ManualClock
) -> None:
    for number, moment in enumerate(["2026-10-01T03:59Z", "2026-10-01T04:00Z", "2026-10-03T03:59Z"]):
        take(project, insert_id=str(number), time=ms(moment))
    totals = DailyTotals(api, clock).of("opened", date(2026, 9, 30), date(2026, 10, 3))
    assert totals == {
        date(2026, 9, 30): 1,
        date(2026, 10, 1): 1,
        date(2026, 10, 2): 1,
        date(2026, 10, 3): 0,
    }
    assert set(DailyTotals(api, clock).of('a "type"', date(2026, 9, 30), date(2026, 10, 3)).values()) == {0}


def test_totals_stay_below_what_a_project_may_spend(api: RestApi, clock: ManualClock) -> None:
    totals = DailyTotals(api, clock)
    for number in range(20):
        totals.of(f"type {number}", date(2026, 6, 1), date(2026, 9, 8))
    assert sum(clock.waits) == 2 * COST_SECONDS  # 8 of 100 days at once; the stand-in refused none


def test_event_types_tell_what_is_deleted(api: RestApi, project: Project) -> None:
    take(project)
    take(project, event_type="blocked")
    found = event_types(api)
    assert {name: (each.total, each.deleted) for name, each in found.items()} == {
        "opened": (1, False),
        "blocked": (0, True),
    }


def test_a_user_is_found_by_its_whole_id_and_its_events_come_page_by_page(
    api: RestApi, project: Project
) -> None:
    for number in range(1_203):
        take(project, insert_id=f"i{number}", time=ms("2026-10-01T00:00Z") + number)
    take(project, user_id="user-0000011", insert_id="other")
    take(project, user_id=None, device_id="device-7", insert_id="device's")
    person, device = find_user(api, "user-000001"), find_user(api, "device-7")
    assert person is not None
    assert device is not None
    assert find_user(api, "user-00000") is None
    assert find_user(api, str(person)) is None
    found = [insert_id_of(event) for event in activity(api, person)]
    assert found == [f"i{number}" for number in reversed(range(1_203))]
    assert len(list(activity(api, person, most=600))) == 1_000
    assert [insert_id_of(event) for event in activity(api, device)] == ["device's"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda api, clock: DailyTotals(api, clock).of("opened", date(2026, 9, 30), date(2026, 10, 3)),
        lambda api, _clock: event_types(api),
        lambda api, _clock: find_user(api, "user"),
        lambda api, _clock: list(activity(api, 7)),
    ],
)
@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"data": 1, "matches": {}, "events": "none"},
        {"data": {"xValues": ["2026-10-01"], "series": [[1, 2]]}},
        {"data": {"xValues": [1], "series": [["x"]]}, "matches": None, "events": None},
    ],
)
def test_an_answer_in_another_form_is_told_of(
    ask: Callable[[RestApi, ManualClock], Any], answer: dict[str, Any], clock: ManualClock
) -> None:
    with serving(ExportServer({})) as server:
        server.always = lambda handler: handler.answer(200, orjson.dumps(answer))
        with pytest.raises(ReadError, match="another form"):
            ask(RestApi(settings(url_of(server)), clock), clock)
