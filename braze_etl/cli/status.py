"""`braze-etl status`: the 48-hour window, from the state alone."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from braze_etl.cli._options import config_option, output_option, required_config
from braze_etl.cli._output import plain_table, print_json, stdout_console
from braze_etl.clock import SystemClock, iso

if TYPE_CHECKING:
    from braze_etl.run.standing import Standing


@click.command()
@config_option
@output_option
def status(config_path: Path | None, output: str) -> int:
    """Say how old the oldest undelivered data is; exit 5 when the window is at risk."""
    from braze_etl.run.standing import standing

    settings = required_config(config_path).require("state", "quarantine", "amplitude.region")
    found = standing(settings, SystemClock())
    if output == "json":
        print_json(found.as_dict())
    else:
        _print(found)
    return 5 if found.at_risk else 0


def _print(found: Standing) -> None:
    console = stdout_console()
    facts = plain_table("", "")
    facts.show_header = False
    for name, value in _facts(found):
        facts.add_row(name, value)
    console.print(facts)
    if found.summary and found.summary.backlog.files:
        _print_backlog(console, found)
    if found.runs:
        _print_runs(console, found)


def _facts(found: Standing) -> list[tuple[str, str]]:
    summary, window = found.summary, found.window
    left = window.hours_left(found.now)
    verdict = (
        "never listed"
        if left is None
        else f"{left:.1f} of {window.objective / timedelta(hours=1):.0f} hours left"
    )
    oldest = window.oldest_undelivered
    facts = [
        ("pipeline", found.pipeline),
        ("window", f"{verdict}{', AT RISK' if found.at_risk else ''}"),
        ("oldest undelivered", iso(oldest) if oldest else "nothing"),
    ]
    if summary is not None:
        facts += [
            ("last delivery", _ago(summary.last_delivery, found.now)),
            ("last complete listing", _ago(summary.last_listing, found.now)),
            ("backlog", f"{summary.backlog.files:,} files, {summary.backlog.bytes / 1e6:,.1f} MB"),
            ("deferred", f"{sum(summary.deferred.values()):,} records"),
        ]
    facts.append(("quarantined", f"{found.quarantined:,} entries"))
    facts.append(("lease", found.lease or "free"))
    return facts


def _ago(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "never"
    return f"{iso(moment)} ({(now - moment) / timedelta(hours=1):.1f} hours ago)"


def _print_backlog(console: Console, found: Standing) -> None:
    table = plain_table("backlog by event type", "files", "MB", numbers=(1, 2))
    assert found.summary is not None
    for event_type, line in found.summary.backlog.by_event_type.items():
        table.add_row(event_type, f"{line.files:,}", f"{line.bytes / 1e6:,.1f}")
    console.print()
    console.print(table)


def _print_runs(console: Console, found: Standing) -> None:
    table = plain_table("run", "command", "started", "exit", "accepted", "files done", numbers=(3, 4, 5))
    for run in found.runs:
        table.add_row(
            run.run_id,
            run.command,
            iso(run.started_at),
            "" if run.exit_code is None else str(run.exit_code),
            f"{run.report.get('events', {}).get('accepted', 0):,}",
            f"{run.report.get('files', {}).get('done', 0):,}",
        )
    console.print()
    console.print(table)
