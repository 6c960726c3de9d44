"""A pass as it advances: a bar on a terminal, plain log lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from braze_etl.run.estimate import Outlook
from braze_etl.run.parts import Progress as PassProgress
from braze_etl.run.tasks import Settlement
from braze_etl.telemetry import get_logger

_log = get_logger(__name__)


@contextmanager
def progress_for(stream: TextIO) -> Iterator[PassProgress]:
    """Show progress on *stream* in the way that fits it."""
    if not stream.isatty():
        yield _Lines()
        return
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files  {task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(file=stream),
        transient=True,
    ) as bar:
        yield _Bar(bar)


class _Lines:
    def discovered(self, outlook: Outlook, warnings: Mapping[str, int]) -> None:
        _log.info("files are due", **asdict(outlook))
        if warnings:
            _log.warning("the listing gives cause to look", **warnings)

    def settled(self, settlement: Settlement) -> None:
        events = {event_type: tally.read for event_type, tally in settlement.by_event_type.items()}
        _log.info(
            "task settled", task=settlement.task, files=len(settlement.files), events=sum(events.values())
        )
        if settlement.warnings:
            _log.warning("task settled with warnings", task=settlement.task, **settlement.warnings)


class _Bar:
    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task: TaskID = bar.add_task("listing", total=None, rate="")
        self._events = 0

    def discovered(self, outlook: Outlook, warnings: Mapping[str, int]) -> None:
        takes = "" if outlook.seconds is None else f", about {timedelta(seconds=round(outlook.seconds))}"
        self._bar.console.print(
            f"{outlook.files:,} files, {outlook.bytes / 1e6:,.1f} MB, about {outlook.events:,} events"
            f" in {outlook.requests:,} requests{takes}"
        )
        for name, count in warnings.items():
            self._bar.console.print(f"{count:,} {name}", style="bold red")
        self._bar.update(self._task, description="delivering", total=outlook.files)

    def settled(self, settlement: Settlement) -> None:
        self._events += sum(tally.read for tally in settlement.by_event_type.values())
        settled = sum(file.state is not None for file in settlement.files)
        elapsed = self._bar.tasks[0].elapsed or 0.0
        rate = f"{self._events / elapsed:,.0f} events/s" if elapsed else ""
        self._bar.update(self._task, advance=settled, rate=rate, description="delivering")
