"""`braze-etl preview`: the Amplitude events that one file becomes; sends nothing."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

import click
import orjson

from braze_etl.cli._options import checked_config, config_option
from braze_etl.cli._output import stdout_console
from braze_etl.model import Verdict


@click.command()
@click.argument("source")
@click.option(
    "-n", "count", type=click.IntRange(min=1), default=5, show_default=True, help="Records to show."
)
@config_option
@click.option("--output", type=click.Choice(["json", "text"]), default="json", show_default=True)
def preview(source: str, count: int, config_path: Path | None, output: str) -> int:
    """Show the events that SOURCE (a path or an s3 uri) becomes, one JSON object a line."""
    from braze_etl.run.previewing import preview_file

    config = checked_config(config_path) if config_path else None
    settings = config.require("source.endpoint", "source.region", "mapping") if config else None
    outcomes = preview_file(source, settings)
    for outcome in islice(outcomes, count):
        value = (
            {"not_sent": outcome.reason.value, "detail": outcome.detail}
            if isinstance(outcome, Verdict)
            else outcome
        )
        if output == "text":
            stdout_console().print_json(orjson.dumps(value).decode())
        else:
            sys.stdout.write(orjson.dumps(value).decode() + "\n")
    return 0
