from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from braze_etl.model import Reason
from braze_etl.quarantine.entry import EVERYTHING, Entry, Selection
from tests.quarantine.conftest import NOON, aside

ENTRY = Entry.of(aside(1, key="currents/date=2026-10-05-11/x[1].avro"), "run-1", NOON)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("where", "matches"),
    [
        (EVERYTHING, True),
        (Selection(ids=frozenset({ENTRY.id})), True),
        (Selection(ids=frozenset({ENTRY.id[:6]})), False),
        (Selection(ids=frozenset()), False),
        (Selection(reasons=frozenset({Reason.REJECTED, Reason.SILENCED})), True),
        (Selection(reasons=frozenset({Reason.SILENCED})), False),
        (Selection(event_types=("users.messages.*",)), True),
        (Selection(event_types=("users.behaviors.*", "*.email.Open")), True),
        (Selection(event_types=("*.email.open",)), False),
        (Selection(event_types=("users.behaviors.*",)), False),
        (Selection(event_types=("!*.email.*",)), False),
        (Selection(event_types=("!*.sms.*",)), True),
        (Selection(event_types=("users.*", "!*.Open")), False),
        (Selection(files=(ENTRY.position.key,)), True),
        (Selection(files=("*/date=2026-10-05-*",)), True),
        (Selection(files=("currents/other.avro", "*.csv")), False),
        (Selection(since=NOON), True),
        (Selection(since=NOON + SECOND), False),
        (Selection(until=NOON + SECOND), True),
        (Selection(until=NOON), False),
        (Selection(reasons=frozenset({Reason.REJECTED}), since=NOON + SECOND), False),
    ],
)
def test_all_that_is_asked_for_must_hold(where: Selection, matches: bool) -> None:
    assert where.matches(ENTRY) is matches


@pytest.mark.parametrize("day", [date(2026, 10, 4), date(2026, 10, 5), date(2026, 10, 6)])
def test_days_outside_the_range_need_not_be_read(day: date) -> None:
    # 01:30 in Berlin is still the day before in UTC.
    since = datetime(2026, 10, 6, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert Selection(since=since).may_match_on(day) is (day >= date(2026, 10, 5))
    until = datetime(2026, 10, 5, tzinfo=UTC)
    assert Selection(until=until).may_match_on(day) is (day <= date(2026, 10, 5))
    assert EVERYTHING.may_match_on(day)
