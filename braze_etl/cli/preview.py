"""`braze-etl preview`: the Amplitude events that one file becomes; sends nothing."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from braze_etl.cli._options import checked_config, config_option
from braze_etl.cli._output import plain_table, stdout_console
from braze_etl.model import Verdict
from braze_etl.quoting import json_text, visible

if TYPE_CHECKING:
    from braze_etl.run.showing.previewing import Preview

_LONGEST = 60


@click.command()
@click.argument("source")
@click.option(
    "-n", "count", type=click.IntRange(min=1), default=5, show_default=True, help="Records to show."
)
@config_option
@click.option("--output", type=click.Choice(["json", "text"]), default="json", show_default=True)
def preview(source: str, count: int, config_path: Path | None, output: str) -> int:
    """Show the events that SOURCE (a path or an s3 uri) becomes, one JSON object a line.

    As text, each record stands beside its event, field by field, with the rule that decided.
    """
    from braze_etl.run.showing.previewing import preview_file

    config = checked_config(config_path) if config_path else None
    settings = config.require("source.endpoint", "source.region", "mapping") if config else None
    for number, shown in enumerate(islice(preview_file(source, settings), count), 1):
        if output == "text":
            _print(number, shown)
        else:
            sys.stdout.write(json_text(_facts(shown)) + "\n")
    return 0


def _facts(shown: Preview) -> dict[str, Any]:
    outcome = shown.outcome
    if isinstance(outcome, Verdict):
        return {"not_sent": outcome.reason.value, "detail": outcome.detail}
    return outcome


def _print(number: int, shown: Preview) -> None:
    console, outcome = stdout_console(), shown.outcome
    if isinstance(outcome, Verdict):
        end = f"not sent: {outcome.reason.value} ({outcome.detail})"
    else:
        end = f"sent as {outcome['event_type']}"
    console.print(f"record {number} of {shown.plan.event_type}: {end}", markup=False)
    console.print(_table(shown))
    console.print()


def _table(shown: Preview) -> Table:
    table = plain_table("field", "in Currents", "in Amplitude", "by")
    for row in shown.rows():
        before = _short(row.before) if row.field else ""
        lines = (
            visible(f"{key.removeprefix('event_properties.')} = {_short(value)}")
            for key, value in row.after.items()
        )
        table.add_row(escape(row.field), escape(before), Text("\n".join(lines)), escape(row.rule))
    return table


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
