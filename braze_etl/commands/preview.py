"""`braze-etl preview`: the Amplitude events that one file becomes; sends nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import click
import orjson
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from braze_etl.commands._options import checked_config, config_option
from braze_etl.commands._output import plain_table, stdout_console
from braze_etl.commands.mapping.inspect import places, rule_of
from braze_etl.flows.currents_to_amplitude.preview import Preview, preview_file
from braze_etl.model import Event, Verdict
from braze_etl.quoting import json_text, visible

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
    config = checked_config(config_path) if config_path else None
    settings = config.require("source.endpoint", "source.region", "mapping") if config else None
    for number, shown in enumerate(islice(preview_file(source, settings), count), 1):
        if output == "text":
            _print(number, shown)
        else:
            sys.stdout.write(json_text(shown.as_dict()) + "\n")
    return 0


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
    for row in rows_of(shown):
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


@dataclass(frozen=True, slots=True)
class Row:
    """A field before and after: its value, and where that went; a row without a field is added on the way."""

    field: str
    before: Any
    after: dict[str, Any]
    rule: str


def rows_of(shown: Preview) -> Iterator[Row]:
    """The record field by field, nulls left out, beside the event, if there is one."""
    left = _flat(shown.outcome)
    for field, value in (shown.record or {}).items():
        if value is not None:
            after = {key: left.pop(key) for key in _keys(shown, field) if key in left}
            is_sent = not isinstance(shown.outcome, Verdict)
            yield Row(field, value, after, rule_of(field, shown.plan, shown.preset) if is_sent else "")
    for key, value in left.items():
        yield Row("", None, {key: value}, "set by the mapping")


def _keys(shown: Preview, field: str) -> Iterator[str]:
    """The keys of the event, as `_flat` has them, that may come from a field."""
    for keys, _ in places(field, shown.plan):
        yield from keys
    for explosion in shown.plan.explosions:
        if explosion.field == field:
            begin = f"event_properties.{explosion.prefix}"
            yield from (key for key in _flat(shown.outcome) if key.startswith(begin))


def _flat(outcome: Event | Verdict) -> dict[str, Any]:
    """An event as one level of keys: those of its properties stand behind `event_properties.`."""
    if isinstance(outcome, Verdict):
        return {}
    top = {key: value for key, value in outcome.items() if key != "event_properties"}
    return top | {f"event_properties.{key}": value for key, value in outcome["event_properties"].items()}
