"""What holds for every adapter: whose ledger it is, where it starts, and which claims it accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from braze_etl.clock import Clock, hour_of
from braze_etl.errors import BrazeEtlError, ConfigError, LeaseHeldError, StateError
from braze_etl.model import FileSettlement, FileState
from braze_etl.state.ledger import KnownFile, LeaseHolder, Ledger, LedgerIdentity, LedgerMissingError

DEFAULT_START = timedelta(hours=48)
"""How far before its creation a ledger starts when nothing else is configured (CONTRACT.md, What is due)."""

Vouch: TypeAlias = Callable[[datetime], None]
"""Raises what keeps a ledger that would begin at that hour from being made."""


def settled_since(known: KnownFile | None, settlement: FileSettlement, now: datetime) -> datetime:
    """Say since when Amplitude knows ids of this content: a replay of a record does not begin that anew."""
    if known is None or known.etag != settlement.ref.etag or not known.tally.accepted:
        return now
    return known.settled_at


def anything_goes(_start_at: datetime) -> None:
    """Vouch for any hour."""


@dataclass(frozen=True, slots=True)
class Creation:
    """What is fixed when a ledger is created."""

    identity: LedgerIdentity
    start_at: datetime
    created_at: datetime
    vouch: Vouch = anything_goes


def start_hour(start_at: datetime | None, clock: Clock) -> datetime:
    """Give the hour at which a ledger that is created now starts."""
    return hour_of(clock.now() - DEFAULT_START if start_at is None else start_at)


def first_hour(moment: datetime | None) -> datetime | None:
    """Give the first hour of a moment's UTC day."""
    return None if moment is None else hour_of(moment).replace(hour=0)


def check_identity(place: str, ours: LedgerIdentity, asked: LedgerIdentity) -> None:
    """Refuse another project or region: what is done for one is not done for the other."""
    if (ours.project, ours.region) == (asked.project, asked.region):
        return
    raise ConfigError(
        f"The ledger {place} belongs to project {ours.project!r} in region {ours.region}, "
        f"not to project {asked.project!r} in region {asked.region}.",
        remedy="Give each project and region a state.uri of its own, "
        "or set amplitude.project and amplitude.region back to the ledger's.",
    )


def never_create(place: str) -> ConfigError:
    """Make the error for a missing ledger under `state.create: never`."""
    return ConfigError(
        f"There is no ledger at {place}, and state.create is `never`.",
        remedy="Check state.uri and that its volume is mounted. If there was a ledger, bring it back "
        "(Disaster recovery in the documents); if there never was, set state.create to `auto` for one run.",
    )


def missing(place: str, *, read_only: bool) -> BrazeEtlError:
    """Make the error for a ledger that is not there, and is not to be created."""
    if not read_only:
        return never_create(place)
    return LedgerMissingError(
        f"There is no ledger at {place} yet.",
        remedy="The first `braze-etl run` creates it; check state.uri if runs have been made.",
    )


def check_version(place: str, version: int, latest: int, *, read_only: bool) -> None:
    """Refuse a ledger of a newer program, and an older one where it can't be brought up to date."""
    if version > latest:
        raise StateError(
            f"The ledger {place} was written by a newer braze-etl: "
            f"schema {version}, this one knows {latest}.",
            remedy="Upgrade braze-etl here to the version that wrote it.",
        )
    if version < latest and read_only:
        raise StateError(
            f"The ledger {place} was written by an older braze-etl: "
            f"schema {version}, this one reads {latest}.",
            remedy="The next `braze-etl run` with this version brings it up to date.",
        )


def not_empty(place: str) -> StateError:
    """Make the error for a ledger that was to take another one over, and has a past of its own."""
    return StateError(
        f"The ledger {place} is not empty: it has settled files, or seen runs.",
        remedy="Name a place where there is no ledger yet; two ledgers are never merged.",
    )


def is_unused(ledger: Ledger) -> bool:
    """Whether nothing was ever stored in it but its creation."""
    summary = ledger.summary()
    return not (summary.files or summary.last_listing or ledger.runs(1))


def lease_held(place: str, holder: LeaseHolder | None) -> LeaseHeldError:
    """Make the error for a lease that somebody else holds; None for one who has not written the name yet."""
    remedy = "Wait for that run to end, or stop it; the lease ends with its process."
    if holder is not None and holder.until is not None:
        remedy = (
            "Wait for that run to end; if it is dead, wait for that time or use `braze-etl state unlock`."
        )
    who = "a run that is just starting" if holder is None else str(holder)
    return LeaseHeldError(f"The lease of {place} is held by {who}.", remedy=remedy)


def claims(settlements: Iterable[FileSettlement]) -> dict[str, FileSettlement]:
    """Give by key the settlements that claim something; `ValueError` for broken books."""
    claimed = {each.ref.key: each for each in settlements if each.state is not None}
    for settlement in claimed.values():
        _check_books(settlement)
    return claimed


def _check_books(settlement: FileSettlement) -> None:
    """A file is open exactly while it has open positions, and these are what its books call deferred."""
    still_open = sum(positions.count for positions in settlement.open)
    if (settlement.state is FileState.OPEN) != bool(still_open) or settlement.tally.deferred != still_open:
        raise ValueError(
            f"The books of {settlement.ref.key} do not balance: state {settlement.state}, "
            f"{still_open} open positions, {settlement.tally.deferred} deferred."
        )


def newly_accepted(claimed: Mapping[str, FileSettlement], before: Mapping[str, KnownFile]) -> int:
    """Count the records accepted since *before*: the books of an open file go on, others begin anew."""
    return sum(each.tally.accepted - _carried(each, before.get(key)) for key, each in claimed.items())


def _carried(settlement: FileSettlement, known: KnownFile | None) -> int:
    if known is None or known.state is not FileState.OPEN or known.etag != settlement.ref.etag:
        return 0
    return min(known.tally.accepted, settlement.tally.accepted)
