"""Several pipelines at once: a line for each, then a block for each; one that can't be looked at says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from braze_etl.cli._console import OpenConsole, print_failure
from braze_etl.cli._output import plain_table
from braze_etl.cli.status._block import ago, print_block, verdict
from braze_etl.errors import BrazeEtlError

if TYPE_CHECKING:
    from braze_etl.run.showing.standing import Standing


@dataclass(frozen=True)
class Seen:
    """A configuration, and how its pipeline stands or why that can't be told."""

    path: Path
    standing: Standing | None = None
    error: BrazeEtlError | None = None

    @property
    def exit_code(self) -> int:
        """What `status` would end with for this one alone."""
        if self.error is not None:
            return self.error.exit_code
        return self.standing.exit_code if self.standing else 0

    def as_dict(self) -> dict[str, Any]:
        """The status of this one as JSON values, with the file it is configured by."""
        config = {"config": str(self.path)}
        if self.error is not None:
            return {**config, "exit_code": self.exit_code, "error": self.error.as_dict()}
        return {**config, **(self.standing.as_dict() if self.standing else {})}


def exit_code(seen: Sequence[Seen]) -> int:
    """The highest: 5 when any is at risk, else that of an error."""
    return max(each.exit_code for each in seen)


def as_dict(seen: Sequence[Seen]) -> dict[str, Any]:
    """All of them as one JSON object."""
    return {"exit_code": exit_code(seen), "pipelines": [each.as_dict() for each in seen]}


def print_several(console: OpenConsole, seen: Sequence[Seen]) -> None:
    """Print a table with a line for each, and then the blocks."""
    table = plain_table(
        *("pipeline", "window", "last delivery", "backlog", "MB", "deferred", "quarantined", "exit"),
        numbers=(3, 4, 5, 6, 7),
    )
    for each in seen:
        table.add_row(*_cells(each))
    console.print(table)
    for each in seen:
        console.print()
        if each.standing is not None:
            print_block(console, each.standing)
        elif each.error is not None:
            console.print(f"[bold]{escape(str(each.path))}[/]")
            print_failure(console, each.error)


def _cells(seen: Seen) -> list[str]:
    found = seen.standing
    if found is None:
        return [escape(str(seen.path)), "[red]can't be told[/]", *[""] * 5, str(seen.exit_code)]
    last = found.summary.last_delivery if found.summary else None
    return [
        escape(found.pipeline),
        verdict(found),
        ago(last, found.now),
        f"{found.backlog.files:,}",
        f"{found.backlog.bytes / 1e6:,.1f}",
        f"{sum(each.records for each in found.deferred.values()):,}",
        f"{found.set_aside.entries:,}",
        str(seen.exit_code),
    ]
