"""`braze-etl quarantine`: what was set aside and why; send it again or give it up."""

from __future__ import annotations

import secrets
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import orjson
from rich.markup import escape
from rich.table import Table

from braze_etl.clock import Clock, SystemClock, iso, parse_duration, parse_hour
from braze_etl.commands._options import (
    ParsedType,
    config_option,
    output_option,
    pass_options,
    required_config,
    together,
)
from braze_etl.commands._output import facts_table, plain_table, print_json, stdout_console
from braze_etl.errors import UsageError
from braze_etl.flows.currents_to_amplitude.guards import REASONS, selected_entries
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.pipeline import open_quarantine, open_state
from braze_etl.model import ReasonCounts
from braze_etl.quarantine.entry import Entry, Selection
from braze_etl.state.ledger import LeaseOwner

_SHOWN = 50


def counts_json(counts: ReasonCounts) -> list[dict[str, Any]]:
    return [
        {"reason": reason.value, "event_type": event_type, "entries": entries}
        for (event_type, reason), entries in counts.most_common()
    ]


def counts_table(counts: ReasonCounts) -> Table:
    table = plain_table("entries", "reason", "event type", numbers=(0,))
    for (event_type, reason), entries in counts.most_common():
        table.add_row(f"{entries:,}", reason.value, escape(event_type))
    return table


def moment(value: Any) -> datetime:
    """Read `7d` (before now), or a UTC hour as elsewhere; raises `ValueError`."""
    if isinstance(value, datetime):
        return value
    try:
        return datetime.now(UTC) - parse_duration(value)
    except (ValueError, OverflowError):
        pass
    try:
        return parse_hour(value)
    except ValueError as error:
        raise ValueError(f"{error}, or an age such as 7d") from None


_MOMENT = ParsedType("moment", moment)

selectors = together(
    click.option("--id", "ids", multiple=True, help="These entries; the beginning of an id will do."),
    click.option("--reason", "reasons", multiple=True, type=click.Choice(REASONS), help="For these reasons."),
    click.option("--event-type", "event_types", multiple=True, metavar="GLOB", help="Of these event types."),
    click.option("--file", "files", multiple=True, metavar="GLOB", help="Of these files, by their keys."),
    click.option("--since", type=_MOMENT, help="Set aside since then: 7d, or a UTC hour."),
    click.option("--until", type=_MOMENT, help="Set aside before then: 7d, or a UTC hour."),
)
"""All that are given must hold."""


@click.command()
@config_option
@output_option
@selectors
@click.option("--all", "everything", is_flag=True, help="Every entry; needed where no other option is given.")
def drop(config_path: Path | None, output: str, everything: bool, **asked: Any) -> int:
    """Give entries up: they are removed, and their records are never sent."""
    if everything == any(asked.values()):
        raise UsageError(
            "drop needs to know which entries are meant"
            if not everything
            else "--all means every entry, and the other options only some",
            remedy="Name them by --id, --reason, --event-type, --file, --since or --until, or all by --all.",
        )

    settings = required_config(config_path).require("quarantine", "source", "state", "amplitude.region")
    dropped = drop_entries(settings, selected_entries(open_quarantine(settings), **asked), SystemClock())
    if output == "json":
        print_json({"exit_code": 0, "dropped": dropped.total(), "counts": counts_json(dropped)})
        return 0
    console = stdout_console()
    if dropped:
        console.print(counts_table(dropped))
    console.print(f"{dropped.total():,} entries dropped")
    return 0


def drop_entries(settings: Settings, where: Selection, clock: Clock) -> ReasonCounts:
    """Remove the entries that *where* means, and return how many there were.

    The books of their files stay: those records are quarantined for good. `LeaseHeldError` while a run is at
    work, for the holder of the lease alone writes to the quarantine.
    """
    owner = LeaseOwner.here(f"drop-{secrets.token_hex(3)}", "quarantine drop")
    with closing(open_state(settings, clock)) as ledger, ledger.lease(owner):
        return open_quarantine(settings).drop(where)


def facts(entry: Entry) -> dict[str, Any]:
    """What is known of an entry; never its payload."""
    return {
        "id": entry.id,
        "reason": entry.reason.value,
        "event_type": entry.event_type,
        "detail": entry.detail,
        "key": entry.position.key,
        "etag": entry.position.etag,
        "block": entry.position.block,
        "record": entry.position.record,
        "run_id": entry.run_id,
        "at": iso(entry.at),
    }


@click.command(name="list")
@config_option
@output_option
@selectors
@click.option(
    "--limit", type=click.IntRange(min=0), default=_SHOWN, show_default=True, help="Entries to show."
)
def list_entries(config_path: Path | None, output: str, limit: int, **asked: Any) -> int:
    """List entries, with counts by reason and event type."""
    quarantine = open_quarantine(required_config(config_path).require("quarantine", "source"))
    counts: ReasonCounts = Counter()
    shown: list[Entry] = []
    for entry in quarantine.entries(selected_entries(quarantine, **asked)):
        counts[entry.event_type, entry.reason] += 1
        if len(shown) < limit:
            shown.append(entry)
    if output == "json":
        entries = [facts(entry) for entry in shown]
        print_json({"total": counts.total(), "counts": counts_json(counts), "entries": entries})
    else:
        _print(counts, shown, filtered=any(asked.values()))
    return 0


def _print(counts: ReasonCounts, shown: list[Entry], *, filtered: bool) -> None:
    console = stdout_console()
    if not counts:
        console.print("no entry is meant by these options" if filtered else "the quarantine is empty")
        return
    console.print(counts_table(counts))
    if shown:
        table = plain_table("id", "set aside at", "reason", "event type", "detail")
        for entry in shown:
            table.add_row(
                entry.id, iso(entry.at), entry.reason.value, escape(entry.event_type), escape(entry.detail)
            )
        console.print()
        console.print(table)
    if counts.total() > len(shown):
        console.print(f"{counts.total() - len(shown):,} more; --limit shows more of them")


@click.command()
@config_option
@output_option
@selectors
@pass_options
def replay(config_path: Path | None, output: str, ok_exit: frozenset[int], **options: Any) -> int:
    """Read entries' records again and send them, through the mapping in force; without options, all."""
    from braze_etl.commands._running import perform

    config = required_config(config_path)
    return perform(config, lambda pipeline: pipeline.replay(**options), output=output, ok_exit=ok_exit)


@click.command()
@click.argument("entry_id", metavar="ID")
@config_option
@output_option
def show(entry_id: str, config_path: Path | None, output: str) -> int:
    """Show one entry whole; the first characters of its id will do.

    With its payload, which is personal data, where that is kept and has not expired.
    """
    quarantine = open_quarantine(required_config(config_path).require("quarantine", "source"))
    entry = quarantine.get(entry_id)
    shown = facts(entry)
    payload = quarantine.payload(entry, SystemClock().now())
    if payload is not None:
        shown["payload"] = payload
    if output == "json":
        print_json(shown)
        return 0
    stdout_console().print(facts_table((name, _text(value)) for name, value in shown.items()))
    return 0


def _text(value: Any) -> str:
    text = orjson.dumps(value).decode() if isinstance(value, dict) else str(value)
    return "" if value is None else escape(text)


@click.group()
def quarantine() -> None:
    """Look at what was set aside; send it again or give it up."""


for _command in (list_entries, show, replay, drop):
    quarantine.add_command(_command)
