"""`--log-format` and `--log-level`: how a command speaks on stderr while it works."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar, get_args

import click

from braze_etl.telemetry import LogFormat, LogLevel, configure_logging

_F = TypeVar("_F", bound=Callable[..., Any])
_ASKED = "braze_etl.logging"


def log_options(command: _F) -> _F:
    """`--log-format` and `--log-level`; `set_up_logging` knows what was given."""
    for option in (
        click.option(
            "--log-level",
            type=click.Choice(get_args(LogLevel)),
            envvar="BRAZE_ETL_LOG_LEVEL",
            help="Least level; debug tells of each file. By default info, or warning beside a bar.",
            expose_value=False,
            callback=_keep,
        ),
        click.option(
            "--log-format",
            type=click.Choice(get_args(LogFormat)),
            envvar="BRAZE_ETL_LOG_FORMAT",
            help="Log lines on stderr; by default text on a terminal, and json elsewhere.",
            expose_value=False,
            callback=_keep,
        ),
    ):
        command = option(command)
    return command


def set_up_logging() -> None:
    """Speak as the options of the command at work say; a terminal has the bar, and hears of warnings only."""
    asked = click.get_current_context().meta.get(_ASKED, {})
    on_terminal = sys.stderr.isatty()
    form: LogFormat = asked.get("log_format") or ("text" if on_terminal else "json")
    level: LogLevel = asked.get("log_level") or ("warning" if on_terminal else "info")
    configure_logging(form, level=level)


def _keep(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    ctx.meta.setdefault(_ASKED, {})[param.name] = value
