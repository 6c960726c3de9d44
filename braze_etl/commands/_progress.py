"""A run as it advances: a bar on a terminal, and nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from braze_etl.engine.forecast import Outlook
from braze_etl.engine.run import Watcher
from braze_etl.engine.tasks import Settlement

_MEMORY: Final = 600.0
"""Seconds whose speed foretells the time left: a task of a throttled project may take minutes."""


@contextmanager
def progress_for(stream: TextIO) -> Iterator[Silence]:
    """Show progress on *stream* if it is a terminal; lines of the log then appear above the bar.

    Nothing is written to stdout, which may be a file or a pipe that waits for the report.
    """
    if not stream.isatty():
        yield Silence()
        return
    # Lines of the log are not wrapped: one of JSON is still one when it is copied from the terminal.
    with bar_on(Console(file=stream, soft_wrap=True)) as bar:
        yield bar


@contextmanager
def bar_on(console: Console, seconds: Callable[[], float] | None = None) -> Iterator[Bar]:
    """A bar that vanishes when it is done with; *seconds* is the clock of its speed."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4)),
        TextColumn("{task.fields[facts]}", table_column=Column(no_wrap=True)),
        _TimeLeft(table_column=Column(no_wrap=True)),
        console=console,
        transient=True,
        expand=True,
        redirect_stdout=False,
        speed_estimate_period=_MEMORY,
        get_time=seconds,
    ) as progress:
        yield Bar(progress)


class Silence(Watcher):
    """Elsewhere the log has a line for what matters."""

    def in_flight(self, requests: int) -> None:
        """So many requests are under way."""

    def doing(self, what: str, done: int, total: int | None) -> None:
        """Before a run begins: what is done, so far, and of so much."""


class Bar(Silence):
    """It is as long as the bytes are; people are told of files."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("listing", total=None, start=False, facts="", expected=None)
        self._files = self._due = self._events = self._requests = 0

    def discovered(self, outlook: Outlook, warnings: Mapping[str, int]) -> None:
        """So much is due: all of it, or all that is still left when this is told again."""
        takes = "" if outlook.seconds is None else f", about {timedelta(seconds=round(outlook.seconds))}"
        self._progress.console.print(
            f"{outlook.files:,} files, {outlook.bytes / 1e6:,.1f} MB, about {outlook.events:,} events"
            f" in {outlook.requests:,} requests{takes}",
            highlight=False,
        )
        self._due = self._files + outlook.files
        done = self._progress.tasks[0].completed
        self._progress.start_task(self._task)
        self._progress.update(
            self._task, description="delivering", total=done + outlook.bytes, expected=outlook.seconds
        )
        self._show()

    def settled(self, settlement: Settlement) -> None:
        """A task came back; a file that was deferred and is taken up again does not count twice."""
        done = [file.ref.size for file in settlement.files if file.state is not None]
        self._files = min(self._files + len(done), self._due)
        self._events += settlement.counts.total.read
        self._progress.update(self._task, advance=sum(done))
        self._show()

    def in_flight(self, requests: int) -> None:
        """So many requests are under way."""
        self._requests = requests
        self._show()

    def doing(self, what: str, done: int, total: int | None) -> None:
        """Before a run begins: what is done, so far, and of so much."""
        self._progress.update(self._task, description=what, completed=done, total=total)

    def _show(self) -> None:
        elapsed = self._progress.tasks[0].elapsed
        facts = [f"{self._files:,}/{self._due:,} files"]
        if self._events and elapsed:
            facts.append(f"{self._events / elapsed:,.0f} events/s")
        facts.append(f"{self._requests} in flight")
        self._progress.update(self._task, facts="  ".join(facts))


class _TimeLeft(ProgressColumn):
    """As measured, and until something is measured, as past runs foretell it."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        left = task.time_remaining
        if left is None and task.fields["expected"] is not None:
            left = max(0.0, task.fields["expected"] - (task.elapsed or 0.0))
        return Text(
            "" if left is None else f"{timedelta(seconds=round(left))} left", style="progress.remaining"
        )
