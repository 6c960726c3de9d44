"""`braze-etl state`: release a lease by hand, move the ledger between stores."""

from __future__ import annotations

import secrets
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from braze_etl.clock import SystemClock, iso
from braze_etl.commands._options import config_option, output_option, required_config
from braze_etl.commands._output import facts_table, print_json, stdout_console
from braze_etl.errors import UsageError
from braze_etl.state.ledger import LeaseHolder, LeaseOwner, Ledger, LedgerIdentity
from braze_etl.state.opening import Copied, copy_ledger, find_identity, open_ledger
from braze_etl.storage.settings import StoreAccess


@dataclass(frozen=True)
class LedgerPlace:
    """A ledger's URI, how its store is reached, and whose it has to be (None: whoever's it is)."""

    uri: str
    access: StoreAccess
    identity: LedgerIdentity | None

    def whose(self) -> LedgerIdentity:
        """The identity that a configuration asks for, or that the ledger itself tells.

        Raises `LedgerMissingError` where there is none, whatever `state.create` allows to runs.
        """
        found = find_identity(self.uri, access=self.access)
        return self.identity or found

    def open(self, identity: LedgerIdentity, **how: Any) -> Ledger:
        """Open the ledger; see `open_ledger`."""
        return open_ledger(self.uri, identity, clock=SystemClock(), access=self.access, **how)


def place_of(text: str) -> LedgerPlace:
    """The place that a URI means, reached by what the environment says, or that a configuration names."""
    return LedgerPlace(text, StoreAccess(), None) if "://" in text else configured_place(Path(text))


def configured_place(path: Path | None) -> LedgerPlace:
    settings = required_config(path).require("state", "source", "amplitude.region")
    return LedgerPlace(settings.state.uri, settings.state.access(settings.source), settings.identity)


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
        print_json({"exit_code": 0, "from": origin.uri, "to": copied_to.uri, **_copy_facts(copied)})
        return 0
    shown = ((name.replace("_", " "), _text(value)) for name, value in _copy_facts(copied).items())
    stdout_console().print(facts_table(shown))
    return 0


def _text(value: str | int | dict[str, int]) -> str:
    if isinstance(value, dict):
        value = ", ".join(f"{count:,} {key}" for key, count in value.items())
    return str(value or "none")


def _copied(origin: LedgerPlace, copied_to: LedgerPlace) -> Copied:
    owner = LeaseOwner.here(f"copy-{secrets.token_hex(3)}", "state copy")
    identity = origin.whose()
    if copied_to.identity and not copied_to.identity.belongs_with(identity):
        raise UsageError(
            f"that state belongs to {identity}, and TO is the state of {copied_to.identity}",
            remedy="Name the place, or the configuration, of the same project and flow.",
        )
    with closing(origin.open(identity, create="never")) as source:
        target = copied_to.open(identity, create="auto", start_at=source.start_at)
        with closing(target):
            return copy_ledger(source, target, owner, place=copied_to.uri)


def _copy_facts(copied: Copied) -> dict[str, str | int | dict[str, int]]:
    return {
        "files": {state.value: count for state, count in copied.files.items()},
        "deferred": {reason.value: count for reason, count in copied.deferred.items()},
        "backlog_files": copied.backlog_files,
        "runs": copied.runs,
        "start_at": iso(copied.start_at),
        "created_at": iso(copied.created_at),
    }


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


@click.group()
def state() -> None:
    """Release a lease by hand; move the state between stores."""


for _command in (unlock, copy):
    state.add_command(_command)
