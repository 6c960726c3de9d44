"""`braze-etl report`: a page with charts over past runs, readable without a network."""

from __future__ import annotations

import os
from pathlib import Path

import click

from braze_etl.cli._options import config_option, output_option, required_config
from braze_etl.cli._output import print_json
from braze_etl.clock import SystemClock
from braze_etl.errors import UsageError

_NEEDED = ("state", "quarantine", "mapping", "amplitude.region")
_PAGE = Path("report.html")


@click.command()
@config_option
@output_option
@click.option(
    "-o", "page", type=click.Path(path_type=Path, dir_okay=False), help=f"The page, by default {_PAGE}."
)
@click.option(
    "--days", type=click.IntRange(1, 366), default=30, show_default=True, help="How far back it goes."
)
def report(config_path: Path | None, output: str, page: Path | None, days: int) -> int:
    """Write a page with charts over past runs; with --output json its data instead, unless -o is given."""
    from braze_etl.report import render
    from braze_etl.run.showing.reviewing import review

    data = review(required_config(config_path).require(*_NEEDED), SystemClock(), days=days)
    as_json = output == "json"
    if page is not None or not as_json:
        _write(page or _PAGE, render(data))
    if as_json:
        print_json({"exit_code": 0, **data})
    else:
        click.echo(f"{page or _PAGE}: {data['period']['runs']:,} runs since {data['period']['since']}")
    return 0


def _write(page: Path, text: str) -> None:
    """Replace the page at once, so that a browser or a web server never sees half of it."""
    new = page.with_name(f".{page.name}.{os.getpid()}")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(page)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise UsageError(
            f"the page {page} can't be written ({error.strerror})", remedy="Name another place with -o."
        ) from error
