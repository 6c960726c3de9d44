"""`braze-etl sandbox`: a local stand-in for Amplitude, which takes events and lets them be read."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfoNotFoundError

import click

from braze_etl.clock import parse_duration
from braze_etl.commands._options import ParsedType
from braze_etl.errors import UsageError

if TYPE_CHECKING:
    from braze_etl.sandbox.server import SandboxServer


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8099, show_default=True, help="0 takes a free one."
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--faults", type=click.Path(path_type=Path), help="A YAML script of faults.")
@click.option("--api-key", help="Refuse every other key; by default any key will do.")
@click.option("--secret-key", help="Refuse every other pair of keys to what reads.")
@click.option(
    "--hold",
    type=click.Choice(["events", "ids"]),
    default="events",
    show_default=True,
    help="Keep whole events, or only their ids for very large runs.",
)
@click.option(
    "--export-delay",
    type=ParsedType("duration", parse_duration),
    default="2h",
    show_default=True,
    help="An hour is exported so long after its end; 0s: at once, also before its end.",
)
@click.option("--time-zone", default="UTC", show_default=True, help="The project's, of daily counts.")
@click.option("--cohorts", type=click.Path(path_type=Path), help="A JSON list of cohorts to give out.")
@click.option(
    "--drop-event-type", multiple=True, help="Answer 200 to events of this type, and hold none; repeatable."
)
@click.option("--drop-user", multiple=True, help="The same for the events of this user id; repeatable.")
@click.option("--drop-one-in", type=click.IntRange(1), help="The same for one in so many events.")
def sandbox(port: int, host: str, **options: Any) -> int:
    """Stand in for Amplitude by its documented rules: /batch, /2/httpapi, and /api/... for what reads.

    /stats and /events show what it holds.
    """
    try:
        server = _open(host, port, **options)
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


def _open(
    host: str,
    port: int,
    *,
    faults: Path | None,
    api_key: str | None,
    secret_key: str | None,
    hold: Literal["events", "ids"],
    export_delay: timedelta,
    time_zone: str,
    cohorts: Path | None,
    drop_event_type: tuple[str, ...],
    drop_user: tuple[str, ...],
    drop_one_in: int | None,
) -> SandboxServer:
    from braze_etl.sandbox.amplitude.cohorts import load_cohorts
    from braze_etl.sandbox.amplitude.event_store import Drops
    from braze_etl.sandbox.amplitude.read_api import ReadOptions
    from braze_etl.sandbox.faults import FaultFileError
    from braze_etl.sandbox.server import open_sandbox

    try:
        held = [] if cohorts is None else load_cohorts(cohorts)
    except (OSError, ValueError) as error:
        raise UsageError(f"{cohorts} can't be used: {error}", remedy="Correct the file of cohorts.") from None
    try:
        return open_sandbox(
            host=host,
            port=port,
            faults_file=faults,
            api_key=api_key,
            hold=hold,
            drops=Drops(frozenset(drop_event_type), frozenset(drop_user), drop_one_in),
            reads=ReadOptions(secret_key, export_delay.total_seconds(), time_zone, held),
        )
    except FaultFileError as error:
        raise UsageError(str(error), remedy="Correct the file of faults.") from None
    except (ZoneInfoNotFoundError, ValueError):
        raise UsageError(
            f"{time_zone!r} is no time zone", remedy="Name one such as Europe/Berlin, or UTC."
        ) from None
