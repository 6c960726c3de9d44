"""The first line of the page: what is the case, and what to do next."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest

from braze_etl.cli import cli
from braze_etl.commands.report.page import PageVerdict, verdict
from tests.commands.report.conftest import Data

RUNBOOKS = Path(__file__).parents[3] / "docs" / "runbooks.md"
REFUSED = {"type": "KeyRefusedError", "message": "Amplitude refused the key (401)", "remedy": "Set another."}
FAILING = {"runs": 6, "all": False, "since": "2026-11-24T06:30:00Z", "exit_code": 1, "error": REFUSED}


def window(left: float | None, *, at_risk: bool = False) -> Data:
    return {"window": {"hours_left": left, "at_risk": at_risk}}


def judged(month: Data, *, failing: Data | None = None, **now: Any) -> PageVerdict:
    return verdict({**month, "failing": failing, "now": {**month["now"], **now}})


@pytest.mark.parametrize(
    ("left", "tone", "head", "text"),
    [
        (46.0, "good", "In time.", "46.0 of 48 hours are left."),
        (10.0, "warn", "At risk.", "10.0 of 48 hours are left."),
        (-3.5, "bad", "The window is missed.", "is 51.5 hours old; the objective is 48."),
        (None, "bad", "Never listed.", "No run has made a complete listing"),
    ],
)
def test_it_tells_how_the_window_stands(
    month: Data, left: float | None, tone: str, head: str, text: str
) -> None:
    said = judged(month, **window(left, at_risk=tone != "good"))
    assert (said.tone, said.head) == (tone, head)
    assert text in said.text


def test_a_source_that_has_gone_quiet_is_told_before_how_well_it_goes(month: Data) -> None:
    newest = {"newest_hour": "2026-10-01T05:00:00Z", "stale_after_hours": 24.0, "stale": True}
    said = judged(month, **window(47.0), source=newest)
    assert (said.tone, said.head) == ("warn", "The source is quiet.")
    assert "newest hour is" in said.text
    assert "No file" in judged(month, **window(47.0), source={**newest, "newest_hour": None}).text
    assert judged(month, **window(47.0), source={**newest, "stale": False}).tone == "good"


def test_failing_runs_are_never_green_and_bring_their_error_and_remedy(month: Data) -> None:
    said = judged(month, failing=FAILING, **window(42.2))
    assert (said.tone, said.head, said.remedy) == ("bad", "The last 6 runs failed.", "Set another.")
    assert said.text.startswith("Since 24 Nov 2026 06:30: Amplitude refused the key (401).")
    assert "42.2 of 48 hours are left." in said.text
    assert "in time" not in said.text


@pytest.mark.parametrize(
    ("runs", "every", "head"),
    [
        (1, False, "The last run failed."),
        (1, True, "The last run failed."),
        (200, True, "All 200 runs of this period failed."),
    ],
)
def test_it_says_how_many_failed(month: Data, runs: int, every: bool, head: str) -> None:
    assert judged(month, failing={**FAILING, "runs": runs, "all": every}).head == head


def test_a_run_that_was_killed_left_no_error_but_there_is_something_to_look_at(month: Data) -> None:
    said = judged(month, failing={**FAILING, "exit_code": None, "error": None})
    assert "killed before its end" in said.text
    assert "--max-runtime" in said.remedy


def test_work_that_was_left_with_nothing_delivered_leads_to_its_runbook(month: Data) -> None:
    error = {"type": "NoProgress", "message": "nothing was delivered: Amplitude throttled", "remedy": ""}
    said = judged(month, failing={**FAILING, "exit_code": 4, "error": error})
    assert said.tone == "bad"
    assert "Amplitude throttled" in said.text
    assert "BrazeEtlNoProgress" in [step.name for step in said.steps]


def test_nothing_is_foretold_from_runs_that_delivered_nothing(month: Data) -> None:
    said = judged(month, last_delivery=None)
    assert "12 files are due, and nothing was delivered yet." in said.text
    assert "Forecast" not in said.text


def test_a_backlog_that_will_be_too_late_is_not_in_time_today(month: Data) -> None:
    said = judged(month, forecast={"message": "30 files too late", "in_time": False})
    assert (said.tone, said.head) == ("warn", "Too slow.")


def test_a_pipeline_that_is_well_needs_no_next_step(month: Data) -> None:
    assert judged(month).steps == ()
    assert "All that was listed is delivered." in judged(month, backlog={"files": 0, "bytes": 0}).text


def troubled(month: Data) -> list[PageVerdict]:
    late = {"message": "30 files too late", "in_time": False}
    return [
        judged(month, failing=FAILING),
        judged(month, failing={**FAILING, "exit_code": None, "error": None}),
        judged(month, failing={**FAILING, "exit_code": 4, "error": None}),
        *(judged(month, **window(left, at_risk=True)) for left in (None, -1.0, 10.0)),
        judged(month, forecast=late),
        verdict({**month, "period": {**month["period"], "runs": 0}, "now": month["now"] | window(None)}),
    ]


def test_every_trouble_names_commands_and_runbooks_that_exist(month: Data) -> None:
    headings = re.findall(r"^## (.*)", RUNBOOKS.read_text(), flags=re.MULTILINE)
    commands = cli.list_commands(click.Context(cli))
    for said in troubled(month):
        assert len(said.steps) >= 2, said.head
        for step in said.steps:
            assert step.name in headings or step.name.removeprefix("braze-etl ") in commands
