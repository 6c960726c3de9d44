"""The plan of `--changed-only` for people: what would be sent, and why it was not before."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.table import Table

from braze_etl.cli._output import plain_table, stdout_console
from braze_etl.run.remapping.changes import WORDS, ChangePlan


def print_changes(made: ChangePlan) -> None:
    """Print the plan as text on stdout."""
    console, facts = stdout_console(), made.as_dict()
    for why, files in made.difference.not_comparable.items():
        console.print(f"{files:,} files are left alone: {WORDS[why]}", markup=False)
    if made.restore:
        console.print(f"{facts['archived']['files']:,} files are archived and left. To restore them:")
        console.print(made.restore, markup=False, lines=True)
    if not made.difference.files:
        console.print("the mapping lets nothing through that was not sent")
        return
    console.print(_table(facts))
    console.print(
        f"\n{facts['to_send']:,} events of {facts['files']:,} files, {facts['requests']:,} requests;"
        " everything else is left alone"
    )
    for name, value in made.spending.facts() if made.spending else ():
        console.print(f"{name}: {value}", markup=False)


def _table(facts: dict[str, Any]) -> Table:
    table = plain_table("event type", "files", "to send", "was not sent as", numbers=(1, 2))
    for event_type, line in facts["by_event_type"].items():
        reasons = ", ".join(f"{records:,} {reason}" for reason, records in line["reasons"].items())
        table.add_row(escape(event_type), f"{line['files']:,}", f"{line['to_send']:,}", reasons)
    return table
