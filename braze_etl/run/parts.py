"""What a pass is made of: the parts that it works with, how it differs from others, and who watches it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from braze_etl.checkpoint import Ledger, OpenFile
from braze_etl.clock import Clock
from braze_etl.currents import Listing
from braze_etl.delivery import Finding, Trouble
from braze_etl.quarantine import Quarantine
from braze_etl.run.budget import Meter
from braze_etl.run.exits import Stop
from braze_etl.run.finding.before import BeforeStart
from braze_etl.run.finding.reconcile import Reconcile
from braze_etl.run.foresight.estimate import Outlook
from braze_etl.run.persons.busy import BusyDays
from braze_etl.run.remapping.changes import Changes
from braze_etl.run.report import RunReport
from braze_etl.run.setaside.bound import Bound
from braze_etl.run.setaside.replay import Replay
from braze_etl.run.working.pool import WorkerPool
from braze_etl.run.working.tasks import Settlement


class Progress(Protocol):
    """Who wants to see a pass advance."""

    def discovered(self, outlook: Outlook, warnings: Mapping[str, int]) -> None:
        """So much is due, with what there is to warn of; told again when a sweep has found more."""
        ...

    def settled(self, settlement: Settlement) -> None:
        """A task came back."""
        ...

    def in_flight(self, requests: int) -> None:
        """So many requests are under way, over all workers; told a few times a second."""
        ...

    def troubled(self, trouble: Trouble) -> None:
        """A request to Amplitude failed: each worker tells of the first of each kind."""
        ...


@dataclass(frozen=True)
class JobParts:
    """What a pass works with; the caller opens and closes them."""

    ledger: Ledger
    quarantine: Quarantine
    new_listing: Callable[[], Listing]
    """Makes the listing of what may be due; asked under the lease, for what it covers is in the ledger."""
    probe: Callable[[], Finding]
    new_pool: Callable[[], WorkerPool]
    clock: Clock
    stop: Stop
    progress: Progress
    replay: Replay | None = None
    """Where the due files come from instead of the listing."""
    changes: Changes | None = None
    """Finds what of the listing a change of the mapping lets through: nothing else is due then."""
    before_start: BeforeStart | None = None
    """Counts the files before `start_at`."""
    aftermath: Callable[[RunReport], None] = lambda _: None
    """Called when all is told and stored, under the lease: metrics, and who else wants to know."""
    sweep: Reconcile | None = None
    """Looks for files in the hours before those of the listing."""
    bound: Bound | None = None
    """Ends the pass when too much of it is set aside; a replay has none."""
    budget: Meter | None = None
    """Counts what is spent, and grants what is left."""
    busy: BusyDays | None = None
    """Counts what is sent by id."""
    clock_differs: Callable[[], bool] = lambda: False
    """Whether a server told another time than ours."""


@dataclass(frozen=True)
class JobOptions:
    """How this pass differs from the plainest one."""

    command: str
    pipeline: str
    objective: timedelta
    warn_at: timedelta
    workers: int = 1
    covers_all: bool = True
    """Whether the listing covers all that is due, as that of `run` does and that of `backfill` does not."""
    covers: Callable[[OpenFile], bool] = lambda _: True
    """Which of the ledger's open files belong to this pass."""
    resend: bool = False
    source: str = ""
    """Where the files lie, as the configuration says it."""
    accept_source: bool = False
    """Whether somebody says that a source which the ledger does not recognize is the one that is meant."""
    source_stale_after: timedelta = timedelta(hours=24)
    max_events: int = 2000
    """Events a request, for what is foretold of their number."""
