"""`braze-etl quarantine drop`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from braze_etl.cli._options import config_option, output_option, required_config
from braze_etl.cli._output import print_json, stdout_console
from braze_etl.cli.quarantine._counts import counts_json, counts_table
from braze_etl.cli.quarantine._selectors import open_entries, selection, selectors
from braze_etl.clock import SystemClock
from braze_etl.errors import UsageError


@click.command()
@config_option
@output_option
@selectors
@click.option("--all", "everything", is_flag=True, help="Every entry; needed where no other option is given.")
def drop(config_path: Path | None, output: str, everything: bool, **asked: Any) -> int:
    """Give entries up: they are removed, and their records are never sent."""
    if everything == any(asked.values()):
        raise UsageError(
            "drop needs to know which entries are meant"
            if not everything
            else "--all means every entry, and the other options only some",
            remedy="Name them by --id, --reason, --event-type, --file, --since or --until, or all by --all.",
        )
    from braze_etl.run.setaside.dropping import drop_entries

    settings = required_config(config_path).require("quarantine", "source", "state", "amplitude.region")
    dropped = drop_entries(settings, selection(open_entries(settings), **asked), SystemClock())
    if output == "json":
        print_json({"exit_code": 0, "dropped": dropped.total(), "counts": counts_json(dropped)})
        return 0
    console = stdout_console()
    if dropped:
        console.print(counts_table(dropped))
    console.print(f"{dropped.total():,} entries dropped")
    return 0
