"""`braze-etl quarantine list`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from braze_etl.cli._options import config_option, output_option, required_config
from braze_etl.cli._output import plain_table, print_json, stdout_console
from braze_etl.cli.quarantine._counts import counts_json, counts_table
from braze_etl.cli.quarantine._facts import facts
from braze_etl.cli.quarantine._selectors import open_entries, selection, selectors
from braze_etl.clock import iso
from braze_etl.model import ReasonCounts
from braze_etl.quarantine import Entry

_SHOWN = 50


@click.command(name="list")
@config_option
@output_option
@selectors
@click.option(
    "--limit", type=click.IntRange(min=0), default=_SHOWN, show_default=True, help="Entries to show."
)
def list_entries(config_path: Path | None, output: str, limit: int, **asked: Any) -> int:
    """List entries, with counts by reason and event type."""
    quarantine = open_entries(required_config(config_path).require("quarantine", "source"))
    counts: ReasonCounts = Counter()
    shown: list[Entry] = []
    for entry in quarantine.entries(selection(quarantine, **asked)):
        counts[entry.event_type, entry.reason] += 1
        if len(shown) < limit:
            shown.append(entry)
    if output == "json":
        entries = [facts(entry) for entry in shown]
        print_json({"total": counts.total(), "counts": counts_json(counts), "entries": entries})
    else:
        _print(counts, shown, filtered=any(asked.values()))
    return 0


def _print(counts: ReasonCounts, shown: list[Entry], *, filtered: bool) -> None:
    console = stdout_console()
    if not counts:
        console.print("no entry is meant by these options" if filtered else "the quarantine is empty")
        return
    console.print(counts_table(counts))
    if shown:
        table = plain_table("id", "set aside at", "reason", "event type", "detail")
        for entry in shown:
            table.add_row(
                entry.id, iso(entry.at), entry.reason.value, escape(entry.event_type), escape(entry.detail)
            )
        console.print()
        console.print(table)
    if counts.total() > len(shown):
        console.print(f"{counts.total() - len(shown):,} more; --limit shows more of them")
