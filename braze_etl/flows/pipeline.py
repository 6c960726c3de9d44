"""What every flow has: a ledger, a quarantine, and stores, opened from its configuration."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from braze_etl.clock import Clock
from braze_etl.engine.clock_skew import Witnesses
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.state.ledger import Ledger, LedgerIdentity, LedgerMissingError
from braze_etl.state.opening import open_ledger
from braze_etl.state.sqlite import SqliteLedger
from braze_etl.storage.opening import open_store, server_time
from braze_etl.storage.settings import Quarantine as QuarantineSection
from braze_etl.storage.settings import SourceSection, State


class PipelineSettings(Protocol):
    """The configuration of any flow, as far as it is the same for all."""

    @property
    def identity(self) -> LedgerIdentity:
        """Whom the ledger belongs to."""
        ...

    @property
    def source(self) -> SourceSection:
        """Where the data comes from."""
        ...

    @property
    def state(self) -> State:
        """Where the ledger is kept."""
        ...

    @property
    def quarantine(self) -> QuarantineSection:
        """Where what is set aside is kept."""
        ...


def open_quarantine(settings: PipelineSettings) -> Quarantine:
    """The quarantine; its folder is made when something is set aside."""
    access = settings.quarantine.access(settings.source)
    store, prefix = open_store(settings.quarantine.uri, access=access, must_exist=False)
    return Quarantine(store, prefix, payload_ttl=settings.quarantine.payload_ttl)


def keeps_payloads(settings: PipelineSettings, lifetime: timedelta | None) -> bool:
    """Whether records that are set aside are kept: the source may be gone before they are replayed."""
    quarantine = settings.quarantine
    if quarantine.payload != "auto":
        return quarantine.payload
    return lifetime is not None and lifetime < quarantine.payload_ttl


def open_state(
    settings: PipelineSettings, clock: Clock, *, read_only: bool = False, witnesses: Witnesses | None = None
) -> Ledger:
    """The ledger; read-only, it is never created and `LedgerMissingError` says that there is none.

    A new one is made when *witnesses* of the time have vouched for its beginning.
    """

    def vouch(start_at: datetime) -> None:
        if witnesses is not None:
            receive_store_times(settings, witnesses)
            witnesses.vouch(start_at, configured=settings.source.start_at is not None)

    return open_ledger(
        settings.state.uri,
        settings.identity,
        start_at=settings.source.start_at,
        create=settings.state.create,
        clock=clock,
        read_only=read_only,
        access=settings.state.access(settings.source),
        vouch=vouch,
    )


def receive_store_times(settings: PipelineSettings, witnesses: Witnesses) -> None:
    """Have the stores that have answered this process tell their time."""
    for name, section in (("source", settings.source), ("state", settings.state)):
        told = server_time(section.uri, access=section.access(settings.source))
        witnesses.receive(f"S3 ({name})", told)


def ledger_to_read(settings: PipelineSettings, clock: Clock) -> Ledger:
    """The ledger, for reading only; before the first run, what that run would find in a new one."""
    try:
        return open_state(settings, clock, read_only=True)
    except LedgerMissingError:
        return SqliteLedger.in_memory(settings.identity, start_at=settings.source.start_at, clock=clock)
