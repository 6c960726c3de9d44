"""`braze-etl mapping export`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from braze_etl.cli._options import config_option
from braze_etl.cli.mapping._force import mapping_in_force
from braze_etl.errors import UsageError
from braze_etl.quoting import visible


@click.command()
@config_option
@click.option(
    "-o", "target", type=click.Path(path_type=Path, dir_okay=False), help="A file; by default stdout."
)
def export(config_path: Path | None, target: Path | None) -> int:
    """Write the tracking plan as the CSV that Amplitude imports (Data, Events, the import icon).

    Sends, deliveries, aborts and bounces are marked inactive, so that they do not make users active.
    """
    from braze_etl.run.tracking import planned, write_taxonomy

    plan = planned(*mapping_in_force(config_path))
    if target is None:
        write_taxonomy(plan, sys.stdout)
        return 0
    try:
        with target.open("w", encoding="utf-8", newline="") as stream:
            events = write_taxonomy(plan, stream)
    except OSError as error:
        raise UsageError(
            f"{target} can't be written: {error.strerror}", remedy="Name another file."
        ) from None
    click.echo(f"{events} events written to {visible(str(target))}")
    return 0
