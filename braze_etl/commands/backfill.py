"""`braze-etl backfill`: the same job for a stated range of hours, however old."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import click

from braze_etl.commands._options import (
    changed_only_option,
    config_option,
    confirm_option,
    output_option,
    pass_options,
    range_options,
    required_config,
)
from braze_etl.engine.executors.fork_server import start_fork_server
from braze_etl.engine.executors.workers import Workers


@click.command()
@config_option
@output_option
@range_options
@click.option("--resend", is_flag=True, help="Also files that the ledger has as done.")
@changed_only_option
@click.option(
    "--over-budget", is_flag=True, help="Send more than the budget leaves, also types that it would hold."
)
@confirm_option
@pass_options
def backfill(
    config_path: Path | None,
    output: str,
    since: datetime | None,
    to: datetime | None,
    until: datetime | None,
    event_types: tuple[str, ...],
    resend: bool,
    changed_only: bool,
    max_runtime: timedelta | None,
    workers: Workers | None,
    ok_exit: frozenset[int],
    over_budget: bool,
    confirm_first_run: bool,
) -> int:
    """Send a range of date= hours, also from before `source.start_at`; what is done is skipped."""
    start_fork_server("braze_etl.flows.currents_to_amplitude.worker")
    from braze_etl.commands._running import perform

    return perform(
        required_config(config_path),
        lambda pipeline: pipeline.backfill(
            from_=since,
            to=to,
            until=until,
            event_types=event_types,
            resend=resend,
            changed_only=changed_only,
            over_budget=over_budget,
            confirm_first_run=confirm_first_run,
            max_runtime=max_runtime,
            workers=workers,
        ),
        as_json=output == "json",
        ok_exit=ok_exit,
    )
