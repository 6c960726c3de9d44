"""`braze-etl quarantine list` and `show`: what was set aside, and why."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from braze_etl.cli._options import config_option, output_option, required_config
from braze_etl.cli._output import plain_table, print_json, stdout_console
from braze_etl.clock import iso
from braze_etl.quarantine import Entry, Quarantine

_SHOWN = 50


@click.group()
def quarantine() -> None:
    """Look at what was set aside."""


@quarantine.command(name="list")
@config_option
@output_option
@click.option(
    "--limit", type=click.IntRange(min=0), default=_SHOWN, show_default=True, help="Entries to show."
)
def list_entries(config_path: Path | None, output: str, limit: int) -> int:
    """List entries, with counts by reason and event type."""
    counts: Counter[tuple[str, str]] = Counter()
    shown: list[Entry] = []
    for entry in _open(config_path).entries():
        counts[entry.reason.value, entry.event_type] += 1
        if len(shown) < limit:
            shown.append(entry)
    if output == "json":
        print_json(_as_json(counts, shown))
    else:
        _print(counts, shown)
    return 0


@quarantine.command()
@click.argument("entry_id", metavar="ID")
@config_option
@output_option
def show(entry_id: str, config_path: Path | None, output: str) -> int:
    """Show one entry whole; the first characters of its id will do."""
    facts = _facts(_open(config_path).get(entry_id))
    if output == "json":
        print_json(facts)
        return 0
    table = plain_table("", "")
    table.show_header = False
    for name, value in facts.items():
        table.add_row(name, "" if value is None else str(value))
    stdout_console().print(table)
    return 0


def _open(config_path: Path | None) -> Quarantine:
    from braze_etl.run.assembly import open_quarantine

    return open_quarantine(required_config(config_path).require("quarantine", "source"))


def _facts(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "reason": entry.reason.value,
        "event_type": entry.event_type,
        "detail": entry.detail,
        "key": entry.position.key,
        "etag": entry.position.etag,
        "block": entry.position.block,
        "record": entry.position.record,
        "run_id": entry.run_id,
        "at": iso(entry.at),
    }


def _as_json(counts: Counter[tuple[str, str]], shown: list[Entry]) -> dict[str, Any]:
    return {
        "total": counts.total(),
        "counts": [
            {"reason": reason, "event_type": event_type, "entries": entries}
            for (reason, event_type), entries in counts.most_common()
        ],
        "entries": [_facts(entry) for entry in shown],
    }


def _print(counts: Counter[tuple[str, str]], shown: list[Entry]) -> None:
    console = stdout_console()
    if not counts:
        console.print("the quarantine is empty")
        return
    summary = plain_table("entries", "reason", "event type", numbers=(0,))
    for (reason, event_type), entries in counts.most_common():
        summary.add_row(f"{entries:,}", reason, event_type)
    console.print(summary)
    console.print()
    table = plain_table("id", "set aside at", "reason", "event type", "detail")
    for entry in shown:
        table.add_row(entry.id, iso(entry.at), entry.reason.value, entry.event_type, escape(entry.detail))
    console.print(table)
    if counts.total() > len(shown):
        console.print(f"{counts.total() - len(shown):,} more; --limit shows more of them")
