"""`braze-etl init`: look at a source, and write a configuration for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError
from rich.markup import escape

from braze_etl.cli._options import output_option
from braze_etl.cli._output import plain_table, print_json, stdout_console
from braze_etl.clock import SystemClock
from braze_etl.config import Settings
from braze_etl.errors import UsageError

if TYPE_CHECKING:
    from braze_etl.run.starting import Survey

_FILE = Path("braze-etl.yaml")


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
@click.option("--force", "--yes", is_flag=True, help="Overwrite the file if there is one.")
@output_option
def init(
    source: str,
    target: Path | None,
    region: str | None,
    project: str,
    state: str | None,
    days: int,
    endpoint_url: str | None,
    source_region: str | None,
    role_arn: str | None,
    force: bool,
    output: str,
) -> int:
    """Look at a source, and write a commented configuration with every risky choice explicit.

    The source is only read: LIST requests, and the beginnings of a few files.
    """
    from braze_etl.run.starting import Choices, configuration, survey

    path = target or _FILE
    _refuse_to_overwrite(path, force=force)
    reach = {"endpoint_url": endpoint_url, "region": source_region, "role_arn": role_arn}
    settings = _settings({"uri": source, **reach}, {"project": project, "region": region or "US"})
    found = survey(settings, SystemClock(), days=days)
    _write(path, configuration(found, settings, Choices(state, region is not None)), force=force)
    if output == "json":
        print_json({"exit_code": 0, "config": str(path), **found.as_dict()})
    else:
        _print(found, path)
    return 0


def _settings(source: dict[str, Any], amplitude: dict[str, Any]) -> Settings:
    names = {"pipeline": amplitude["project"], "mapping": {"unknown_types": "hold"}}
    try:
        return Settings.model_validate({"source": source, "amplitude": amplitude, **names})
    except ValidationError as error:
        raise UsageError(str(error.errors()[0]["msg"]), remedy="Correct the options of init.") from None


def _refuse_to_overwrite(path: Path, *, force: bool) -> None:
    if path.exists() and not force:
        raise UsageError(
            f"{path} exists", remedy="Name another file with -o, or give --force to overwrite this one."
        )


def _write(path: Path, text: str, *, force: bool) -> None:
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(
            f"{path} can't be written: {error.strerror}", remedy="Name another file with -o."
        ) from error


def _print(found: Survey, path: Path) -> None:
    console, facts = stdout_console(), found.as_dict()
    names = ("event type", "files", "MB", "events a day", "a month", "no identity", "refused")
    table = plain_table(*names, numbers=tuple(range(1, len(names))))
    lines = sorted(facts["by_event_type"].items(), key=lambda item: item[1]["events"], reverse=True)
    for name, line in lines:
        table.add_row(
            escape(name),
            f"{line['files']:,}",
            f"{line['bytes'] / 1e6:,.1f}",
            f"{line['events_per_day']:,}",
            f"{line['events_per_month']:,}",
            _share(line["without_identity"]),
            _share(line["refused"]),
        )
    console.print(table)
    looked = facts["looked_at"]
    newest, oldest = facts["newest_hour"] or "none", facts["oldest_hour"] or "none"
    console.print(f"\n{looked['days']:,.1f} days up to {newest}; the oldest hour is {oldest}")
    console.print(
        f"looked at with {looked['lists']:,} LIST requests and {looked['reads']:,} reads;"
        f" {looked['records']:,} records sampled"
    )
    codecs = ", ".join(facts["codecs"]) or "none seen"
    console.print(f"integrations: {', '.join(facts['integrations']) or 'not named'}; codecs: {codecs}")
    for fault in facts["faults"][:5]:
        console.print(f"unreadable in the sample: {fault}", markup=False)
    console.print(f"{path} is written. Read it, then: braze-etl doctor -c {path}", markup=False)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
