"""`braze-etl sandbox`: a local stand-in for Amplitude's ingestion endpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from braze_etl.errors import UsageError


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8099, show_default=True, help="0 takes a free one."
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--faults", type=click.Path(path_type=Path), help="A YAML script of faults.")
@click.option("--api-key", help="Refuse every other key; by default any key will do.")
@click.option(
    "--hold",
    type=click.Choice(["events", "ids"]),
    default="events",
    show_default=True,
    help="Keep whole events, or only their ids for very large runs.",
)
def sandbox(
    port: int, host: str, faults: Path | None, api_key: str | None, hold: Literal["events", "ids"]
) -> int:
    """Take events as Amplitude would, by its documented rules: /batch, /2/httpapi, /stats, /events."""
    from braze_etl.sandbox.faults import FaultFileError
    from braze_etl.sandbox.server import open_sandbox

    try:
        server = open_sandbox(host=host, port=port, faults_file=faults, api_key=api_key, hold=hold)
    except FaultFileError as error:
        raise UsageError(str(error), remedy="Correct the file of faults.") from None
    except OSError as error:
        raise UsageError(
            f"the sandbox can't listen on {host}:{port}: {error.strerror}", remedy="Choose another --port."
        ) from None
    # Words, terminal or not: it is no log of a job, and whoever starts a stand-in reads its address here.
    click.echo(f"sandbox listens on {server.url}", err=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 130
    finally:
        server.stop()
    return 0
