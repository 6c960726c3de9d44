from __future__ import annotations

import re

from braze_etl.model import Reason
from braze_etl.quarantine.entry import Entry
from tests.quarantine.conftest import NOON, aside


def test_the_id_is_of_what_it_holds_and_not_of_when_or_who() -> None:
    first = Entry.of(aside(1), "run-1", NOON)
    again = Entry.of(aside(1, detail="other words"), "run-2", NOON.replace(hour=13))
    assert first.id == again.id
    assert re.fullmatch(r"[0-9a-f]{16}", first.id)


def test_whatever_differs_is_another_entry() -> None:
    different = [
        aside(1),
        aside(2),
        aside(None),
        aside(1, block=1024),
        aside(1, key="currents/b.avro"),
        aside(1, etag="e2"),
        aside(1, reason=Reason.SILENCED),
    ]
    assert len({Entry.of(each, "run-1", NOON).id for each in different}) == len(different)


def test_it_keeps_where_why_and_when() -> None:
    entry = Entry.of(aside(None, reason=Reason.DAMAGED_BLOCK), "run-1", NOON)
    assert (entry.run_id, entry.at, entry.reason) == ("run-1", NOON, Reason.DAMAGED_BLOCK)
    assert entry.position == aside(None).position
    assert entry.detail == "in Amplitude's words"


def test_a_long_detail_is_cut_and_what_utf8_cannot_hold_is_replaced() -> None:
    assert len(Entry.of(aside(1, detail="x" * 5000), "run-1", NOON).detail) == 1000
    assert Entry.of(aside(1, detail="a\udc80b"), "run-1", NOON).detail == "a?b"
