"""The page in headless Chromium: it draws everything, asks for nothing, and can be read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from braze_etl.commands.report.history import History
from braze_etl.commands.report.page import render
from tests.commands.report.browser import Page
from tests.commands.report.conftest import Data, data_of
from tests.commands.report.past import NOW, books, busy_past, report, run

pytestmark = pytest.mark.xdist_group("chromium")

SIZES = {
    "a phone": (360, 740, False),
    "a phone in the dark": (360, 740, True),
    "a tablet": (820, 1180, False),
    "a desk": (1280, 900, False),
    "a desk in the dark": (1280, 900, True),
    "a wide screen": (1920, 1080, False),
}
LONG = (
    "users.behaviors.liveactivity.PushToStartTokenChange",
    "users.behaviors.pushnotification.TokenStateChange",
    "users." + "x" * 194,
)
_OVERLAPS = """
[...document.querySelectorAll('.chart')].flatMap((chart) => {
  const boxes = [...chart.querySelectorAll('g.mark-text text')].map((t) => t.getBoundingClientRect());
  return boxes.filter((a, i) => boxes.some((b, j) => j > i && a.left < b.right && b.left < a.right
    && a.top + 3 < b.bottom && b.top + 3 < a.bottom)).map(() => chart.id);
})
"""
_SHOW_MARKS = """
((visibility) => document.querySelectorAll('.mark-rect, .mark-area, .mark-line, .mark-symbol')
  .forEach((mark) => { mark.style.visibility = visibility; }))
"""
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


def test_the_page_is_drawn_without_a_complaint_and_without_a_request(seen: Page, page: Path) -> None:
    assert seen.complaints == []
    assert seen.requests == [page.as_uri()]


def test_every_chart_shows_its_marks(seen: Page) -> None:
    assert least_ink_of_marks(seen) > 0.002


def least_ink_of_marks(page: Page) -> float:
    """Of all charts, the smallest share of the box that is covered by what stands for data."""
    drawn = page.inked()
    page.ask(f"{_SHOW_MARKS}('hidden')")
    bare = page.inked()
    page.ask(f"{_SHOW_MARKS}('')")
    assert max(drawn.values()) < 0.9
    return min(drawn[name] - bare[name] for name in drawn)


def test_the_page_never_scrolls_sideways(seen: Page) -> None:
    assert_nothing_sticks_out(seen)


def assert_nothing_sticks_out(page: Page) -> None:
    width = page.ask("innerWidth")
    assert page.ask("document.documentElement.scrollWidth") <= width
    right = "[...document.querySelectorAll('.chart svg')].map((each) => each.getBoundingClientRect().right)"
    assert max(page.ask(right)) <= width
    broken = (
        "[...document.querySelectorAll('.tile strong')].filter((each) => each.scrollWidth > each.clientWidth)"
    )
    assert page.ask(f"{broken}.map((each) => each.textContent)") == []


def test_all_text_stands_out_from_its_ground(seen: Page) -> None:
    assert seen.ask(_CONTRAST) == []


def test_labels_of_bars_do_not_run_into_their_figures(seen: Page) -> None:
    assert seen.ask(_OVERLAPS) == []


@pytest.mark.parametrize("width", [360, 820])
def test_long_names_and_large_numbers_have_room(
    browser: Page, write: Callable[[str, str], Path], width: int
) -> None:
    lines = {name: books(3_000_000_000, 40_000_000, 2) for name in LONG}
    reasons = {"no_identity": 120_000_000, "a_rule_" + "y" * 150: 77, "rejected": 6}
    told = run(NOW, report(NOW, lines, reasons=reasons, latency=1.2))
    data = data_of(History([told], NOW, 30, timedelta(hours=48)))
    browser.show(write("long", render(data)), width, 740)
    assert_nothing_sticks_out(browser)
    assert browser.ask(_OVERLAPS) == []
    bars = (
        "[...document.querySelectorAll('#chart-outcomes .mark-rect path')].map((bar) => bar.getBBox().width)"
    )
    chart = browser.ask("document.querySelector('#chart-outcomes').getBoundingClientRect().width")
    assert max(browser.ask(bars)) > 0.95 * chart


def test_the_very_first_page_shows_its_single_point(browser: Page, write: Callable[[str, str], Path]) -> None:
    at = NOW - timedelta(minutes=3)
    told = report(
        at, {LONG[0]: books(900, 5, 1)}, reasons={"no_identity": 5, "rejected": 1}, latency=0.7, left=9
    )
    data = data_of(History([run(at, told)], NOW, 30, timedelta(hours=48)))
    browser.show(write("first", render(data)), 1280, 900)
    labels = (
        "[...document.querySelectorAll('#chart-latency .role-axis-label text')].map((t) => t.textContent)"
    )
    times = [label for label in browser.ask(labels) if ":" in label]
    assert len(set(times)) == len(times) >= 3
    assert set(browser.inked()) == {"latency", "backlog_age", "delivered", "outcomes"}
    assert least_ink_of_marks(browser) > 0.0002


def test_a_page_that_was_switched_to_dark_is_printed_dark_on_light_and_whole(
    browser: Page, page: Path
) -> None:
    browser.show(page, 718, 1000, dark=True)
    browser.ask("theme.click(), theme.click()")
    browser.call("Emulation.setEmulatedMedia", media="print", features=[])
    assert browser.ask("root.dataset.theme") == "dark"
    assert browser.ask("getComputedStyle(document.querySelector('h1')).color") == "rgb(27, 31, 36)"
    assert browser.ask("document.documentElement.scrollWidth") <= 718
    cut = "[...document.querySelectorAll('.scroll')].filter((each) => each.scrollHeight > each.clientHeight)"
    assert browser.ask(f"{cut}.length") == 0
    legend = "getComputedStyle(document.querySelector('.legend i')).printColorAdjust"
    assert browser.ask(legend) == "exact"


def test_every_chart_has_its_data(browser: Page, page: Path, month: Data) -> None:
    browser.show(page, 1440, 900)
    rows = browser.ask(
        "window.charts.then((views) => Object.fromEntries("
        "Object.entries(views).map(([name, view]) => [name, view.data('rows')])))"
    )
    assert sum(row["records"] for row in rows["delivered"]) == month["outcomes"]["accepted"]
    assert len(rows["outcomes"]) == 3 * len(month["by_event_type"])
    assert len(rows["latency"]) == len(month["latency"])
    assert len(rows["backlog_age"]) == len(month["backlog_age"])


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
    data = data_of(History(old[::-1], NOW, 30, timedelta(hours=48)))
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
