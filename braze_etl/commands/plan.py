"""`braze-etl plan`: what `run` or `backfill` would do; sends nothing, writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from braze_etl.commands._options import (
    changed_only_option,
    config_option,
    output_option,
    range_options,
    required_config,
    workers_option,
)
from braze_etl.commands._output import facts_table, plain_table, print_json, stdout_console
from braze_etl.engine.executors.fork_server import start_fork_server
from braze_etl.flows.currents_to_amplitude.remapped import WORDS, ChangePlan

if TYPE_CHECKING:
    from braze_etl.engine.executors.workers import Workers
    from braze_etl.flows.currents_to_amplitude.plan import Plan

_PlanT = TypeVar("_PlanT", "Plan", ChangePlan)


@click.command()
@config_option
@output_option
@range_options
@click.option("--exact", is_flag=True, help="Read every file and map it, instead of estimating from sizes.")
@changed_only_option
@workers_option
def plan(
    config_path: Path | None,
    output: str,
    since: datetime | None,
    to: datetime | None,
    until: datetime | None,
    event_types: tuple[str, ...],
    exact: bool,
    changed_only: bool,
    workers: Workers | None,
) -> int:
    """Say what `run` would do, or with a range, what `backfill` would do."""
    if exact or changed_only:
        start_fork_server("braze_etl.flows.currents_to_amplitude.worker")
    from braze_etl.api import Pipeline

    pipeline = Pipeline(required_config(config_path))
    if changed_only:
        changes = pipeline.plan_changes(
            from_=since, to=to, until=until, event_types=event_types, workers=workers
        )
        return _told(changes, print_changes, output)
    made = pipeline.plan(
        from_=since, to=to, until=until, event_types=event_types, exact=exact, workers=workers
    )
    return _told(made, _print, output)


def _told(made: _PlanT, print_text: Callable[[_PlanT], None], output: str) -> int:
    if output == "json":
        print_json({"exit_code": 0, **made.as_dict()})
    else:
        print_text(made)
    return 0


def _print(made: Plan) -> None:
    from braze_etl.engine.source_health import WORDS as UNFAMILIAR_WORDS

    console = stdout_console()
    if made.archived.files:
        console.print(
            f"{made.archived.files:,} files, {made.archived.bytes / 1e6:,.1f} MB, are archived and left."
            " To restore them:"
        )
        console.print(made.restore, markup=False, lines=True)
    if made.refusal:
        console.print(f"warning: `run` would be refused. {made.refusal.message}", markup=False)
        console.print(made.refusal.remedy, markup=False)
    elif made.unfamiliar:
        console.print(f"warning: {made.unfamiliar:,} files: {UNFAMILIAR_WORDS}", markup=False)
    if not made.files:
        console.print("nothing is due")
        return
    facts = made.as_dict()
    console.print(_table(facts))
    _print_spending(console, made)
    how = "exact" if made.exact else "events are estimated; --exact reads the files"
    console.print(
        f"\n{facts['files']:,} files, {facts['bytes'] / 1e6:,.1f} MB, {facts['events']:,} events,"
        f" {facts['requests']:,} requests ({how})"
    )
    if facts["users"] is not None:
        error = f" (an estimate, give or take {facts['users_error']:.1%})" if facts["users_error"] else ""
        console.print(f"{facts['users']:,} distinct users{error}")
    for day in facts.get("busy_ids", {"days": ()})["days"]:
        ids = ", ".join(f"{each['id']} ({each['events']:,})" for each in day["ids"])
        bound = facts["busy_ids"]["flag_above"]
        console.print(f"ids above {bound:,} events on {day['day']}: {ids}", markup=False)
    console.print(f"from {facts['oldest_hour']} to {facts['newest_hour']}")
    console.print(f"takes {_time(facts['seconds'])}; at Amplitude's limit {_time(facts['seconds_at_limit'])}")


def _print_spending(console: Console, made: Plan) -> None:
    if made.spending is not None:
        console.print()
        console.print(facts_table(made.spending.facts()))


def _table(facts: dict[str, Any]) -> Table:
    users = ["users"] if facts["users"] is not None else []
    names = ["event type", "files", "MB", "events", "to send", *users, "not sent"]
    table = plain_table(*names, numbers=tuple(range(1, len(names) - 1)))
    for event_type, line in facts["by_event_type"].items():
        table.add_row(
            escape(event_type),
            f"{line['files']:,}",
            f"{line['bytes'] / 1e6:,.1f}",
            f"{line['events']:,}",
            f"{line['to_send']:,}",
            *[f"{line[each]:,}" for each in users],
            ", ".join(f"{records:,} {reason}" for reason, records in line["reasons"].items()),
        )
    return table


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "a time that no run has measured yet"
    if seconds < 100:
        return f"{seconds:,.1f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"


def print_changes(made: ChangePlan) -> None:
    """Print the plan as text on stdout."""
    console, facts = stdout_console(), made.as_dict()
    for why, files in made.difference.not_comparable.items():
        console.print(f"{files:,} files are left alone: {WORDS[why]}", markup=False)
    if made.restore:
        console.print(f"{facts['archived']['files']:,} files are archived and left. To restore them:")
        console.print(made.restore, markup=False, lines=True)
    if not made.difference.files:
        console.print("the mapping lets nothing through that was not sent")
        return
    console.print(_changes_table(facts))
    console.print(
        f"\n{facts['to_send']:,} events of {facts['files']:,} files, {facts['requests']:,} requests;"
        " everything else is left alone"
    )
    for name, value in made.spending.facts() if made.spending else ():
        console.print(f"{name}: {value}", markup=False)


def _changes_table(facts: dict[str, Any]) -> Table:
    table = plain_table("event type", "files", "to send", "was not sent as", numbers=(1, 2))
    for event_type, line in facts["by_event_type"].items():
        reasons = ", ".join(f"{records:,} {reason}" for reason, records in line["reasons"].items())
        table.add_row(escape(event_type), f"{line['files']:,}", f"{line['to_send']:,}", reasons)
    return table
