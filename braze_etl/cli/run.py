"""`braze-etl run`: one pass of the scheduled job."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from braze_etl.cli._options import (
    DurationType,
    config_option,
    ok_exit_option,
    output_option,
    required_config,
)
from braze_etl.cli._pass import perform
from braze_etl.run.assembly import live_scope
from braze_etl.run.opening import Request


@click.command()
@config_option
@output_option
@click.option(
    "--max-runtime", type=DurationType(), help="Stop cleanly after this long, such as 50m (exit 4)."
)
@click.option(
    "--workers", type=click.IntRange(min=1, max=256), help="Processes; overrides the configuration."
)
@ok_exit_option
def run(
    config_path: Path | None,
    output: str,
    max_runtime: timedelta | None,
    workers: int | None,
    ok_exit: frozenset[int],
) -> int:
    """Send everything that is due, oldest hour first, then exit."""
    settings = required_config(config_path).require("")
    return perform(
        settings,
        Request("run", scope=live_scope, covers_all=True, max_runtime=max_runtime, workers=workers),
        as_json=output == "json",
        ok_exit=ok_exit,
    )
