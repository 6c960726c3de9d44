"""Entries by reason and event type, for machines and for people."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.table import Table

from braze_etl.cli._output import plain_table
from braze_etl.model import ReasonCounts


def counts_json(counts: ReasonCounts) -> list[dict[str, Any]]:
    """The counts as JSON values, most first."""
    return [
        {"reason": reason.value, "event_type": event_type, "entries": entries}
        for (event_type, reason), entries in counts.most_common()
    ]


def counts_table(counts: ReasonCounts) -> Table:
    """The counts as a table, most first."""
    table = plain_table("entries", "reason", "event type", numbers=(0,))
    for (event_type, reason), entries in counts.most_common():
        table.add_row(f"{entries:,}", reason.value, escape(event_type))
    return table
