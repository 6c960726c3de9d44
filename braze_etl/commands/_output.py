"""What goes to stdout and stderr: exactly one JSON object for machines, aligned text for people."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from braze_etl.errors import BrazeEtlError, LeaseHeldError
from braze_etl.logs import get_logger, speaks_json
from braze_etl.quoting import json_text

if TYPE_CHECKING:
    from rich.table import Table

    from braze_etl.commands._console import OpenConsole

_log = get_logger(__name__)


def print_json(value: Mapping[str, Any]) -> None:
    """Write one JSON object on stdout: indented on a terminal, else in one line, for collectors of logs."""
    sys.stdout.write(json_text(value, indent=sys.stdout.isatty()) + "\n")
    sys.stdout.flush()


def print_error(error: BrazeEtlError, *, as_json: bool, what: str = "the command failed") -> None:
    """Say what went wrong and what to do: on stdout for machines, on stderr as words or a line of the log."""
    if as_json:
        try:
            print_json({"exit_code": error.exit_code, "error": error.as_dict()})
        except OSError:  # stdout is what failed: a full disk
            sys.stdout = nowhere()
            as_json = False
    if speaks_json():
        _tell(error, what)
    elif not as_json:
        from braze_etl.commands._console import new_console, print_failure

        print_failure(new_console(stderr=True), error)


def _tell(error: BrazeEtlError, what: str) -> None:
    tell = _log.warning if isinstance(error, LeaseHeldError) else _log.error
    words = error.as_dict()
    tell(
        what,
        kind=words["type"],
        error=words["message"],
        remedy=words["remedy"],
        exit_code=error.exit_code,
    )


def nowhere() -> TextIO:
    """A stream that takes everything."""
    return open(os.devnull, "w")  # noqa: PTH123 - kept open for the interpreter's last flush


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
