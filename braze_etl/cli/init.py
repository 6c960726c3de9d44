"""`braze-etl init`: look at a source, and write a configuration for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from braze_etl.cli._options import output_option
from braze_etl.cli._output import print_json
from braze_etl.clock import SystemClock
from braze_etl.config import Settings
from braze_etl.errors import UsageError
from braze_etl.quoting import visible

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
    endpoint_url: str | None,
    source_region: str | None,
    role_arn: str | None,
    external_id: str | None,
    requester_pays: bool,
    force: bool,
    output: str,
) -> int:
    """Look at a source, and write a commented configuration with every risky choice explicit.

    The source is only read: LIST requests, and the beginnings of a few files.
    """
    from braze_etl.run.starting import Choices, configuration, first_hour, survey

    path = target or _FILE
    _refuse_to_overwrite(path, force=force)
    reach = {
        "endpoint_url": endpoint_url,
        "region": source_region,
        "role_arn": role_arn,
        "external_id": external_id,
        "requester_pays": requester_pays,
    }
    amplitude = {"project": project, "region": region or "US"}
    settings = _settings({"uri": source, **reach}, amplitude, {} if state is None else {"uri": state})
    found = survey(settings, SystemClock(), days=days)
    choices = Choices(None if state is None else settings.state.uri, region is not None)
    _write(path, configuration(found, settings, choices), force=force)
    if output == "json":
        print_json({"exit_code": 0, "config": str(path), **found.as_dict()})
    else:
        from braze_etl.cli._survey import print_survey

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
