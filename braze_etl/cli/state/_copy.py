"""`braze-etl state copy`."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import closing

import click

from braze_etl.checkpoint import Copied, LeaseOwner, copy_ledger
from braze_etl.cli._options import output_option
from braze_etl.cli._output import plain_table, print_json, stdout_console
from braze_etl.cli.state._place import Place, place_of
from braze_etl.clock import iso
from braze_etl.errors import UsageError


@click.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@output_option
def copy(source: str, target: str, output: str) -> int:
    """Copy the state to a place where there is none yet, and check the copy.

    FROM and TO are URIs as in state.uri, or configurations (which also say how a store is reached). No run
    may be at work. FROM stays as it is; set state.uri to TO, and let no run use FROM again.
    """
    origin, copied_to = place_of(source), place_of(target)
    if origin.uri == copied_to.uri and origin.access == copied_to.access:
        raise UsageError("FROM and TO are the same place", remedy="Name another place to copy to.")
    copied = _copied(origin, copied_to)
    if output == "json":
        print_json({"exit_code": 0, "from": origin.uri, "to": copied_to.uri, **_facts(copied)})
        return 0
    table = plain_table("copied", "")
    table.show_header = False
    for name, value in _facts(copied).items():
        shown = (
            ", ".join(f"{count:,} {key}" for key, count in value.items())
            if isinstance(value, dict)
            else value
        )
        table.add_row(name.replace("_", " "), str(shown or "none"))
    stdout_console().print(table)
    return 0


def _copied(origin: Place, copied_to: Place) -> Copied:
    owner = LeaseOwner(f"copy-{secrets.token_hex(3)}", socket.gethostname(), os.getpid(), "state copy")
    identity = origin.whose()
    copied_to.refuse_another(identity)
    with closing(origin.open(identity, create="never")) as source:
        target = copied_to.open(identity, create="auto", start_at=source.start_at)
        with closing(target):
            return copy_ledger(source, target, owner, place=copied_to.uri)


def _facts(copied: Copied) -> dict[str, str | int | dict[str, int]]:
    return {
        "files": {state.value: count for state, count in copied.files.items()},
        "deferred": {reason.value: count for reason, count in copied.deferred.items()},
        "backlog_files": copied.backlog_files,
        "runs": copied.runs,
        "start_at": iso(copied.start_at),
        "created_at": iso(copied.created_at),
    }
