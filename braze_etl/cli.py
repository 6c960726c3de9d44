"""The one place that turns errors into words and exit codes."""

from __future__ import annotations

import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from itertools import pairwise
from typing import NoReturn, TextIO

import click

from braze_etl import __version__
from braze_etl.commands._output import print_error
from braze_etl.errors import BrazeEtlError, UsageError
from braze_etl.quoting import masked, visible

_COMMANDS = {
    "init": "braze_etl.commands.init.command:init",
    "doctor": "braze_etl.commands.doctor.command:doctor",
    "run": "braze_etl.commands.run:run",
    "backfill": "braze_etl.commands.backfill:backfill",
    "plan": "braze_etl.commands.plan.command:plan",
    "preview": "braze_etl.commands.preview:preview",
    "status": "braze_etl.commands.status.command:status",
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
def cli() -> None:
    """Moves Braze Currents files into Amplitude, and proves that nothing was lost on the way."""


def run_command_line(args: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit with its code; every error becomes a sentence, never a traceback."""
    words = list(sys.argv[1:] if args is None else args)
    _make_streams_usable()
    try:
        code = cli.main(words, prog_name="braze-etl", standalone_mode=False)
    except BrokenPipeError:
        # Whoever read our output has left; nothing more can be said.
        sys.stdout = _nowhere()
        sys.exit(1)
    except click.exceptions.NoArgsIsHelpError as asked:
        click.echo(asked.format_message(), err=True)
        code = UsageError.exit_code
    except click.Abort as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            os._exit(130)  # at once: threads may still wait for a peer
        code = _say(_as_ours(error), as_json=_wants_json(words))
    except Exception as error:  # noqa: BLE001 - the last resort: the type decides what is said
        code = _say(_as_ours(error), as_json=_wants_json(words))
    sys.exit(code if isinstance(code, int) else 0)


def _say(failure: BrazeEtlError, *, as_json: bool) -> int:
    try:
        print_error(failure, as_json=as_json)
    except OSError:  # stdout is what failed: a full disk
        sys.stdout = _nowhere()
        print_error(failure, as_json=False)
    return failure.exit_code


def _make_streams_usable() -> None:
    """A scheduler may close a stream, and its locale may lack letters; neither keeps a run from its work."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _nowhere())
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nowhere() -> TextIO:
    return open(os.devnull, "w")  # noqa: PTH123 - kept open for the interpreter's last flush


def _as_ours(error: Exception) -> BrazeEtlError:
    if isinstance(error, BrazeEtlError):
        return error
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "braze-etl"
        return UsageError(error.format_message(), remedy=f"`{command} --help` shows what it takes.")
    if isinstance(error, click.Abort):
        return UsageError("aborted")
    if os.environ.get("BRAZE_ETL_DEBUG"):
        sys.stderr.write(visible(masked("".join(traceback.format_exception(error))), lines=True))
    return BrazeEtlError(
        f"internal error: {type(error).__name__}: {error}",
        remedy="Run it again with BRAZE_ETL_DEBUG=1 and report what it prints; nothing undelivered is lost.",
    )


def _wants_json(words: Sequence[str]) -> bool:
    pairs = pairwise([*words, ""])
    return any(word == "--output=json" or (word == "--output" and value == "json") for word, value in pairs)
