"""`braze-etl run`: one run of the scheduled job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from braze_etl.commands._options import (
    accept_option,
    config_option,
    confirm_option,
    output_option,
    pass_options,
    required_config,
)
from braze_etl.engine.executors.fork_server import start_fork_server


@click.command()
@config_option
@output_option
@pass_options
@confirm_option
@accept_option
@click.option(
    "--allow-quarantine",
    is_flag=True,
    help="Go on after a stop by quarantine.stop_at, and let this run set aside more than that.",
)
def run(config_path: Path | None, output: str, ok_exit: frozenset[int], **options: Any) -> int:
    """Send everything that is due, oldest hour first, then exit."""
    start_fork_server("braze_etl.flows.currents_to_amplitude.worker")
    from braze_etl.commands._running import perform

    config = required_config(config_path)
    return perform(config, lambda pipeline: pipeline.run(**options), output=output, ok_exit=ok_exit)
