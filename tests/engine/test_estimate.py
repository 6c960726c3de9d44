from __future__ import annotations

from typing import Any

from braze_etl.engine.forecast import Density, Outlook
from braze_etl.state.ledger import Backlog, BacklogLine

OPEN, CLICK = "users.messages.email.Open", "users.messages.email.Click"


def report(size: int, read: int, event_type: str = OPEN) -> dict[str, Any]:
    return {"bytes_read": {event_type: size}, "by_event_type": {event_type: {"read": read}}}


def test_what_no_run_has_read_goes_by_a_rule_of_thumb() -> None:
    density = Density.of([])
    assert density.events(OPEN, BacklogLine(1, 3000 + 350 * 100)) == 100
    assert density.events(OPEN, BacklogLine(10, 10 * (3000 + 350 * 100))) == 1000


def test_a_file_holds_at_least_one_record() -> None:
    assert Density.of([]).events(OPEN, BacklogLine(7, 700)) == 7
    assert Density.of([report(1_000_000, 10)]).events(OPEN, BacklogLine(7, 700)) == 7


def test_what_runs_have_read_is_the_measure_for_its_type_alone() -> None:
    density = Density.of([report(100_000, 1000), report(100_000, 3000), report(99, 0, CLICK), {}])
    assert density.events(OPEN, BacklogLine(1, 50_000)) == 1000
    assert density.events(CLICK, BacklogLine(1, 3000 + 350)) == 1


def test_records_whose_files_were_not_done_do_not_make_the_others_small() -> None:
    broken = report(100_000, 5000)
    broken["repeats"] = {"by_event_type": {OPEN: {"read": 4000}}}
    assert Density.of([broken]).events(OPEN, BacklogLine(1, 50_000)) == 500


def test_where_the_events_are_known_they_are_not_estimated() -> None:
    backlog = Backlog(1, 10_000_000, {"a": BacklogLine(1, 10_000_000)})
    outlook = Outlook.of(backlog, [], 2000, events=2001)
    assert (outlook.events, outlook.requests, outlook.files) == (2001, 2, 1)
