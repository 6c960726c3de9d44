"""The page as text: what it says, and that it asks for nothing."""

from __future__ import annotations

import builtins
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from braze_etl.errors import UsageError
from braze_etl.report import render
from braze_etl.run.showing.history import History
from tests.report.conftest import Data, data_of
from tests.report.past import NOW, books, report, run


def words(page: str) -> str:
    """What is to be read on a page, without its scripts and style."""
    bare = re.sub(r"<(script|style).*?</\1>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bare))


def specs(page: str) -> dict[str, Any]:
    """The charts of a page, as they are handed to Vega-Lite."""
    (text,) = re.findall(r'id="specs">(.*?)</script>', page, flags=re.DOTALL)
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture(scope="module")
def page(month: Data) -> str:
    return render(month)


def test_the_page_tells_the_outcome_of_every_record(page: str, month: Data) -> None:
    for outcome in ("accepted", "filtered", "quarantined"):
        assert f"{month['outcomes'][outcome]:,}" in words(page)
    assert "412 entries kept now" in words(page)
    assert "250 open now" in words(page)


def test_every_chart_has_the_same_numbers_as_a_table(page: str) -> None:
    assert page.count("<details>") == len(specs(page)) == 8
    assert page.count('class="chart"') == 8


def test_the_page_shows_drift_and_the_budget(page: str) -> None:
    assert "users.messages.fax.Send" in words(page)
    assert "sent as mailbox_theme" in words(page)
    assert "62% of 20,000,000 spent" in json.dumps(specs(page)["budget"])
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
    page = render(data_of(History.of([run(NOW, report(NOW, {}))], NOW, 30, timedelta(hours=48))))
    for sentence in ("Nothing was delivered", "No record was quarantined", "No budget is configured"):
        assert sentence in words(page)
    assert "Every event type and field was as this release knows it." in words(page)
    assert set(specs(page)) == {"backlog_age"}


@pytest.mark.parametrize(
    ("left", "at_risk", "verdict"),
    [
        (46.0, False, "In time."),
        (10.0, True, "At risk."),
        (-3.5, True, "is 51.5 hours old; the objective is 48"),
    ],
)
def test_the_first_line_is_the_verdict(month: Data, left: float, at_risk: bool, verdict: str) -> None:
    now = {**month["now"], "window": {"hours_left": left, "at_risk": at_risk}}
    assert verdict in words(render({**month, "now": now}))


def test_names_from_files_cannot_break_out_of_the_page() -> None:
    bad = "</script><script>alert(1)</script><!--"
    told = run(NOW, report(NOW, {bad: books(5, 1)}, reasons={"held": 1}, latency=1.0))
    data = data_of(History.of([told], NOW, 30, timedelta(hours=48)))
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
    assert "braze-etl[report]" in caught.value.remedy


def test_one_run_of_one_second_makes_a_page() -> None:
    at = datetime(2026, 11, 24, 12, 29, 59, tzinfo=UTC)
    told = run(at, report(at, {"users.behaviors.Purchase": books(1)}, seconds=1, latency=0.5))
    charts = specs(render(data_of(History.of([told], NOW, 30, timedelta(hours=48)))))
    assert {"outcomes", "delivered", "latency", "backlog_age"} <= set(charts)
