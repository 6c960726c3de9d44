"""The command: which configurations, which output, which exit code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from braze_etl.cli._options import output_option, required_config
from braze_etl.cli._output import print_json, stdout_console
from braze_etl.cli.status._block import print_block
from braze_etl.cli.status._several import Seen, as_dict, exit_code, print_several
from braze_etl.clock import SystemClock
from braze_etl.errors import BrazeEtlError

if TYPE_CHECKING:
    from braze_etl.run.showing.standing import Standing

_VARIABLE = "BRAZE_ETL_CONFIG"


@click.command()
@click.option(
    "-c",
    "--config",
    "config_paths",
    type=click.Path(path_type=Path),
    multiple=True,
    help=f"The configuration, by default ${_VARIABLE}; repeat it for several pipelines.",
)
@output_option
@click.option("--refresh", is_flag=True, help="List the source too, instead of going by the last listing.")
def status(config_paths: tuple[Path, ...], output: str, refresh: bool) -> int:
    """Say how old the oldest undelivered data is; exit 5 when the window is at risk."""
    as_json = output == "json"
    if len(config_paths) > 1:
        return _several(config_paths, as_json=as_json, refresh=refresh)
    named = os.environ.get(_VARIABLE)
    path = next(iter(config_paths), Path(named) if named else None)
    found = _standing(path, refresh=refresh)
    if as_json:
        print_json(found.as_dict())
    else:
        print_block(stdout_console(), found)
    return found.exit_code


def _several(paths: tuple[Path, ...], *, as_json: bool, refresh: bool) -> int:
    seen = [_see(path, refresh=refresh) for path in paths]
    if as_json:
        print_json(as_dict(seen))
    else:
        print_several(stdout_console(), seen)
    return exit_code(seen)


def _see(path: Path, *, refresh: bool) -> Seen:
    """Look at one of several: what is wrong with it must not hide the others."""
    try:
        return Seen(path, standing=_standing(path, refresh=refresh))
    except BrazeEtlError as error:
        return Seen(path, error=error)


def _standing(path: Path | None, *, refresh: bool) -> Standing:
    from braze_etl.run.showing.standing import standing

    needed = ("state", "quarantine", "mapping", "amplitude.region", *(["source"] if refresh else []))
    return standing(required_config(path).require(*needed), SystemClock(), refresh=refresh)
