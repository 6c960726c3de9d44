from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from braze_etl.engine.report import RunReport, causes_of
from braze_etl.state.ledger import BacklogLine


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"warnings": Counter(nothing_selected=1)}, "nothing below source.uri is selected"),
        ({"archived": BacklogLine(7, 900)}, "7 files are archived"),
        ({"listing": {"unsettled": 3}}, "3 files are younger than source.settle"),
        ({"listing": {"foreign": 12}}, "12 objects below the source are no Currents files"),
        ({"changed": 2}, "2 files are left alone"),
    ],
)
def test_a_run_with_nothing_due_says_what_it_met(now: datetime, facts: dict[str, Any], words: str) -> None:
    report = RunReport("r1", "eu", "run", now, exit_code=0, **facts)
    (cause,) = causes_of(report)
    assert words in cause
    report.discovered = report.done = 1
    assert causes_of(report) == []


def test_a_run_that_found_everything_delivered_needs_no_cause(now: datetime) -> None:
    assert causes_of(RunReport("r1", "eu", "run", now, exit_code=0, listing={"requests": 3})) == []
