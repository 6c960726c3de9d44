"""`braze-etl quarantine replay`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from braze_etl.cli._options import (
    config_option,
    output_option,
    pass_options,
    required_config,
)
from braze_etl.cli.quarantine._selectors import open_entries, selection, selectors


@click.command()
@config_option
@output_option
@selectors
@pass_options
def replay(
    config_path: Path | None,
    output: str,
    max_runtime: timedelta | None,
    workers: int | None,
    ok_exit: frozenset[int],
    **asked: Any,
) -> int:
    """Read entries' records again and send them, through the mapping in force; without options, all."""
    from braze_etl.cli._pass import perform
    from braze_etl.run.opening import Request

    settings = required_config(config_path).require("")
    where = selection(open_entries(settings), **asked)
    return perform(
        settings,
        Request("quarantine replay", replay=where, max_runtime=max_runtime, workers=workers),
        as_json=output == "json",
        ok_exit=ok_exit,
    )
