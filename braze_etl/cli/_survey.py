"""A survey as lines for people: what `init` has found, and what to know before the file is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from rich.markup import escape

from braze_etl.cli._output import plain_table, stdout_console
from braze_etl.clock import iso

if TYPE_CHECKING:
    from datetime import datetime

    from rich.table import Table

    from braze_etl.run.starting import Survey

_WIDE: Final = 120
_ALL: Final = ("event type", "files", "MB", "events a day", "a month", "no identity", "refused")
_FEW: Final = ("event type", "a day", "no id", "refused")
"""What a narrow terminal has room for beside names that must not be broken."""
_FAULTS: Final = 5


def print_survey(found: Survey, source: str, start_at: datetime) -> None:
    """Print what was found below *source*, for a configuration that begins at *start_at*."""
    console, facts = stdout_console(), found.as_dict()
    console.print(_table(facts, is_wide=console.width >= _WIDE))
    looked = facts["looked_at"]
    newest, oldest = facts["newest_hour"] or "none", facts["oldest_hour"] or "none"
    console.print(f"\n{looked['days']:,.1f} days up to {newest}; the oldest hour is {oldest}")
    console.print(
        f"looked at with {looked['lists']:,} LIST requests and {looked['reads']:,} reads;"
        f" {looked['records']:,} records sampled"
    )
    codecs = ", ".join(facts["codecs"]) or "none seen"
    console.print(
        f"integrations: {', '.join(facts['integrations']) or 'not named'}; codecs: {codecs}", markup=False
    )
    for note in _notes(found, source, start_at):
        console.print(note, markup=False)


def _table(facts: dict[str, Any], *, is_wide: bool) -> Table:
    names = _ALL if is_wide else _FEW
    table = plain_table(*names, numbers=tuple(range(1, len(names))))
    table.columns[0].no_wrap = True
    table.columns[0].min_width = max(map(len, facts["by_event_type"]))
    lines = sorted(facts["by_event_type"].items(), key=lambda item: item[1]["events"], reverse=True)
    for name, line in lines:
        shares = (_share(line["without_identity"]), _share(line["refused"]))
        per_day, per_month = f"{line['events_per_day']:,}", f"{line['events_per_month']:,}"
        size = (f"{line['files']:,}", f"{line['bytes'] / 1e6:,.1f}")
        table.add_row(escape(name), *((*size, per_day, per_month) if is_wide else (per_day,)), *shares)
    return table


def _notes(found: Survey, source: str, start_at: datetime) -> Iterator[str]:
    """What is worth a line only where it is so."""
    sample = found.sample
    if found.source != source:
        yield f"source.uri: {found.source}, where all of it lies"
    if sample.denied:
        first, files = sample.denied[0], f"{len(sample.denied):,} of {found.asked:,} sampled files"
        yield f"{files} could not be read, so that events are guessed from bytes: {first.message}"
        yield f"  -> {first.remedy}"
    yield from (f"unreadable in the sample: {fault}" for fault in sample.faults[:_FAULTS])
    if found.overlaps:
        name, ids = next(iter(found.overlaps)), sorted(set().union(*found.overlaps.values()))
        yield f"{len(found.overlaps):,} event types, such as {name}, come from {' and '.join(ids)} at once"
        yield f"  -> only {', '.join(found.chosen)} is chosen; add others if they export other workspaces"
    if found.newest is not None and found.newest < start_at:
        yield f"nothing is newer than source.start_at ({iso(start_at)}): a run would find nothing to send"
        yield "  -> set it earlier, or send what is there with `braze-etl backfill`"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
