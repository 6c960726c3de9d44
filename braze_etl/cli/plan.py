"""`braze-etl plan`: what `run` or `backfill` would do; sends nothing, writes nothing."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from braze_etl.cli._options import (
    config_option,
    hour_range,
    output_option,
    range_options,
    required_config,
)
from braze_etl.cli._output import plain_table, print_json, stdout_console
from braze_etl.clock import SystemClock
from braze_etl.run.planning import Plan


@click.command()
@config_option
@output_option
@range_options
@click.option("--exact", is_flag=True, help="Read every file and map it, instead of estimating from sizes.")
def plan(
    config_path: Path | None,
    output: str,
    since: datetime | None,
    to: datetime | None,
    until: datetime | None,
    event_types: tuple[str, ...],
    exact: bool,
) -> int:
    """Say what `run` would do, or with a range, what `backfill` would do."""
    from braze_etl.run.assembly import Scope
    from braze_etl.run.opening import make_plan

    settings = required_config(config_path).require("source", "state", "mapping", "amplitude.region")
    scope = None
    if since or to or until or event_types:
        hours = hour_range(since, to, until)
        scope = Scope(hours.since, hours.until, event_types)
    made = make_plan(settings, scope, exact=exact, clock=SystemClock())
    if output == "json":
        print_json({"exit_code": 0, **made.as_dict()})
    else:
        _print(made)
    return 0


def _print(made: Plan) -> None:
    console = stdout_console()
    if not made.files:
        console.print("nothing is due")
        return
    table = plain_table("event type", "files", "MB", "events", "to send", "not sent", numbers=(1, 2, 3, 4))
    facts = made.as_dict()
    for event_type, line in facts["by_event_type"].items():
        reasons = ", ".join(f"{records:,} {reason}" for reason, records in line["reasons"].items())
        table.add_row(
            event_type,
            f"{line['files']:,}",
            f"{line['bytes'] / 1e6:,.1f}",
            f"{line['events']:,}",
            f"{line['to_send']:,}",
            reasons,
        )
    console.print(table)
    how = "exact" if made.exact else "events are estimated from sizes; --exact reads the files"
    console.print(
        f"\n{facts['files']:,} files, {facts['bytes'] / 1e6:,.1f} MB, {facts['events']:,} events,"
        f" {facts['requests']:,} requests ({how})"
    )
    console.print(f"from {facts['oldest_hour']} to {facts['newest_hour']}")
