"""`braze-etl verify`: what was delivered, held against what Amplitude has; what is missing, sent again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from braze_etl.clock import parse_duration
from braze_etl.commands._options import (
    ParsedType,
    config_option,
    log_options,
    output_option,
    range_options,
    required_config,
    workers_option,
)
from braze_etl.commands._output import plain_table, print_json, stdout_console
from braze_etl.config.values import parse_size
from braze_etl.engine.executors.fork_server import start_fork_server

if TYPE_CHECKING:
    from braze_etl.flows.currents_to_amplitude.verification.findings import Verification

_COLUMNS = ("expected", "present", "missing", "repeated", "too_early")
_SHOWN = 5
LEFT_ALONE = {
    "blocked": "Amplitude blocks their types, and would drop them again",
    "older_than_deduplication": "they were accepted more than 7 days ago; with --beyond-dedup they are sent, "
    "and count twice where Amplitude has them after all",
}


@click.command()
@config_option
@output_option
@range_options
@click.option("--run", "run_id", metavar="ID", help="Instead of hours: the files that this run has settled.")
@click.option(
    "--export",
    default="amplitude://export",
    show_default=True,
    metavar="URI",
    help="Amplitude's Export API, or a folder or s3://bucket/prefix with its raw export files.",
)
@click.option(
    "--settle",
    type=ParsedType("duration", parse_duration),
    default="24h",
    show_default=True,
    help="What was accepted more recently is too early to be judged.",
)
@click.option(
    "--max-download",
    type=ParsedType("size", parse_size),
    default="20GB",
    show_default=True,
    help="Stop where more would be downloaded.",
)
@click.option(
    "--missing",
    "list_to",
    type=click.Path(path_type=Path),
    help="Write all that is missing to this file, a JSON object a line.",
)
@click.option(
    "--counts",
    is_flag=True,
    help="Compare only how many events of each type there are a day, in amplitude.time_zone: a hint, at no "
    "download.",
)
@click.option("--repair", is_flag=True, help="Send what is missing once more, with the same ids.")
@click.option(
    "--beyond-dedup",
    is_flag=True,
    help="Repair also what was accepted more than 7 days ago: if it is there after all, it counts twice.",
)
@workers_option
@log_options
def verify(
    config_path: Path | None,
    output: str,
    since: datetime | None,
    to: datetime | None,
    until: datetime | None,
    event_types: tuple[str, ...],
    run_id: str | None,
    export: str,
    settle: timedelta,
    max_download: int,
    list_to: Path | None,
    counts: bool,
    repair: bool,
    beyond_dedup: bool,
    workers: Any,
) -> int:
    """Compare what was delivered with what Amplitude holds, event by event.

    Without --from and --run, of the last whole UTC day that ended --settle ago. Exit 6 when something is
    missing.
    """
    start_fork_server("braze_etl.flows.currents_to_amplitude.worker")
    from braze_etl.commands._running import attended

    found = attended(required_config(config_path), as_json=output == "json").verify(
        from_=since,
        to=to,
        until=until,
        event_types=event_types,
        run=run_id,
        export=export,
        settle=settle,
        max_download=max_download,
        list_to=list_to,
        counts=counts,
        repair=repair,
        beyond_dedup=beyond_dedup,
        workers=workers,
    )
    if output == "json":
        print_json(found.as_dict())
    else:
        _print(found)
    return found.exit_code


def _print(found: Verification) -> None:
    from braze_etl.commands._report_text import print_report
    from braze_etl.flows.currents_to_amplitude.verification.expected import WORDS

    console, facts = stdout_console(), found.as_dict()
    for reason, files in found.not_comparable.most_common():
        console.print(f"{files:,} files are not compared: {WORDS[reason]}", markup=False)
    if not facts["total"]["expected"]:
        console.print("nothing is expected: no event of these files was accepted")
        return
    console.print(_table(facts))
    for line in _totals(found) if found.asked.counts else _events(found, facts):
        console.print(line, markup=False)
    if found.repair is not None:
        console.print()
        print_report(found.repair)


def _totals(found: Verification) -> Iterator[str]:
    for count in found.counts:
        if count.held < count.expected:
            yield f"{count.day} {count.name}: {count.held:,} of {count.expected:,} are there"


def _events(found: Verification, facts: dict[str, Any]) -> Iterator[str]:
    hours, size = facts["hours"], facts["downloaded"] / 1e6
    yield ""
    yield f"{found.files:,} files against {hours['count']:,} hours of {facts['export']}, {size:,.1f} MB"
    if found.result.foreign:
        by_library = ", ".join(f"{events:,} by {library}" for library, events in facts["foreign"].items())
        yield f"other events of these hours: {by_library}"
    for likely in found.reasons:
        yield f"{likely.events:,} missing: {likely.words}"
    for example in facts["missing"][:_SHOWN]:
        yield "missing: {insert_id} {key}#{block}#{record}".format(**example)
    for why, events in found.left_alone.items():
        yield f"{events:,} missing are not sent: {LEFT_ALONE[why]}"


def _table(facts: dict[str, Any]) -> Table:
    table = plain_table("event type", *(name.replace("_", " ") for name in _COLUMNS), numbers=(1, 2, 3, 4, 5))
    rows = {**facts["by_event_type"], **({"all": facts["total"]} if len(facts["by_event_type"]) > 1 else {})}
    for event_type, tally in rows.items():
        table.add_row(escape(event_type), *(f"{tally[name]:,}" for name in _COLUMNS))
    return table
