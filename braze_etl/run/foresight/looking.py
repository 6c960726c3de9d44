"""What is due, seen without the lease: for whoever only wants to know. Nothing is written anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from braze_etl.checkpoint import Ledger, LedgerMissingError, MemoryLedger, OpenFile
from braze_etl.clock import Clock
from braze_etl.config import Settings
from braze_etl.currents import Listing
from braze_etl.run.assembly import Scope, ledger_identity, listing, live_scope, open_state, selection
from braze_etl.run.finding.due import DueFile, DueFiles, by_hour, open_files
from braze_etl.run.finding.familiarity import Familiarity


def ledger_to_read(settings: Settings, clock: Clock) -> Ledger:
    """The ledger, for reading only; before the first run, what that run would find in a new one."""
    try:
        return open_state(settings, clock, read_only=True)
    except LedgerMissingError:
        return MemoryLedger(ledger_identity(settings), start_at=settings.source.start_at, clock=clock)


@dataclass(frozen=True, slots=True)
class Look:
    """The due files, to be iterated over once, oldest hour first; `found` says more when that is done."""

    files: Iterator[DueFile]
    found: DueFiles
    listing: Listing


def due_now(
    settings: Settings, ledger: Ledger, scope: Scope | None, now: datetime, *, resend: bool = False
) -> Look:
    """List what a `run` would find due, or with *scope* a `backfill`, which may *resend*."""
    chosen = scope or live_scope(settings, ledger)
    covers = covering(settings, chosen, covers_all=scope is None)
    left_open = open_files(filter(covers, ledger.open_files()), now=now)
    expected = Familiarity.of(ledger.summary()) if scope is None else None
    listed = listing(settings, chosen, now)
    found = DueFiles(listed, ledger, now=now, resend=resend, expected=expected)
    return Look(by_hour(found, left_open), found, listed)


def covering(settings: Settings, scope: Scope, *, covers_all: bool) -> Callable[[OpenFile], bool]:
    """Which of the ledger's open files belong to a pass: for `run` all that are selected, however old."""
    chosen = selection(settings, scope.event_types)

    def covers(file: OpenFile) -> bool:
        return chosen.matches_event_type(file.ref.event_type) and (covers_all or file.ref.hour in scope)

    return covers
