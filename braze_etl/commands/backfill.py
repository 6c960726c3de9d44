"""`braze-etl backfill`: the same job for a stated range of hours, however old."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

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
    config_path: Path | None, output: str, ok_exit: frozenset[int], since: datetime | None, **options: Any
) -> int:
    """Send a range of date= hours, also from before `source.start_at`; what is done is skipped."""
    start_fork_server("braze_etl.flows.currents_to_amplitude.worker")
    from braze_etl.commands._running import perform

    config = required_config(config_path)
    return perform(
        config, lambda pipeline: pipeline.backfill(from_=since, **options), output=output, ok_exit=ok_exit
    )
