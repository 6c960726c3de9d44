"""`braze-etl state unlock`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click
from rich.markup import escape

from braze_etl.checkpoint import LeaseHolder
from braze_etl.cli._options import config_option, output_option
from braze_etl.cli._output import print_json, stdout_console
from braze_etl.cli.state._place import configured_place
from braze_etl.clock import iso
from braze_etl.errors import UsageError


@click.command()
@config_option
@output_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def unlock(config_path: Path | None, output: str, yes: bool) -> int:
    """Release the lease of a run that is gone; shows its holder first.

    A run that is only slow stores nothing more from then on: what it sends is sent again by the next one.
    """
    place = configured_place(config_path)
    with closing(place.open(place.whose(), create="never")) as ledger:
        holder = ledger.holder()
        if holder is not None:
            # A lease without an end is its process's own, and ends with that: the ledger says so.
            if holder.until is not None:
                _confirm(holder, as_json=output == "json", yes=yes)
            ledger.unlock()
    if output == "json":
        print_json({"exit_code": 0, "released": holder is not None, "holder": _facts(holder)})
    else:
        stdout_console().print("released" if holder else "the lease is free")
    return 0


def _confirm(holder: LeaseHolder, *, as_json: bool, yes: bool) -> None:
    if as_json:
        if not yes:
            raise UsageError(f"the lease is held by {holder}", remedy="Add --yes to release it all the same.")
        return
    stdout_console().print(f"held by {escape(str(holder))}")
    if not yes:
        click.confirm("Release it?", abort=True)


def _facts(holder: LeaseHolder | None) -> dict[str, str | int | None] | None:
    if holder is None:
        return None
    owner = holder.owner
    return {
        "run_id": owner.run_id,
        "command": owner.command,
        "host": owner.host,
        "pid": owner.pid,
        "since": iso(holder.since),
        "until": iso(holder.until) if holder.until else None,
    }
