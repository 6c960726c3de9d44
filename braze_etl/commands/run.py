"""`braze-etl run`: one run of the scheduled job."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

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
from braze_etl.engine.executors.workers import Workers


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
def run(
    config_path: Path | None,
    output: str,
    max_runtime: timedelta | None,
    workers: Workers | None,
    ok_exit: frozenset[int],
    confirm_first_run: bool,
    accept_source: bool,
    allow_quarantine: bool,
) -> int:
    """Send everything that is due, oldest hour first, then exit."""
    start_fork_server("braze_etl.flows.currents_to_amplitude.worker")
    from braze_etl.commands._running import perform

    return perform(
        required_config(config_path),
        lambda pipeline: pipeline.run(
            max_runtime=max_runtime,
            workers=workers,
            confirm_first_run=confirm_first_run,
            accept_source=accept_source,
            allow_quarantine=allow_quarantine,
        ),
        as_json=output == "json",
        ok_exit=ok_exit,
    )
