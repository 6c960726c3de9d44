"""`braze-etl erase`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape

from braze_etl.clock import SystemClock
from braze_etl.commands._options import config_option, output_option, required_config
from braze_etl.commands._output import facts_table, plain_table, print_json, stdout_console
from braze_etl.errors import UsageError

if TYPE_CHECKING:
    from braze_etl.flows.currents_to_amplitude.settings import Settings

_PLACES = {
    "run_reports": "errors of past runs, in the ledger",
    "quarantine_records": "records kept in the quarantine",
    "quarantine_details": "words of its entries",
    "lookup_copies": "copies of the look-up table",
}


@click.command()
@config_option
@output_option
@click.option("--user", "id_", required=True, metavar="ID", help="Whose; `-` reads the id from stdin.")
@click.option("--suppress", is_flag=True, help="First add a hash of the id to the list of privacy.suppress.")
@click.option("--dry-run", is_flag=True, help="Look, and remove nothing.")
def erase(config_path: Path | None, output: str, id_: str, suppress: bool, dry_run: bool) -> int:
    """Remove a person from what this program stores, and print a receipt.

    ID is what Braze or Amplitude know them by: an external id, a device id, Braze's user id, an address.
    """
    from braze_etl.commands.erase.erase import erase as erase_person

    id_ = _read(id_)
    settings = required_config(config_path).require(
        "quarantine", "source", "state", "mapping", "amplitude.region"
    )
    if suppress and not dry_run:
        _suppress(settings, id_)
    receipt = erase_person(settings, id_, SystemClock(), dry_run=dry_run)
    if output == "json":
        print_json(receipt)
    else:
        _print(stdout_console(), receipt)
    return 0


def _read(id_: str) -> str:
    # On a command line an id stands in the shell's history and in the list of processes.
    text = sys.stdin.readline().strip() if id_ == "-" else id_
    if not text:
        raise UsageError("the id is empty", remedy="Give it as --user ID, or on stdin with --user -.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError("the id is no text in UTF-8", remedy="Give it as Braze has it, in UTF-8.") from None
    return text


def _suppress(settings: Settings, id_: str) -> None:
    from braze_etl.commands.erase.erase import hash_of
    from braze_etl.mapping.people import add_to_list

    list_ = settings.mapping.privacy.suppress
    if list_ is None:
        raise UsageError(
            "there is no list to add the id to", remedy="Name a file as mapping.privacy.suppress first."
        )
    add_to_list(list_, f"sha256:{hash_of(settings, id_)}")


def _print(console: Console, receipt: dict[str, Any]) -> None:
    done = "found" if receipt["dry_run"] else "removed"
    facts = (
        ("looked at" if receipt["dry_run"] else "erased", receipt["erased_at"]),
        ("pipeline", escape(receipt["pipeline"])),
        ("SHA-256 of salt and id" if receipt["salted"] else "SHA-256 of the id", receipt["id_sha256"]),
        ("suppressed from now on", "yes" if receipt["suppressed"] else "[red]no[/]"),
    )
    console.print(facts_table(facts))
    console.print()
    table = plain_table("place", "looked at", done, numbers=(1, 2))
    for name, each in receipt["places"].items():
        table.add_row(_PLACES[name], f"{each['looked_at']:,}", f"{each[done]:,}")
    console.print(table)
    console.print()
    console.print("[bold]beyond the reach of this program[/]")
    for remnant in receipt["beyond_reach"]:
        console.print(f"- {escape(remnant['place'])}: {escape(remnant['remedy'])}.")
