"""`braze-etl init`: look at a source, and write a configuration for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from pydantic import ValidationError
from rich.markup import escape

from braze_etl.clock import SystemClock, iso
from braze_etl.commands._options import output_option
from braze_etl.commands._output import plain_table, print_json, stdout_console
from braze_etl.errors import UsageError
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.quoting import visible

_FILE = Path("braze-etl.yaml")

_WIDE: Final = 120
_ALL: Final = ("event type", "files", "MB", "events a day", "a month", "no identity", "refused")
_FEW: Final = ("event type", "a day", "no id", "refused")
"""What a narrow terminal has room for beside names that must not be broken."""
_FAULTS: Final = 5


if TYPE_CHECKING:
    from datetime import datetime

    from rich.table import Table

    from braze_etl.commands.init.survey import Survey


@click.command()
@click.option("--source", required=True, metavar="URI", help="s3://bucket/prefix, or a folder.")
@click.option("-o", "target", type=click.Path(path_type=Path, dir_okay=False), help=f"By default {_FILE}.")
@click.option("--region", type=click.Choice(["US", "EU"]), help="Amplitude's region of the project.")
@click.option("--project", default="default", show_default=True, help="A name; the ledger belongs to it.")
@click.option("--state", metavar="URI", help="Where the ledger goes; by default beside the source.")
@click.option("--days", type=click.IntRange(1, 366), default=14, show_default=True, help="Days to look at.")
@click.option("--endpoint-url", help="An S3-compatible server for the source.")
@click.option("--source-region", help="The AWS region of the source.")
@click.option("--role-arn", help="A role to assume for the source.")
@click.option("--external-id", help="Goes with --role-arn.")
@click.option("--requester-pays", is_flag=True, help="The bucket of the source makes its readers pay.")
@click.option("--force", "--yes", is_flag=True, help="Overwrite the file if there is one.")
@output_option
def init(
    source: str,
    target: Path | None,
    region: str | None,
    project: str,
    state: str | None,
    days: int,
    source_region: str | None,
    force: bool,
    output: str,
    **reach: Any,
) -> int:
    """Look at a source, and write a commented configuration with every risky choice explicit.

    The source is only read: LIST requests, and the beginnings of a few files.
    """
    from braze_etl.commands.init.configuration import configuration, first_hour
    from braze_etl.commands.init.survey import survey

    path = target or _FILE
    if path.exists() and not force:
        raise UsageError(
            f"{path} exists", remedy="Name another file with -o, or give --force to overwrite this one."
        )
    amplitude = {"project": project, "region": region or "US"}
    reach["region"] = source_region
    settings = _settings({"uri": source, **reach}, amplitude, {} if state is None else {"uri": state})
    found = survey(settings, SystemClock(), days=days)
    named = None if state is None else settings.state.uri
    text = configuration(found, settings, state=named, region_given=region is not None)
    _write(path, text, force=force)
    if output == "json":
        print_json({"exit_code": 0, "config": str(path), **found.as_dict()})
    else:
        print_survey(found, source, first_hour(found.now))
        then = f"BRAZE_ETL_STATE_CREATE=auto braze-etl doctor -c {path}"
        click.echo(visible(f"{path} is written. Read it, then: {then}"))
    return 0


def _settings(source: dict[str, Any], amplitude: dict[str, Any], state: dict[str, Any]) -> Settings:
    names = {"pipeline": amplitude["project"], "mapping": {"unknown_types": "hold"}}
    try:
        return Settings.model_validate({"source": source, "amplitude": amplitude, "state": state, **names})
    except ValidationError as error:
        mistake = error.errors()[0]
        words = mistake.get("ctx", {}).get("error", mistake["msg"])
        raise UsageError(str(words), remedy="Correct the options of init.") from None


def _write(path: Path, text: str, *, force: bool) -> None:
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(
            f"{path} can't be written: {error.strerror}", remedy="Name another file with -o."
        ) from error


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
