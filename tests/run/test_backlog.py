from __future__ import annotations

from collections.abc import Callable

from braze_etl.checkpoint import Backlog, BacklogLine
from braze_etl.model import FileRef
from braze_etl.run.backlog import BacklogTally


def test_the_backlog_shrinks_as_files_are_delivered(make_ref: Callable[..., FileRef]) -> None:
    tally = BacklogTally()
    old, new = make_ref("a", hours_ago=9, size=10), make_ref("b", hours_ago=2, size=20, kind="Click")
    tally.discovered(old)
    tally.discovered(new)
    assert tally.backlog() == Backlog(
        2,
        30,
        {"users.messages.email.Click": BacklogLine(1, 20), "users.messages.email.Open": BacklogLine(1, 10)},
        old.hour,
    )
    tally.delivered(old)
    assert tally.backlog().oldest_hour == new.hour
    tally.delivered(new)
    assert tally.backlog() == Backlog()
