from __future__ import annotations

from datetime import UTC, datetime, timedelta

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
