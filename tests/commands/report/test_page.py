"""The page as text: what it says, and that it asks for nothing."""

from __future__ import annotations

import builtins
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from braze_etl.commands.report.history import History
from braze_etl.commands.report.page import render
from braze_etl.errors import UsageError
from braze_etl.model import Reason
from braze_etl.state.ledger import RunRecord
from tests.commands.report.conftest import Data, bound, data_of
from tests.commands.report.past import NOW, books, report, run
from tests.monitoring.verified import note


def words(page: str) -> str:
    """What is to be read on a page, without its scripts and style."""
    bare = re.sub(r"<(script|style).*?</\1>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bare))


def specs(page: str) -> dict[str, Any]:
    """The charts of a page, as they are handed to Vega-Lite."""
    (text,) = re.findall(r'id="specs">(.*?)</script>', page, flags=re.DOTALL)
    found: dict[str, Any] = json.loads(text)
    return found


def made_of(*told: RunRecord, **now: Any) -> str:
    """The page of these runs, given the newest first."""
    return render(data_of(History(told, NOW, 30, timedelta(hours=48)), **now))


@pytest.fixture(scope="module")
def page(month: Data) -> str:
    return render(month)


def test_the_page_tells_the_outcome_of_every_record(page: str, month: Data) -> None:
    for outcome in ("accepted", "filtered", "quarantined"):
        assert f"{month['outcomes'][outcome]:,}" in words(page)
    assert "412 kept now: braze-etl quarantine list" in words(page)
    assert "250 open now" in words(page)


@pytest.mark.parametrize(
    ("missing", "repaired", "said"), [(25, 20, "5 missing"), (25, 25, "all there"), (0, 0, "all there")]
)
def test_the_newest_verification_is_a_tile(missing: int, repaired: int, said: str) -> None:
    shown = words(made_of(run(NOW, report(NOW, {})), verification=note(missing, repaired=repaired)))
    assert f"Verified {said} of 1,000 events" in shown
    assert "Verified" not in words(made_of(run(NOW, report(NOW, {})), verification=None))


def test_every_chart_has_the_same_numbers_as_a_table(page: str) -> None:
    assert list(specs(page)) == ["latency", "backlog_age", "delivered", "outcomes"]
    assert page.count("<details>") == page.count('class="chart"') == 4


def test_the_same_numbers_reach_the_charts(page: str, month: Data) -> None:
    rows = {name: spec["data"]["values"] for name, spec in specs(page).items()}
    assert sum(row["records"] for row in rows["delivered"]) == month["outcomes"]["accepted"]
    assert len(rows["outcomes"]) == 3 * len(month["by_event_type"])
    for name in ("latency", "backlog_age"):
        assert [row["hours"] for row in rows[name]] == [each["hours"] for each in month[name]]


def test_reasons_and_the_backlog_are_tables(page: str, month: Data) -> None:
    for outcome in ("filtered", "quarantined"):
        for reason, records in month["reasons"][outcome].items():
            assert f"{reason}: {Reason(reason).meaning} {records:,} " in words(page)
    worst = max(month["backlog_size"], key=lambda each: each["bytes"])
    assert f" {worst['files']:,} {worst['bytes'] / 1e6:.1f} MB " in words(page)


def test_every_table_has_a_name(page: str) -> None:
    tables = re.findall(r"<table[^>]*>\s*(<\w+>)", page)
    assert tables == ["<caption>"] * 10


def test_the_page_shows_drift_and_the_budget(page: str) -> None:
    assert "users.messages.fax.Send" in words(page)
    assert "sent as mailbox_theme" in words(page)
    assert "month 2026-11 62% of 20,000,000 12,400,000 7,600,000" in words(page)
    assert "day 2026-11-24 38.8% of 800,000 310,000 490,000" in words(page)
    assert "186.00 USD this month" in words(page)
    assert "held 1,200 records of canvas.Entry" in words(page)


def test_the_page_names_no_other_place(page: str) -> None:
    bare = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert re.findall(r"(?:src|href)=\"?([^\s\">]*)", bare) == ["data:,"]
    assert not re.findall(r"https?://", bare)
    assert "default-src 'none'" in bare


def test_a_month_makes_a_page_below_one_and_a_half_megabytes(page: str) -> None:
    assert len(page.encode()) < 1_500_000


def test_an_empty_history_says_so(nothing: Data) -> None:
    page = render(nothing)
    assert "No run yet" in words(page)
    assert "Never listed." in words(page)
    assert specs(page) == {}


def test_a_quiet_pipeline_has_words_in_place_of_charts() -> None:
    page = made_of(run(NOW, report(NOW, {})))
    for sentence in ("Nothing was delivered", "No record was quarantined", "No budget is configured"):
        assert sentence in words(page)
    assert "Every event type and field was as this release knows it." in words(page)
    assert "Every run that came to its end had cleared what was due." in words(page)
    assert set(specs(page)) == {"backlog_age"}


def failed(hours_ago: int) -> RunRecord:
    at = NOW - timedelta(hours=hours_ago)
    error = {"type": "KeyRefusedError", "message": "The key was refused (401).", "remedy": "Set another."}
    return run(at, report(at, {}, exit_code=1, error=error, window=None, forecast=None))


def test_when_all_runs_fail_the_page_is_red_and_says_why_and_what_to_do() -> None:
    page = made_of(*map(failed, range(1, 7)), last_delivery=None)
    said = words(page)
    assert 'class="verdict bad"' in page
    assert "All 6 runs of this period failed. Since 24 Nov 2026 06:30: The key was refused (401)." in said
    assert "Remedy: Set another." in said
    assert "braze-etl doctor" in said
    assert "in time" not in said.lower()
    assert said.count("The key was refused (401).") == 7, "once for all, and beside each run"
    assert "No run of this period got as far as counting what it left." in said


def test_a_run_at_work_is_no_trouble_and_a_killed_one_is() -> None:
    begun = RunRecord("r1", "run", NOW)
    working = History([begun, run(NOW, report(NOW, {}))], NOW, 30, timedelta(hours=48), "r1")
    page = render(data_of(working))
    assert "at work 1 run: at work now" in words(page)
    assert "killed" not in words(page)
    assert "killed 1 run: killed: it has no end and no report" in words(made_of(begun))


def test_a_history_that_is_shorter_than_asked_for_says_so(page: str) -> None:
    told = "Asked for 30 days, but the state keeps no older run."
    at = NOW - timedelta(minutes=5)
    assert f"1 run, 24 Nov 2026 12:25 to 24 Nov 2026 12:30. {told}" in words(made_of(run(at, report(at, {}))))
    assert told not in words(page)


def test_a_budget_that_is_exceeded_says_by_how_much_and_until_when(month: Data) -> None:
    budget = {
        "month": bound("2026-11", 3_910, 3_000, ends_at="2026-12-01T00:00:00Z"),
        "day": bound("2026-11-24", 850, 1_000, ends_at="2026-11-25T00:00:00Z"),
    }
    page = render({**month, "now": {**month["now"], "budget": budget}})
    assert "month 2026-11 130.3% of 3,000 3,910 0" in words(page)
    assert "day 2026-11-24 85% of 1,000 850 150" in words(page)
    assert "Of the month nothing is left until 1 Dec 2026 00:00." in words(page)
    assert "Of the day nothing" not in words(page)


def test_of_many_types_that_the_budget_held_a_few_are_named(month: Data) -> None:
    held = {"records": 9, "event_types": [f"users.type.{number:02}" for number in range(73)]}
    page = render({**month, "held": held})
    assert "held 9 records of type.00, type.01, type.02 and 70 others." in words(page)


def test_a_reason_of_another_release_has_its_name_alone() -> None:
    told = run(NOW, report(NOW, {"a.B": books(filtered=2)}, reasons={"a_later_rule": 2}))
    assert " a_later_rule 2 100% " in words(made_of(told))


def test_names_from_files_cannot_break_out_of_the_page() -> None:
    bad = "</script><script>alert(1)</script><!--"
    told = run(NOW, report(NOW, {bad: books(5, 1)}, reasons={"held": 1}, latency=1.0))
    data = data_of(History([told], NOW, 30, timedelta(hours=48)))
    page = render({**data, "pipeline": bad})
    assert bad not in page
    assert "alert(1)" in page
    assert any(row["label"] == bad for row in specs(page)["outcomes"]["data"]["values"])


def test_without_the_libraries_it_says_what_to_install(
    nothing: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **more: Any) -> Any:
        if name == "vl_convert":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UsageError, match="vl_convert") as caught:
        render(nothing)
    assert "from the checkout with pip install '.[report]'" in caught.value.remedy


def test_one_run_of_one_second_makes_a_page() -> None:
    at = datetime(2026, 11, 24, 12, 29, 59, tzinfo=UTC)
    told = run(at, report(at, {"users.behaviors.Purchase": books(1)}, seconds=1, latency=0.5))
    charts = specs(made_of(told))
    assert {"outcomes", "delivered", "latency", "backlog_age"} <= set(charts)
