"""`braze-etl quarantine show`."""

from __future__ import annotations

from pathlib import Path

import click
import orjson
from rich.markup import escape

from braze_etl.cli._options import config_option, output_option, required_config
from braze_etl.cli._output import plain_table, print_json, stdout_console
from braze_etl.cli.quarantine._facts import facts
from braze_etl.cli.quarantine._selectors import open_entries
from braze_etl.clock import SystemClock


@click.command()
@click.argument("entry_id", metavar="ID")
@config_option
@output_option
def show(entry_id: str, config_path: Path | None, output: str) -> int:
    """Show one entry whole; the first characters of its id will do.

    With its payload, which is personal data, where that is kept and has not expired.
    """
    quarantine = open_entries(required_config(config_path).require("quarantine", "source"))
    entry = quarantine.get(entry_id)
    shown = facts(entry)
    payload = quarantine.payload(entry, SystemClock().now())
    if payload is not None:
        shown["payload"] = payload
    if output == "json":
        print_json(shown)
        return 0
    table = plain_table("", "")
    table.show_header = False
    for name, value in shown.items():
        text = orjson.dumps(value).decode() if isinstance(value, dict) else str(value)
        table.add_row(name, "" if value is None else escape(text))
    stdout_console().print(table)
    return 0
