"""The page in headless Chromium: it draws everything, asks for nothing, and can be read."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from braze_etl.report import render
from braze_etl.run.showing.history import History
from tests.report.browser import Page
from tests.report.conftest import Data, data_of
from tests.report.past import NOW, busy_past

pytestmark = pytest.mark.xdist_group("chromium")

SIZES = {
    "a phone": (390, 844, False),
    "a phone in the dark": (390, 844, True),
    "a wide screen": (1440, 900, False),
    "a wide screen in the dark": (1440, 900, True),
}
_CONTRAST = """
(() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number)
      .map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *:not(script)")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const ink = element instanceof SVGElement ? style.fill : style.color;
    const [low, high] = [light(ink), light(ground(element))].sort((a, b) => a - b);
    if ((high + 0.05) / (low + 0.05) < 4.5) poor.push([element.textContent.trim().slice(0, 40), ink]);
  }
  return poor;
})()
"""


@pytest.fixture(scope="module")
def page(month: Data, write: Callable[[str, str], Path]) -> Path:
    return write("month", render(month))


@pytest.fixture(scope="module", params=list(SIZES))
def seen(request: pytest.FixtureRequest, browser: Page, page: Path) -> Page:
    """The page of a month on each kind of screen."""
    width, height, dark = SIZES[request.param]
    browser.show(page, width, height, dark=dark)
    return browser


def pixels(png: bytes) -> bytes:
    """The filtered pixel rows of a PNG, good enough to count its values."""
    data, at = b"", 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    return zlib.decompress(data)


def test_the_page_is_drawn_without_a_complaint_and_without_a_request(seen: Page, page: Path) -> None:
    assert seen.complaints == []
    assert seen.requests == [page.as_uri()]
    assert len(set(pixels(seen.picture()))) > 40


def test_the_page_never_scrolls_sideways(seen: Page) -> None:
    width = seen.ask("innerWidth")
    assert seen.ask("document.documentElement.scrollWidth") <= width
    right = "[...document.querySelectorAll('.chart svg')].map((each) => each.getBoundingClientRect().right)"
    assert max(seen.ask(right)) <= width


def test_all_text_stands_out_from_its_ground(seen: Page) -> None:
    assert seen.ask(_CONTRAST) == []


def test_labels_of_bars_do_not_run_into_their_figures(seen: Page) -> None:
    overlaps = """
    [...document.querySelectorAll('.chart')].flatMap((chart) => {
      const boxes = [...chart.querySelectorAll('g.mark-text text')].map((t) => t.getBoundingClientRect());
      return boxes.filter((a, i) => boxes.some((b, j) => j > i && a.left < b.right && b.left < a.right
        && a.top + 3 < b.bottom && b.top + 3 < a.bottom)).map(() => chart.id);
    })
    """
    assert seen.ask(overlaps) == []


def test_every_chart_has_its_data(browser: Page, page: Path, month: Data) -> None:
    browser.show(page, 1440, 900)
    rows = browser.ask(
        "window.charts.then((views) => Object.fromEntries("
        "Object.entries(views).map(([name, view]) => [name, view.data('rows')])))"
    )
    assert sum(row["records"] for row in rows["delivered"]) == month["outcomes"]["accepted"]
    assert len(rows["outcomes"]) == 3 * len(month["by_event_type"])
    assert len(rows["latency"]) == len(month["latency"])
    assert len(rows["backlog_age"]) == len(month["backlog"])
    assert {row["value"] for row in rows["quarantined"]} == set(month["reasons"]["quarantined"].values())
    assert {row["value"] for row in rows["filtered"]} == set(month["reasons"]["filtered"].values())
    assert [row["value"] for row in rows["budget"]] == [12_400_000, 7_600_000, 310_000, 490_000]
    assert max(row["value"] for row in rows["backlog"]) == max(each["bytes"] for each in month["backlog"])


def test_every_chart_draws_marks(browser: Page, page: Path) -> None:
    browser.show(page, 1440, 900)
    marks = browser.ask(
        "Object.fromEntries([...document.querySelectorAll('.chart')].map((chart) => [chart.id,"
        " chart.querySelectorAll('svg .mark-rect path, svg .mark-line path').length]))"
    )
    assert len(marks) == 8
    assert all(marks.values())


def test_the_switch_goes_from_the_scheme_of_the_system_to_light_and_dark(browser: Page, page: Path) -> None:
    browser.show(page, 1440, 900, dark=True)
    shown = []
    for _ in range(4):
        shown.append(
            (
                browser.ask("theme.textContent.trim()"),
                browser.ask("getComputedStyle(document.body).backgroundColor"),
            )
        )
        browser.ask("theme.click()")
    dark, light = "rgb(16, 19, 24)", "rgb(244, 245, 247)"
    assert shown == [
        ("Theme: auto", dark),
        ("Theme: light", light),
        ("Theme: dark", dark),
        ("Theme: auto", dark),
    ]


def test_a_page_without_a_history_is_no_blank_and_no_error(
    browser: Page, nothing: Data, write: Callable[[str, str], Path]
) -> None:
    browser.show(write("empty", render(nothing)), 390, 844)
    assert browser.complaints == []
    assert "No run yet" in browser.ask("document.body.innerText")


def test_days_without_a_run_are_to_be_seen_as_such(browser: Page, write: Callable[[str, str], Path]) -> None:
    old = [each for each in busy_past(240) if each.started_at < NOW - timedelta(days=5)]
    data = data_of(History.of(old[::-1], NOW, 30, timedelta(hours=48)))
    browser.show(write("silence", render(data)), 1440, 900)
    reach = """
    ((name, mark) => {
      const boxes =
        [...document.querySelectorAll(`#chart-${name} .mark-${mark} path`)].map((p) => p.getBBox());
      const right = Math.max(...boxes.filter((box) => box.height).map((box) => box.x + box.width));
      return right / document.querySelector(`#chart-${name} .background`).getBBox().width;
    })
    """
    assert 0.4 < browser.ask(f"{reach}('delivered', 'rect')") < 0.6
    assert 0.4 < browser.ask(f"{reach}('backlog_age', 'line')") < 0.6
