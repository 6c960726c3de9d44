"""The command: which configurations, which output, which exit code."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape

from braze_etl.clock import iso
from braze_etl.commands._console import OpenConsole, print_failure
from braze_etl.commands._options import output_option, required_config
from braze_etl.commands._output import facts_table, plain_table, print_json, stdout_console
from braze_etl.engine.report import NOT_CUT_OFF, succeeded
from braze_etl.errors import BrazeEtlError
from braze_etl.monitoring import verification

_AGES = {
    "under_6h": "under 6 hours",
    "6h_to_24h": "6 to 24 hours",
    "24h_to_48h": "24 to 48 hours",
    "over_48h": "over 48 hours",
}
_TYPES_SHOWN = 10

_VARIABLE = "BRAZE_ETL_CONFIG"


@click.command()
@click.option(
    "-c",
    "--config",
    "config_paths",
    type=click.Path(path_type=Path),
    multiple=True,
    help=f"The configuration, by default ${_VARIABLE}; repeat it for several pipelines.",
)
@output_option
@click.option("--refresh", is_flag=True, help="List the source too, instead of going by the last listing.")
def status(config_paths: tuple[Path, ...], output: str, refresh: bool) -> int:
    """Say how old the oldest undelivered data is; exit 5 when the window is at risk."""
    as_json = output == "json"
    if len(config_paths) > 1:
        return _several(config_paths, as_json=as_json, refresh=refresh)
    named = os.environ.get(_VARIABLE)
    path = next(iter(config_paths), Path(named) if named else None)
    found = _read_status(path, refresh=refresh)
    if as_json:
        print_json(found.as_dict())
    else:
        print_block(stdout_console(), found)
    return found.exit_code


def _several(paths: tuple[Path, ...], *, as_json: bool, refresh: bool) -> int:
    seen = [_see(path, refresh=refresh) for path in paths]
    if as_json:
        print_json(as_dict(seen))
    else:
        print_several(stdout_console(), seen)
    return exit_code(seen)


def _see(path: Path, *, refresh: bool) -> ListedStatus:
    """Look at one of several: what is wrong with it must not hide the others."""
    try:
        return ListedStatus(path, status=_read_status(path, refresh=refresh))
    except BrazeEtlError as error:
        return ListedStatus(path, error=error)


def _read_status(path: Path | None, *, refresh: bool) -> PipelineStatus:
    from braze_etl.api import Pipeline

    return Pipeline(required_config(path)).status(refresh=refresh)


@dataclass(frozen=True)
class ListedStatus:
    """A configuration, and how its pipeline stands or why that can't be told."""

    path: Path
    status: PipelineStatus | None = None
    error: BrazeEtlError | None = None

    @property
    def exit_code(self) -> int:
        """What `status` would end with for this one alone."""
        if self.error is not None:
            return self.error.exit_code
        return self.status.exit_code if self.status else 0

    def as_dict(self) -> dict[str, Any]:
        """The status of this one as JSON values, with the file it is configured by."""
        config = {"config": str(self.path)}
        if self.error is not None:
            return {**config, "exit_code": self.exit_code, "error": self.error.as_dict()}
        return {**config, **(self.status.as_dict() if self.status else {})}


def exit_code(seen: Sequence[ListedStatus]) -> int:
    """The highest: 5 when any is at risk, else that of an error."""
    return max(each.exit_code for each in seen)


def as_dict(seen: Sequence[ListedStatus]) -> dict[str, Any]:
    """All of them as one JSON object."""
    return {"exit_code": exit_code(seen), "pipelines": [each.as_dict() for each in seen]}


def print_several(console: OpenConsole, seen: Sequence[ListedStatus]) -> None:
    """Print a table with a line for each, and then the blocks."""
    table = plain_table(
        *("pipeline", "window", "last delivery", "backlog", "MB", "deferred", "quarantined", "exit"),
        numbers=(3, 4, 5, 6, 7),
    )
    for each in seen:
        table.add_row(*_cells(each))
    console.print(table)
    for each in seen:
        console.print()
        if each.status is not None:
            print_block(console, each.status)
        elif each.error is not None:
            console.print(f"[bold]{escape(str(each.path))}[/]")
            print_failure(console, each.error)


def _cells(seen: ListedStatus) -> list[str]:
    found = seen.status
    if found is None:
        return [escape(str(seen.path)), "[red]can't be told[/]", *[""] * 5, str(seen.exit_code)]
    last = found.summary.last_delivery if found.summary else None
    return [
        escape(found.pipeline),
        verdict(found),
        ago(last, found.now),
        f"{found.backlog.files:,}",
        f"{found.backlog.bytes / 1e6:,.1f}",
        f"{sum(each.records for each in found.deferred.values()):,}",
        f"{found.set_aside.entries:,}",
        str(seen.exit_code),
    ]


def print_block(console: Console, found: PipelineStatus) -> None:
    """Print how a pipeline stands."""
    console.print(facts_table(_facts(found)))
    if found.backlog.files:
        _print_backlog(console, found.as_dict()["backlog"])
    if found.runs:
        _print_runs(console, found)


if TYPE_CHECKING:
    from braze_etl.flows.currents_to_amplitude.status import Deferred, PipelineStatus
    from braze_etl.state.ledger import LedgerSummary, RunRecord


def verdict(found: PipelineStatus) -> str:
    """How much of the window is left, in a few words."""
    left, objective = found.window.hours_left(found.now), found.window.objective / timedelta(hours=1)
    text = "never listed" if left is None else f"{left:.1f} of {objective:.0f} hours left"
    return f"[red]{text}, AT RISK[/]" if found.at_risk else text


def ago(moment: datetime | None, now: datetime) -> str:
    """A moment with its age."""
    if moment is None:
        return "never"
    return f"{iso(moment)} ({(now - moment) / timedelta(hours=1):.1f} hours ago)"


def _facts(found: PipelineStatus) -> Iterator[tuple[str, str]]:
    oldest = found.window.oldest_undelivered
    yield "pipeline", escape(found.pipeline)
    yield "window", verdict(found)
    yield "oldest undelivered", ago(oldest, found.now) if oldest else "nothing"
    if found.no_ledger is not None:
        yield "ledger", escape(f"{found.no_ledger.message} {found.no_ledger.remedy}")
    if found.summary is not None:
        yield from _summary_facts(found, found.summary)
    yield "quarantined", _quarantined(found)
    if found.verification:
        yield "last verification", _verification(found)
    if found.quarantine_stop:
        yield "stopped", f"[red]{escape(found.stop_words)}[/]"
    if found.unknown_types:
        yield (
            "unknown types",
            escape(", ".join(f"{name} ({n:,} read)" for name, n in found.unknown_types.items())),
        )
    if found.drift_words:
        yield "schema drift", escape(found.drift_words)
    if found.account is not None:
        yield from ((name, escape(words)) for name, words in found.account.facts())
    yield "lease", escape(str(found.holder)) if found.holder else "free"


def _summary_facts(found: PipelineStatus, summary: LedgerSummary) -> Iterator[tuple[str, str]]:
    yield "last delivery", ago(summary.last_delivery, found.now)
    yield "last complete listing", ago(summary.last_listing, found.now)
    backlog = found.backlog
    events = sum(found.estimated_events().values())
    amount = f"{backlog.files:,} files, {backlog.bytes / 1e6:,.1f} MB, about {events:,} events"
    newest = escape(found.source.words(found.now))
    yield "newest hour of source", f"[red]{newest}, QUIET[/]" if found.source.is_stale(found.now) else newest
    yield "backlog", f"{amount}{', listed now' if found.listed else ''}" if backlog.files else "nothing"
    if backlog.files:
        yield "forecast", escape(found.forecast.message)
    if found.start_at is not None:
        before = "not counted yet" if summary.before_start is None else f"{summary.before_start:,} files"
        yield "before start", f"{before}, older than {iso(found.start_at)}"
    deferred = (_deferred(reason.value, each) for reason, each in found.deferred.items())
    yield "deferred", ", ".join(deferred) or "0 records"


def _deferred(reason: str, each: Deferred) -> str:
    when = f", from {iso(each.earliest)} on" if each.earliest else ""
    return f"{each.records:,} records {reason}{when}"


def _quarantined(found: PipelineStatus) -> str:
    entries, reasons = f"{found.set_aside.entries:,} entries", found.set_aside.by_reason
    if not reasons:
        return entries
    return f"{entries}: {', '.join(f'{count:,} {reason.value}' for reason, count in reasons.most_common())}"


def _verification(found: PipelineStatus) -> str:
    note = found.verification
    when, said = ago(datetime.fromisoformat(note["finished_at"]), found.now), escape(verification.words(note))
    return f"{when}: {f'[red]{said}[/]' if verification.still_missing(note) else said}"


def _print_backlog(console: Console, backlog: dict[str, Any]) -> None:
    table = plain_table("backlog by type and age", "files", "MB", "events, about", numbers=(1, 2, 3))
    largest = sorted(backlog["by_event_type"].items(), key=_size, reverse=True)
    for event_type, line in largest[:_TYPES_SHOWN]:
        table.add_row(escape(event_type), *_numbers(line))
    if others := largest[_TYPES_SHOWN:]:
        table.add_row(f"{len(others)} more event types", *_numbers(_total([line for _, line in others])))
    table.add_section()
    for age, line in backlog["by_age"].items():
        if line["files"]:
            table.add_row(_AGES[age], *_numbers(line))
    console.print()
    console.print(table)


def _size(item: tuple[str, dict[str, int]]) -> int:
    return item[1]["bytes"]


def _total(lines: list[dict[str, int]]) -> dict[str, int]:
    return {name: sum(line[name] for line in lines) for name in lines[0]}


def _numbers(line: dict[str, int]) -> list[str]:
    return [f"{line['files']:,}", f"{line['bytes'] / 1e6:,.1f}", f"{line['estimated_events']:,}"]


def _print_runs(console: Console, found: PipelineStatus) -> None:
    table = plain_table(
        *("run", "command", "started", "seconds", "exit", "accepted", "files done", "remaining"),
        numbers=(3, 4, 5, 6, 7),
    )
    for run in found.runs:
        table.add_row(*_run_cells(run, found))
    console.print()
    console.print(table)


def _run_cells(run: RunRecord, found: PipelineStatus) -> list[str]:
    report, files = run.report, run.report.get("files", {})
    at_work = found.holder is not None and found.holder.owner.run_id == run.run_id
    no_end = "at work" if at_work else "killed"
    no_success = ", no success" if run.exit_code in NOT_CUT_OFF and not succeeded(run) else ""
    return [
        run.run_id,
        run.command,
        iso(run.started_at),
        f"{report['seconds']:,.1f}" if "seconds" in report else "",
        no_end if run.exit_code is None else f"{run.exit_code}{no_success}",
        f"{report.get('events', {}).get('accepted', 0):,}",
        f"{files.get('done', 0):,}",
        f"{files.get('remaining', 0):,}",
    ]
