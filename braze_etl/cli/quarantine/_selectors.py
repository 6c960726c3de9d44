"""The options that say which entries are meant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from braze_etl.config import Settings, parse_duration, parse_hour
from braze_etl.model import Outcome, Reason
from braze_etl.quarantine import EVERYTHING, Quarantine, Selection

_F = TypeVar("_F", bound=Callable[..., Any])
_REASONS = [reason.value for reason in Reason if reason.outcome is Outcome.QUARANTINED]


class MomentType(click.ParamType[datetime]):
    """`7d` (before now), or a UTC hour as elsewhere."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return datetime.now(UTC) - parse_duration(value)
        except (ValueError, OverflowError):
            pass
        try:
            return parse_hour(value)
        except ValueError as error:
            self.fail(f"{error}, or an age such as 7d", param, ctx)


def selectors(command: _F) -> _F:
    """`--id`, `--reason`, `--event-type`, `--file`, `--since`, `--until`; all that are given must hold."""
    for option in (
        click.option("--until", type=MomentType(), help="Set aside before then: 7d, or a UTC hour."),
        click.option("--since", type=MomentType(), help="Set aside since then: 7d, or a UTC hour."),
        click.option("--file", "files", multiple=True, metavar="GLOB", help="Of these files, by their keys."),
        click.option(
            "--event-type", "event_types", multiple=True, metavar="GLOB", help="Of these event types."
        ),
        click.option(
            "--reason", "reasons", multiple=True, type=click.Choice(_REASONS), help="For these reasons."
        ),
        click.option("--id", "ids", multiple=True, help="These entries; the beginning of an id will do."),
    ):
        command = option(command)
    return command


def selection(
    quarantine: Quarantine,
    *,
    ids: tuple[str, ...],
    reasons: tuple[str, ...],
    event_types: tuple[str, ...],
    files: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
) -> Selection:
    """Make the selection of the options; `UsageError` for an id of no single entry, or a type of nobody."""
    _require_known(quarantine, event_types)
    asked = Selection(
        ids=quarantine.resolve(ids) if ids else None,
        reasons=frozenset(map(Reason, reasons)),
        event_types=event_types,
        files=files,
        since=since,
        until=until,
    )
    return EVERYTHING if asked == EVERYTHING else asked


def _require_known(quarantine: Quarantine, event_types: tuple[str, ...]) -> None:
    from braze_etl.currents import load_catalogue
    from braze_etl.run.showing.doubts import lost, require_known

    known = set(load_catalogue())
    if lost(event_types, known):
        known |= {event_type for event_type, _ in quarantine.counts()}
    require_known(event_types, known, "the quarantine")


def open_entries(settings: Settings) -> Quarantine:
    """Open the quarantine of a configuration."""
    from braze_etl.run.assembly import open_quarantine

    return open_quarantine(settings)
