"""`braze-etl report`: a page with charts over past runs, readable without a network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from braze_etl.clock import SystemClock
from braze_etl.commands._options import config_option, output_option, required_config
from braze_etl.commands._output import print_json
from braze_etl.commands.report.words import counted
from braze_etl.errors import UsageError
from braze_etl.quoting import visible

_NEEDED: Final = ("state", "quarantine", "mapping", "amplitude.region")
_PAGE: Final = Path("report.html")
_STDOUT: Final = Path("-")


@click.command()
@config_option
@output_option
@click.option(
    "-o",
    "page",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help=f"The page, by default {_PAGE}; - for stdout.",
)
@click.option(
    "--days", type=click.IntRange(1, 366), default=30, show_default=True, help="How far back it goes."
)
def report(config_path: Path | None, output: str, page: Path | None, days: int) -> int:
    """Write a page with charts over past runs; with --output json its data instead, unless -o is given."""
    from braze_etl.commands.report.history import read_history
    from braze_etl.commands.report.page import render

    as_json = output == "json"
    if as_json and page == _STDOUT:
        raise UsageError("-o - and --output json both need stdout", remedy="Name a file with -o.")
    data = read_history(required_config(config_path).require(*_NEEDED), SystemClock(), days=days)
    if page is not None or not as_json:
        _write(page or _PAGE, render(data))
    if as_json:
        print_json({"exit_code": 0, **data})
    else:
        place = page or _PAGE
        click.echo(f"{visible(str(place))}: {_summary(data['period'])}", err=_is_stream(place))
    return 0


def _summary(period: Mapping[str, Any]) -> str:
    since = datetime.fromisoformat(period["oldest_run"] or period["since"])
    words = f"{counted(period['runs'], 'run')} since {since:%Y-%m-%d %H:%M} UTC"
    if period["oldest_run"] is None:
        return words
    return f"{words}; asked for {counted(period['days'], 'day')}, but the state keeps no older run"


def _is_stream(page: Path) -> bool:
    """Whether it is stdout, a device or a pipe: something that can't be replaced, and may lead to stdout."""
    return page == _STDOUT or (page.exists() and not page.is_file())


def _write(page: Path, text: str) -> None:
    if page == _STDOUT:
        click.echo(text)
        return
    try:
        if _is_stream(page):
            page.write_text(text, encoding="utf-8")
        else:
            _replace(page.resolve(), text)
    except OSError as error:
        folder = page.parent
        remedy = "Name another place with -o."
        raise UsageError(
            f"the page {page} can't be written ({error.strerror})",
            remedy=remedy if folder.is_dir() else f"Create the folder {folder}, or name another with -o.",
        ) from error


def _replace(page: Path, text: str) -> None:
    """Replace the page at once, so that a browser or a web server never sees half of it."""
    new = page.with_name(f".{page.name}.{os.getpid()}")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(page)
    finally:
        new.unlink(missing_ok=True)
