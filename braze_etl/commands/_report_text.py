"""A run report for people: what happened to every record, in a few aligned lines."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape

from braze_etl.commands._console import print_failure
from braze_etl.commands._output import facts_table, plain_table, stdout_console
from braze_etl.engine.report import CHANGED_LATE, RunReport
from braze_etl.model import Tally

_MEANING = {
    0: "everything due was delivered",
    1: "failed",
    3: "finished; records were set aside",
    4: "work is left for the next run",
    130: "interrupted; the rest is left for the next run",
    143: "interrupted; the rest is left for the next run",
}


def print_report(report: RunReport) -> None:
    """Print the report as text on stdout."""
    console = stdout_console()
    _print_tally(console, report)
    console.print(facts_table(_facts(report)))
    if report.error is not None:
        print_failure(console, report.error)
    code = report.exit_code or 0
    colour = "green" if code == 0 else "yellow" if code in (3, 4) else "red"
    console.print(f"[{colour}]exit {code}: {_meaning(code, report.events.quarantined)}[/]")


def _meaning(code: int, set_aside: int) -> str:
    if code == 0 and set_aside:
        return f"nothing is left to deliver; {set_aside:,} records stay set aside"
    return _MEANING.get(code, "")


def _print_tally(console: Console, report: RunReport) -> None:
    table = plain_table(
        "event type", "read", "accepted", "filtered", "quarantined", "deferred", numbers=(1, 2, 3, 4, 5)
    )
    for event_type, tally in sorted(report.counts.by_event_type.items()):
        table.add_row(escape(event_type), *_numbers(tally))
    if report.counts.by_event_type:
        table.add_section()
        table.add_row("all", *_numbers(report.events), style="bold")
        console.print(table)
        console.print()


def _numbers(tally: Tally) -> list[str]:
    return [f"{number:,}" for number in tally.as_dict().values()]


def _left_alone(report: RunReport) -> Iterator[tuple[str, str]]:
    if report.archived.files:
        yield "archived", f"{report.archived.files:,} files left alone; `plan` tells how to restore them"
    if report.changed:
        yield "changed", f"{report.changed:,} files, {CHANGED_LATE}"


def _times(report: RunReport) -> Iterator[tuple[str, str]]:
    now = report.finished_at or report.started_at
    if report.window is not None:
        left = report.window.hours_left(now)
        yield "48-hour window", "never listed completely" if left is None else f"{left} hours left"
    if report.source is not None:
        quiet = "QUIET: " if report.source.is_stale(now) else ""
        yield "newest hour of source", f"{quiet}{report.source.words(now)}"
    if report.forecast is not None and report.forecast.deadlines:
        yield "forecast", escape(report.forecast.message)


def _facts(report: RunReport) -> Iterator[tuple[str, str]]:
    files = f"{report.done:,} done, {report.failed:,} failed, {report.remaining:,} remaining"
    yield "files", f"{report.discovered:,} due: {files}"
    if reasons := report.counts.by_reason:
        yield "not sent", ", ".join(f"{count:,} {reason.value}" for reason, count in reasons.most_common())
    for title, counts in (("repaired", report.repairs), ("warnings", report.warnings)):
        if counts:
            yield title, ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
    yield from ((title, escape(words)) for title, words in report.extras.lines(report.records_read))
    if report.account is not None:
        yield from ((name, escape(words)) for name, words in report.account.facts())
    if report.held:
        yield "held", f"{report.held.total():,} events of {escape(', '.join(sorted(report.held)))}"
    yield from _left_alone(report)
    requests = report.requests
    posted = f"{requests.sent:,} sent, {requests.retried:,} retried, {requests.throttled:,} throttled"
    raw, wire = f"{requests.bytes_raw / 1e6:,.1f} MB", f"{requests.bytes_wire / 1e6:,.1f} MB on the wire"
    yield "requests", f"{posted}; {raw}, {wire}"
    yield from _times(report)
    rate = report.events.read / report.seconds if report.seconds else 0.0
    yield "time", f"{report.seconds:.1f} s, {rate:,.0f} events/s"
