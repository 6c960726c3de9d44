"""The bar: what it tells on a terminal, that it is silent elsewhere, and that nothing garbles anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from braze_etl.commands._progress import Bar, bar_on, progress_for
from braze_etl.engine.forecast import Outlook
from braze_etl.engine.tasks import Settlement
from braze_etl.model import Counts, FileRef, FileSettlement, FileState, Tally
from tests.commands.terminal import on_a_terminal, plain
from tests.workplace import KEY, Workplace

NOW = datetime(2026, 11, 24, tzinfo=UTC)
OPEN = "users.messages.email.Open"


@dataclass
class Screen:
    """A terminal whose time goes by when told to."""

    width: int = 100
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self._output = StringIO()

    @contextmanager
    def bar(self) -> Iterator[Bar]:
        console = Console(
            file=self._output, force_terminal=True, width=self.width, color_system=None, soft_wrap=True
        )
        with bar_on(console, lambda: self.seconds) as bar:
            yield bar

    def line(self, bar: Bar) -> str:
        """The bar as it is to be seen now."""
        bar._progress.refresh()
        return plain(self._output.getvalue()).splitlines()[-1].rstrip()


def came_back(files: int, events: int, size: int = 1_000_000) -> Settlement:
    """A task of so many files that are done."""
    done = [
        FileSettlement(FileRef(str(number), "e", size, NOW, OPEN, NOW), FileState.DONE)
        for number in range(files)
    ]
    return Settlement(0, files=done, counts=Counts({OPEN: Tally(accepted=events)}))


def test_it_tells_what_is_done_before_a_run_begins() -> None:
    screen = Screen()
    with screen.bar() as bar:
        bar.doing("reading files", 2_000_000, None)
        assert "reading files" in screen.line(bar)
        bar.doing("reading the export", 1, 2)
        assert "reading the export" in screen.line(bar)


def test_it_tells_files_events_a_second_requests_and_the_time_left() -> None:
    screen = Screen()
    with screen.bar() as bar:
        assert "listing" in screen.line(bar)
        bar.discovered(Outlook(10, 10_000_000, 60_000, 30, None), {})
        bar.in_flight(3)
        screen.seconds = 10
        bar.settled(came_back(2, 12_000))
        screen.seconds = 20
        bar.settled(came_back(2, 12_000))
        shown = screen.line(bar)
    assert "delivering" in shown
    assert "4/10 files  1,200 events/s  3 in flight" in shown
    assert shown.endswith("0:00:30 left")


def test_before_anything_is_measured_the_time_left_is_that_of_past_runs() -> None:
    screen = Screen()
    with screen.bar() as bar:
        bar.discovered(Outlook(10, 10_000_000, 60_000, 30, 90.0), {})
        screen.seconds = 30
        assert screen.line(bar).endswith("0:01:00 left")


def test_what_a_sweep_finds_later_adds_to_what_is_done() -> None:
    screen = Screen()
    with screen.bar() as bar:
        bar.discovered(Outlook(2, 2_000_000, 100, 1, None), {})
        screen.seconds = 1
        bar.settled(came_back(2, 100))
        bar.discovered(Outlook(3, 3_000_000, 100, 1, None), {})
        assert "2/5 files" in screen.line(bar)


def test_a_deferred_file_that_is_taken_up_again_counts_once() -> None:
    screen = Screen()
    with screen.bar() as bar:
        bar.discovered(Outlook(1, 1_000_000, 100, 1, None), {})
        bar.settled(came_back(1, 50))
        bar.settled(came_back(1, 50))
        assert "1/1 files" in screen.line(bar)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_it_fits_on_a_line_of_any_terminal(width: int) -> None:
    screen = Screen(width)
    with screen.bar() as bar:
        bar.discovered(Outlook(12_345, 10**9, 60_000, 30, 4_000.0), {})
        screen.seconds = 1
        bar.in_flight(16)
        bar.settled(came_back(1_234, 12_345, 100))
        assert len(screen.line(bar)) <= width
        assert "1,234/12,345 files" in screen.line(bar)


def test_elsewhere_it_writes_nothing() -> None:
    stream = StringIO()
    with progress_for(stream) as silence:
        silence.discovered(Outlook(1, 1, 1, 1, None), {})
        silence.settled(came_back(1, 1))
        silence.in_flight(2)
    assert stream.getvalue() == ""


@pytest.fixture
def place(workplace: Workplace) -> Workplace:
    workplace.configure(amplitude={"api_key": KEY})
    workplace.export(events=600, hours=2)
    return workplace


@pytest.mark.parametrize("command", [("run",), ("backfill", "--from", "2026-10-01", "--to", "2026-10-02")])
def test_a_terminal_sees_the_bar_and_stdout_only_the_report(
    place: Workplace, command: tuple[str, ...]
) -> None:
    code, out, told = on_a_terminal(place, *command, "--output", "json")
    report = json.loads(out)
    assert report["exit_code"] == code
    files = report["files"]["discovered"]
    shown = plain(told)
    assert f"{files:,} files, " in shown
    assert f"{files}/{files} files" in shown
    assert "events/s" in shown
    assert "in flight" in shown


def test_lines_of_the_log_stand_on_lines_of_their_own_beside_the_bar(place: Workplace) -> None:
    _, _, told = on_a_terminal(place, "run", "--log-level", "info", "--log-format", "json", width=80)
    lines = [line for line in plain(told).splitlines() if '"message"' in line or line.startswith("{")]
    said = [json.loads(line)["message"] for line in lines]
    assert "run begins" in said
    assert "run ends" in said


def test_without_a_terminal_there_is_no_bar(place: Workplace) -> None:
    ended = place.do("run", "--output", "json")
    assert ended.json["files"]["done"] == ended.json["files"]["discovered"]
    assert "\x1b" not in ended.err
    assert "in flight" not in ended.err
    assert all(json.loads(line)["message"] for line in ended.err.splitlines())
