"""Options that several commands share, and the values they parse to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from braze_etl.clock import parse_duration, parse_hour
from braze_etl.engine.executors.workers import Workers, parse_workers
from braze_etl.errors import UsageError
from braze_etl.logs import LogFormat, LogLevel, bind_facts, set_level

if TYPE_CHECKING:
    from braze_etl.config.loading import Config
    from braze_etl.flows.currents_to_amplitude.settings import Settings

_F = TypeVar("_F", bound=Callable[..., Any])
LOG_FORMAT = "BRAZE_ETL_LOG_FORMAT"


def log_options(command: _F) -> _F:
    """`--log-format`, which `cli` has looked at before all else, and `--log-level`."""
    for option in (
        click.option(
            "--log-level",
            type=click.Choice(get_args(LogLevel)),
            envvar="BRAZE_ETL_LOG_LEVEL",
            help="Least level; debug tells of each file. By default info, or warning beside a bar.",
            expose_value=False,
            callback=_set_level,
        ),
        click.option(
            "--log-format",
            type=click.Choice(get_args(LogFormat)),
            envvar=LOG_FORMAT,
            help="Log lines on stderr; by default text on a terminal, and json elsewhere.",
            expose_value=False,
        ),
    ):
        command = option(command)
    return command


def _set_level(_ctx: click.Context, _param: click.Parameter, level: LogLevel | None) -> None:
    """A terminal has the bar, and hears of warnings only."""
    set_level(level or ("warning" if sys.stderr.isatty() else "info"))


class DurationType(click.ParamType[timedelta]):
    """`50m`, `48h`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class HourType(click.ParamType[datetime]):
    """A UTC hour; a bare day is its first hour, or its *last* one."""

    name = "hour"

    def __init__(self, *, last: bool = False) -> None:
        self._last = last

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            return parse_hour(value, last=self._last)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class ExitCodesType(click.ParamType[frozenset[int]]):
    """`3,4`."""

    name = "codes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[int]:
        if isinstance(value, frozenset):
            return value
        try:
            return frozenset(int(part) for part in str(value).split(",") if part.strip())
        except ValueError:
            self.fail(f"{value!r} is no list of exit codes, such as 3,4", param, ctx)


class WorkersType(click.ParamType[Workers]):
    """`auto`, `4`, `dask://host:8786`."""

    name = "workers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Workers:
        try:
            return parse_workers(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def config_option(command: _F) -> _F:
    """`-c/--config FILE`, by default `$BRAZE_ETL_CONFIG`."""
    return click.option(
        "-c",
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        envvar="BRAZE_ETL_CONFIG",
        help="The configuration, by default $BRAZE_ETL_CONFIG.",
        callback=_bind_command,
    )(command)


def _bind_command(ctx: click.Context, _param: click.Parameter, path: Path | None) -> Path | None:
    """Have every line of the log name the command, of a group both words."""
    bind_facts(command=ctx.command_path.partition(" ")[2])
    return path


def output_option(command: _F) -> _F:
    """`--output text|json`."""
    return click.option(
        "--output",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="Text for people, or one JSON object for machines.",
    )(command)


def workers_option(command: _F) -> _F:
    """`--workers auto|N|dask://host:8786`."""
    return click.option(
        "--workers",
        type=WorkersType(),
        help="Processes, auto for one a core, or a Dask scheduler as dask://host:8786; overrides the "
        "configuration.",
    )(command)


def pass_options(command: _F) -> _F:
    """`--max-runtime`, `--workers`, `--ok-exit` and those of logs, which whatever sends events takes."""
    for option in (
        click.option(
            "--ok-exit",
            type=ExitCodesType(),
            envvar="BRAZE_ETL_OK_EXIT",
            default="",
            help="Exit codes that become 0, for schedulers that know only red and green.",
        ),
        workers_option,
        click.option(
            "--max-runtime", type=DurationType(), help="Stop cleanly after this long, such as 50m (exit 4)."
        ),
    ):
        command = option(command)
    return log_options(command)


def confirm_option(command: _F) -> _F:
    """`--confirm-first-run`."""
    return click.option(
        "--confirm-first-run",
        is_flag=True,
        help="Let the first run send more than budget.first_run_events.",
    )(command)


def accept_option(command: _F) -> _F:
    """`--accept-source`."""
    return click.option(
        "--accept-source",
        is_flag=True,
        help="Go on with a source that holds nothing any more, or no file that the ledger knows.",
    )(command)


def range_options(command: _F) -> _F:
    """`--from`, `--to`, `--until`, `--event-type`: a stated range of `date=` hours."""
    for option in (
        click.option("--event-type", "event_types", multiple=True, metavar="GLOB", help="Only these types."),
        click.option("--until", type=HourType(), help="First hour that is not included."),
        click.option("--to", "to", type=HourType(last=True), help="Last hour; a day means through its end."),
        click.option("--from", "since", type=HourType(), help="First UTC date= hour."),
    ):
        command = option(command)
    return command


def changed_only_option(command: _F) -> _F:
    """`--changed-only`: what a change of the mapping lets through, and nothing else."""
    return click.option(
        "--changed-only",
        is_flag=True,
        help="Only records of settled files that an earlier mapping filtered, or the budget held, and that "
        "are sent now. What was accepted is left alone, and so are files that were never delivered. Without "
        "--from and --to, of all files that the ledger knows.",
    )(command)


def required_config(path: Path | None) -> Config[Settings]:
    """Load the configuration of a command that needs one."""
    if path is None:
        raise UsageError(
            "no configuration is given", remedy="Name one with -c FILE or set $BRAZE_ETL_CONFIG."
        )
    return checked_config(path)


def checked_config(path: Path) -> Config[Settings]:
    """Load a configuration whose mapping knows all its words."""
    from braze_etl.flows.currents_to_amplitude.mapping import mapping_mistakes
    from braze_etl.flows.currents_to_amplitude.settings import load_config

    config = load_config(path, examine=mapping_mistakes)
    bind_facts(pipeline=config.settings.pipeline)
    return config
