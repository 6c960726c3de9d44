"""What goes to stdout and stderr: exactly one JSON object for machines, aligned text for people."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from braze_etl.errors import BrazeEtlError
from braze_etl.quoting import json_text

if TYPE_CHECKING:
    from rich.table import Table

    from braze_etl.commands._console import OpenConsole


def print_json(value: Mapping[str, Any]) -> None:
    """Write one JSON object on stdout: indented on a terminal, else in one line, for collectors of logs."""
    sys.stdout.write(json_text(value, indent=sys.stdout.isatty()) + "\n")
    sys.stdout.flush()


def print_error(error: BrazeEtlError, *, as_json: bool) -> None:
    """Say what went wrong and what to do: on stdout for machines, on stderr for people."""
    if as_json:
        print_json({"exit_code": error.exit_code, "error": error.as_dict()})
        return
    from braze_etl.commands._console import new_console, print_failure

    print_failure(new_console(stderr=True), error)


def stdout_console() -> OpenConsole:
    """The console for people; where stdout is no terminal, plain text whose lines are never cut."""
    from braze_etl.commands._console import new_console

    return new_console()


def plain_table(*columns: str, numbers: tuple[int, ...] = ()) -> Table:
    """A table without a frame; the columns whose index is in *numbers* are right-aligned and never cut."""
    from braze_etl.commands._console import new_table

    table = new_table()
    for index, column in enumerate(columns):
        if index in numbers:
            table.add_column(column, justify="right", no_wrap=True, min_width=len(column))
        else:
            table.add_column(column, overflow="fold")
    return table


def facts_table(facts: Iterable[tuple[str, str]]) -> Table:
    """A table of names with a value each, without a heading."""
    table = plain_table("", "")
    table.show_header = False
    for name, value in facts:
        table.add_row(name, value)
    return table
