"""What the tests of the page share: data to show, and a browser if this machine has one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from braze_etl.commands.report.history import History
from tests.commands.report.browser import Page, find_chromium, open_browser
from tests.commands.report.past import NOW, busy_past

Data: TypeAlias = dict[str, Any]


def data_of(history: History, **now: Any) -> Data:
    """What `report --output json` prints of this history, for a pipeline that stands well."""
    standing: Data = {
        "window": {"hours_left": 46.9, "at_risk": False},
        "last_delivery": "2026-11-24T11:31:00Z",
        "last_delivery_age_hours": 0.98,
        "backlog": {"files": 12, "bytes": 1_800_000},
        "forecast": {"message": "1.8 MB take about a minute at 5.0 MB/s, all in time"},
        "deferred": 250,
        "quarantined": 412,
    }
    return {
        "pipeline": "acme-production",
        "generated_at": "2026-11-24T12:30:00Z",
        "objective_hours": 48.0,
        "warn_at_hours": 24.0,
        "now": {**standing, **now},
        **history.as_dict(),
    }


def bound(period: str, spent: int, limit: int, *, ends_at: str) -> Data:
    """A bound of the budget, with a warning from 80% on."""
    left, warned = max(0, limit - spent), spent >= 0.8 * limit
    return {
        "period": period,
        "spent": spent,
        "limit": limit,
        "left": left,
        "warned": warned,
        "ends_at": ends_at,
    }


def a_month() -> Data:
    """A month of an ordinary pipeline, with a budget and drift."""
    runs = list(busy_past(740))[::-1]
    data = data_of(History(runs, NOW, 30, timedelta(hours=48)))
    data["now"]["budget"] = {
        "month": bound("2026-11", 12_400_000, 20_000_000, ends_at="2026-12-01T00:00:00Z"),
        "day": bound("2026-11-24", 310_000, 800_000, ends_at="2026-11-25T00:00:00Z"),
        "cost": {"currency": "USD", "per_million": "15", "month": "186.00", "day": "4.65"},
        "stopped": [],
    }
    data["held"] = {"records": 1200, "event_types": ["users.canvas.Entry"]}
    new = {"was": None, "now": "string?", "outcome": "sent", "sent_as": "mailbox_theme"}
    fax = {"records": 1200, "outcome": "held", "name": "Fax Sent", "fields": 9}
    data["drift"]["unknown_event_types"] = {"users.messages.fax.Send": fax}
    data["drift"]["unknown_fields"] = {"users.messages.email.Open": {"mailbox_theme": new}}
    return data


@pytest.fixture(scope="session")
def month() -> Data:
    return a_month()


@pytest.fixture
def nothing() -> Data:
    """What there is to show before the first run."""
    forecast = {"message": "nothing is left"}
    return data_of(
        History([], NOW, 30, timedelta(hours=48)),
        window={"hours_left": None, "at_risk": True},
        last_delivery=None,
        last_delivery_age_hours=None,
        backlog={"files": 0, "bytes": 0},
        forecast=forecast,
        deferred=0,
        quarantined=0,
    )


@pytest.fixture(scope="session")
def browser() -> Iterator[Page]:
    """A tab of headless Chromium; without one the test is skipped, and a line says so."""
    program = find_chromium()
    if program is None:
        pytest.skip(
            "no Chromium here (Debian package chromium): the page of `report` was not tried in a browser"
        )
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        open_browser(program, Path(profile)) as page,
    ):
        yield page


@pytest.fixture(scope="session")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Writes a page to a file of that name."""
    folder = tmp_path_factory.mktemp("pages")

    def to_file(name: str, text: str) -> Path:
        path = folder / f"{name}.html"
        path.write_text(text, encoding="utf-8")
        return path

    return to_file
