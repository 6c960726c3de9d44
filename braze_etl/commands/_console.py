"""Text for people: a console and tables that show every character, and no name as a line of its own."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from braze_etl.errors import BrazeEtlError, ConfigError
from braze_etl.quoting import visible

_UNCUT = 1000


class OpenConsole(Console):
    """Prints a text as one line, but for the line ends it begins with; `lines` keeps the others as well."""

    def print(self, *objects: Any, lines: bool = False, **how: Any) -> None:
        super().print(*(_shown(each, lines) if isinstance(each, str) else each for each in objects), **how)


class OpenTable(Table):
    """Each text in a cell is one line."""

    def add_row(self, *cells: Any, **how: Any) -> None:
        super().add_row(*(visible(each) if isinstance(each, str) else each for each in cells), **how)


def new_console(*, stderr: bool = False) -> OpenConsole:
    """A console on one of the two streams; where stdout is no terminal, lines are never cut."""
    width = None if stderr or sys.stdout.isatty() else _UNCUT
    return OpenConsole(width=width, stderr=stderr, soft_wrap=True, highlight=False)


def new_table() -> OpenTable:
    return OpenTable(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))


def print_failure(console: OpenConsole, error: BrazeEtlError) -> None:
    """Say what went wrong and what to do; the mistakes of a configuration are a line each."""
    lines = isinstance(error, ConfigError)
    console.print(f"[bold red]error:[/] {escape(visible(error.message, lines=lines))}", lines=True)
    if error.remedy:
        console.print(f"[bold]remedy:[/] {escape(error.remedy)}")


def _shown(text: str, lines: bool) -> str:
    rest = text.lstrip("\n")
    return text[: len(text) - len(rest)] + visible(rest, lines=lines)
