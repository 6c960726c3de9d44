"""Daily totals, asked of the stand-in: what lacks at least, and what of the calendar is asked for."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

import orjson

from braze_etl.amplitude.dashboard import DailyTotals
from braze_etl.amplitude.rest import RestApi
from braze_etl.clock import ManualClock
from braze_etl.flows.currents_to_amplitude.verification.comparison import Result
from braze_etl.flows.currents_to_amplitude.verification.counts import DayCount, compare_counts
from braze_etl.sandbox.amplitude.project import Project
from braze_etl.sandbox.amplitude.read_api import ReadOptions
from braze_etl.sandbox.server import SandboxServer
from tests.amplitude.exports import SECRET, settings
from tests.delivery.conftest import KEY

OPEN, NAME = "users.messages.email.Open", "opened"


def test_an_event_of_years_ago_makes_nobody_ask_for_all_days_since() -> None:
    clock = ManualClock(datetime(2026, 10, 9, 12, tzinfo=UTC))
    project = Project(clock=lambda: clock.now().timestamp(), api_key=KEY, reads=ReadOptions(SECRET))
    held = ("2021-03-04", "2026-10-01", "2026-10-07")
    for number, day in enumerate(held):
        time = int(datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp() * 1000)
        event = {"event_type": NAME, "user_id": "user-000001", "insert_id": f"id-{number}", "time": time}
        assert project.ingest("/batch", orjson.dumps({"api_key": KEY, "events": [event]})).status == 200
    result = Result()
    tally = result.tallies[OPEN, NAME]
    tally.expected = tally.present = 4
    result.days.update({(NAME, day): 1 for day in held})
    result.days[NAME, "2026-10-01"] += 1
    with SandboxServer(project) as server, closing(RestApi(settings(server.url), clock)) as api:
        counts = list(compare_counts(result, DailyTotals(api, clock)))
    assert counts == [DayCount(NAME, day, 2 if day == "2026-10-01" else 1, 1) for day in held]
    assert (tally.present, tally.missing) == (3, 1)
    assert clock.waits == []
