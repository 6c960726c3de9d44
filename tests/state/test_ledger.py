from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from braze_etl.state.ledger import Backlog, BacklogLine

HOUR = datetime(2026, 10, 1, 5, tzinfo=UTC)
OPEN, CLICK = "users.messages.email.Open", "users.messages.email.Click"


def test_a_backlog_survives_its_way_through_json() -> None:
    backlog = Backlog(
        3,
        60,
        {CLICK: BacklogLine(1, 10), OPEN: BacklogLine(2, 50)},
        HOUR,
        {HOUR: BacklogLine(1, 10), HOUR + timedelta(hours=1): BacklogLine(2, 50)},
    )
    for each in (backlog, Backlog()):
        assert Backlog.from_dict(orjson.loads(orjson.dumps(each.as_dict()))) == each


def test_a_backlog_stored_without_hours_counts_as_of_its_oldest_hour() -> None:
    stored = {
        "files": 2,
        "bytes": 50,
        "oldest_hour": "2026-10-01T05:00:00Z",
        "by_event_type": {OPEN: [2, 50]},
    }
    assert Backlog.from_dict(stored).by_hour == {HOUR: BacklogLine(2, 50)}
    nothing: dict[str, Any] = {"files": 0, "bytes": 0, "oldest_hour": None, "by_event_type": {}}
    assert Backlog.from_dict(nothing) == Backlog()
