from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import orjson

from braze_etl.engine.due import HOURS_KEPT, BacklogTally, by_age
from braze_etl.model import FileRef
from braze_etl.state.ledger import Backlog, BacklogLine

OPEN, CLICK = "users.messages.email.Open", "users.messages.email.Click"


def test_the_backlog_shrinks_as_files_are_delivered(make_ref: Callable[..., FileRef]) -> None:
    tally = BacklogTally()
    old, new = make_ref("a", hours_ago=9, size=10), make_ref("b", hours_ago=2, size=20, kind="Click")
    tally.discovered(old)
    tally.discovered(new)
    assert tally.backlog() == Backlog(
        2,
        30,
        {CLICK: BacklogLine(1, 20), OPEN: BacklogLine(1, 10)},
        old.hour,
        {old.hour: BacklogLine(1, 10), new.hour: BacklogLine(1, 20)},
    )
    tally.delivered(old)
    assert tally.backlog().oldest_hour == new.hour
    assert tally.backlog().by_hour == {new.hour: BacklogLine(1, 20)}
    tally.delivered(new)
    assert tally.backlog() == Backlog()


def test_a_backlog_of_years_stays_small_and_loses_no_file(make_ref: Callable[..., FileRef]) -> None:
    tally = BacklogTally()
    for hours_ago in range(1, 5001):
        tally.discovered(make_ref(f"{hours_ago}", hours_ago=hours_ago, size=10))
    backlog = tally.backlog()
    assert len(backlog.by_hour) == HOURS_KEPT + 1
    assert sum(line.files for line in backlog.by_hour.values()) == backlog.files == 5000
    assert backlog.oldest_hour is not None
    assert backlog.by_hour[backlog.oldest_hour] == BacklogLine(5000 - HOURS_KEPT, 10 * (5000 - HOURS_KEPT))
    assert len(orjson.dumps(backlog.as_dict())) < 10_000


def test_ages_follow_the_clock_and_name_every_bucket(make_ref: Callable[..., FileRef], now: datetime) -> None:
    tally = BacklogTally()
    for hours_ago in (1, 5, 6, 23, 24, 47, 48, 300):
        tally.discovered(make_ref(f"{hours_ago}", hours_ago=hours_ago, size=hours_ago))
    # 12:30, so that an hour is half an hour older than its number says.
    assert by_age(tally.backlog(), now) == {
        "under_6h": BacklogLine(2, 6),
        "6h_to_24h": BacklogLine(2, 29),
        "24h_to_48h": BacklogLine(2, 71),
        "over_48h": BacklogLine(2, 348),
    }
    assert sum(line.files for line in by_age(Backlog(), now).values()) == 0
