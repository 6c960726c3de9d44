"""Options that several commands share, and the values they parse to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from braze_etl.clock import parse_duration, parse_hour
from braze_etl.engine.executors.workers import parse_workers
from braze_etl.errors import UsageError
from braze_etl.logs import LogFormat, LogLevel, bind_facts, set_level

if TYPE_CHECKING:
    from braze_etl.config.loading import Config
    from braze_etl.flows.currents_to_amplitude.settings import Settings

_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])
LOG_FORMAT = "BRAZE_ETL_LOG_FORMAT"


class ParsedType(click.ParamType[_T]):
    """A text that *parse* reads; it raises `ValueError`, in words, for one that it can't."""

    def __init__(self, name: str, parse: Callable[[Any], _T]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> _T:
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def together(*options: Callable[[_F], _F]) -> Callable[[_F], _F]:
    """Several options as one decorator, in the order in which the help shows them."""
    return lambda command: reduce(lambda decorated, option: option(decorated), reversed(options), command)


def _exit_codes(value: Any) -> frozenset[int]:
    if isinstance(value, frozenset):
        return value
    try:
        return frozenset(int(part) for part in str(value).split(",") if part.strip())
    except ValueError:
        raise ValueError(f"{value!r} is no list of exit codes, such as 3,4") from None


def _set_level(_ctx: click.Context, _param: click.Parameter, level: LogLevel | None) -> None:
    """A terminal has the bar, and hears of warnings only."""
    set_level(level or ("warning" if sys.stderr.isatty() else "info"))


def _bind_command(ctx: click.Context, _param: click.Parameter, path: Path | None) -> Path | None:
    """Have every line of the log name the command, of a group both words."""
    bind_facts(command=ctx.command_path.partition(" ")[2])
    return path


_HOUR = ParsedType("hour", parse_hour)

config_option = click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    envvar="BRAZE_ETL_CONFIG",
    help="The configuration, by default $BRAZE_ETL_CONFIG.",
    callback=_bind_command,
)

output_option = click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Text for people, or one JSON object for machines.",
)

log_options = together(
    click.option(
        "--log-format",
        type=click.Choice(get_args(LogFormat)),
        envvar=LOG_FORMAT,
        help="Log lines on stderr; by default text on a terminal, and json elsewhere.",
        expose_value=False,  # `cli` has looked at it before all else
    ),
    click.option(
        "--log-level",
        type=click.Choice(get_args(LogLevel)),
        envvar="BRAZE_ETL_LOG_LEVEL",
        help="Least level; debug tells of each file. By default info, or warning beside a bar.",
        expose_value=False,
        callback=_set_level,
    ),
)

workers_option = click.option(
    "--workers",
    type=ParsedType("workers", parse_workers),
    help="Processes, auto for one a core, or a Dask scheduler as dask://host:8786; overrides the "
    "configuration.",
)

pass_options = together(
    log_options,
    click.option(
        "--max-runtime",
        type=ParsedType("duration", parse_duration),
        help="Stop cleanly after this long, such as 50m (exit 4).",
    ),
    workers_option,
    click.option(
        "--ok-exit",
        type=ParsedType("codes", _exit_codes),
        envvar="BRAZE_ETL_OK_EXIT",
        default="",
        help="Exit codes that become 0, for schedulers that know only red and green.",
    ),
)
"""Those of whatever sends events."""

confirm_option = click.option(
    "--confirm-first-run",
    is_flag=True,
    help="Let the first run send more than budget.first_run_events.",
)

accept_option = click.option(
    "--accept-source",
    is_flag=True,
    help="Go on with a source that holds nothing any more, or no file that the ledger knows.",
)

range_options = together(
    click.option("--from", "since", type=_HOUR, help="First UTC date= hour."),
    click.option(
        "--to",
        "to",
        type=ParsedType("hour", partial(parse_hour, last=True)),
        help="Last hour; a day means through its end.",
    ),
    click.option("--until", type=_HOUR, help="First hour that is not included."),
    click.option("--event-type", "event_types", multiple=True, metavar="GLOB", help="Only these types."),
)

changed_only_option = click.option(
    "--changed-only",
    is_flag=True,
    help="Only records of settled files that an earlier mapping filtered, or the budget held, and that "
    "are sent now. What was accepted is left alone, and so are files that were never delivered. Without "
    "--from and --to, of all files that the ledger knows.",
)


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
