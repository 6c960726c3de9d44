"""What goes to stdout and stderr: exactly one JSON object for machines, aligned text for people."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from braze_etl.errors import BrazeEtlError

if TYPE_CHECKING:  # rich takes long to import: only for people
    from rich.console import Console
    from rich.table import Table

_UNCUT = 1000


def print_json(value: Mapping[str, Any]) -> None:
    """Write one JSON object on stdout: indented on a terminal, else in one line, for collectors of logs."""
    form = orjson.OPT_INDENT_2 if sys.stdout.isatty() else None
    sys.stdout.write(orjson.dumps(value, option=form).decode() + "\n")
    sys.stdout.flush()


def print_error(error: BrazeEtlError, *, as_json: bool) -> None:
    """Say what went wrong and what to do: on stdout for machines, on stderr for people."""
    if as_json:
        print_json({"exit_code": error.exit_code, "error": error.as_dict()})
        return
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"[bold red]error:[/] {escape(error.message)}")
    if error.remedy:
        console.print(f"[bold]remedy:[/] {escape(error.remedy)}")


def stdout_console() -> Console:
    """The console for people; where stdout is no terminal, plain text whose lines are never cut."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _UNCUT
    return Console(width=width, soft_wrap=True, highlight=False)


def plain_table(*columns: str, numbers: tuple[int, ...] = ()) -> Table:
    """A table without a frame; the columns whose index is in *numbers* are right-aligned and never cut."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        if index in numbers:
            table.add_column(column, justify="right", no_wrap=True, min_width=len(column))
        else:
            table.add_column(column, overflow="fold")
    return table
