"""The one place that turns errors into words and exit codes."""

from __future__ import annotations

import importlib
import io
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextvars import copy_context
from itertools import pairwise
from typing import NoReturn

import click

from braze_etl import __version__
from braze_etl.commands._options import LOG_FORMAT
from braze_etl.commands._output import nowhere, print_error
from braze_etl.errors import BrazeEtlError, UsageError
from braze_etl.logs import (
    LogFormat,
    bind_facts,
    catch_strays,
    configure_logging,
    get_logger,
    speaks_json,
)
from braze_etl.quoting import masked, visible

_COMMANDS = {
    "init": "braze_etl.commands.init.command:init",
    "doctor": "braze_etl.commands.doctor.command:doctor",
    "run": "braze_etl.commands.run:run",
    "backfill": "braze_etl.commands.backfill:backfill",
    "plan": "braze_etl.commands.plan:plan",
    "preview": "braze_etl.commands.preview:preview",
    "verify": "braze_etl.commands.verify:verify",
    "explain": "braze_etl.commands.explain:explain",
    "status": "braze_etl.commands.status:status",
    "report": "braze_etl.commands.report.command:report",
    "mapping": "braze_etl.commands.mapping.command:mapping",
    "quarantine": "braze_etl.commands.quarantine:quarantine",
    "erase": "braze_etl.commands.erase.command:erase",
    "state": "braze_etl.commands.state:state",
    "config": "braze_etl.commands.config:config",
    "sandbox": "braze_etl.commands.sandbox:sandbox",
}


class _LazyGroup(click.Group):
    """Imports a command when it is asked for, so that each starts quickly."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = _COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.command(
    cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="braze-etl")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Moves Braze Currents files into Amplitude, and proves that nothing was lost on the way."""
    bind_facts(command=ctx.invoked_subcommand)


def run_command_line(args: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit with its code; every error becomes a sentence, never a traceback."""
    words = list(sys.argv[1:] if args is None else args)
    _make_streams_usable()
    configure_logging(_log_format(words), level="warning")
    catch_strays()
    code = copy_context().run(_code_of, words)
    sys.exit(code if isinstance(code, int) else 0)


def _code_of(words: Sequence[str]) -> object:
    as_json = "json" in _given(words, "--output")
    try:
        return cli.main(words, prog_name="braze-etl", standalone_mode=False)
    except BrokenPipeError:
        # Whoever read our output has left; nothing more can be said.
        sys.stdout = nowhere()
        return 1
    except click.exceptions.NoArgsIsHelpError as asked:
        if not speaks_json():
            click.echo(asked.format_message(), err=True)
            return UsageError.exit_code
        return _say(UsageError("no command is given", remedy=_help_of(asked.ctx)), as_json=as_json)
    except click.Abort as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            os._exit(130)  # at once: threads may still wait for a peer
        return _say(_as_ours(error), as_json=as_json)
    except Exception as error:  # noqa: BLE001 - the last resort: the type decides what is said
        return _say(_as_ours(error), as_json=as_json)


def _say(failure: BrazeEtlError, *, as_json: bool) -> int:
    print_error(failure, as_json=as_json)
    return failure.exit_code


def _make_streams_usable() -> None:
    """A scheduler may close a stream, and its locale may lack letters; neither keeps a run from its work."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, nowhere())
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _as_ours(error: Exception) -> BrazeEtlError:
    if isinstance(error, BrazeEtlError):
        return error
    if isinstance(error, click.ClickException):
        return UsageError(error.format_message(), remedy=_help_of(getattr(error, "ctx", None)))
    if isinstance(error, click.Abort):
        return UsageError("aborted")
    if os.environ.get("BRAZE_ETL_DEBUG"):
        _print_traceback(error)
    return BrazeEtlError(
        f"internal error: {type(error).__name__}: {error}",
        remedy="Run it again with BRAZE_ETL_DEBUG=1 and report what it prints; nothing undelivered is lost.",
    )


def _print_traceback(error: Exception) -> None:
    if speaks_json():
        get_logger(__name__).error("internal error", exc_info=error)
    else:
        sys.stderr.write(visible(masked("".join(traceback.format_exception(error))), lines=True))


def _help_of(context: click.Context | None) -> str:
    return f"`{context.command_path if context else 'braze-etl'} --help` shows what it takes."


def _log_format(words: Sequence[str]) -> LogFormat:
    """As asked for, or text on a terminal, and JSON elsewhere: also before any option has been understood."""
    asked = [*_given(words, "--log-format"), os.environ.get(LOG_FORMAT)]
    if "text" in asked or ("json" not in asked and sys.stderr.isatty()):
        return "text"
    return "json"


def _given(words: Sequence[str], option: str) -> Iterator[str]:
    """The values of an option on a command line that may be wrong."""
    for word, following in pairwise([*words, ""]):
        if word == option:
            yield following
        elif word.startswith(f"{option}="):
            yield word.partition("=")[2]
