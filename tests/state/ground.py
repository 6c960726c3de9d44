"""The ground for the ledger's tests: an adapter joins the contract by a line in `ADAPTERS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from braze_etl.clock import ManualClock
from braze_etl.model import FileRef, FileSettlement, FileState, OpenPositions, Reason, Tally
from braze_etl.state.ledger import Backlog, BacklogLine, LeaseOwner, Ledger, LedgerIdentity
from braze_etl.state.s3.ledger import S3Ledger
from braze_etl.state.sqlite import SqliteLedger
from braze_etl.storage.opening import open_conditional_store
from braze_etl.storage.settings import StoreAccess

NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)
IDENTITY = LedgerIdentity("default", "shop", "EU")
OWNER = LeaseOwner("run-1", "host-a", 4711, "run")
OPEN_EMAIL = "users.messages.email.Open"


def ref(name: str = "a", *, hour: int = 0, etag: str = "e1") -> FileRef:
    """A file of that hour of the day, with a modification time that no round number hides."""
    modified = NOON + timedelta(microseconds=123_457)
    return FileRef(f"currents/{name}.avro", etag, 1234, modified, OPEN_EMAIL, NOON + timedelta(hours=hour))


def positions(*indexes: int, wait: int = 30, reason: Reason = Reason.THROTTLED) -> OpenPositions:
    """Records of two blocks that stay open for *wait* seconds after noon."""
    return OpenPositions(reason, NOON + timedelta(seconds=wait), {4096: indexes, 81920: (0,)})


def done(file: FileRef, **counts: int) -> FileSettlement:
    return FileSettlement(file, FileState.DONE, Tally(**counts))


def still_open(file: FileRef, *what: OpenPositions, accepted: int = 0) -> FileSettlement:
    deferred = sum(each.count for each in what)
    return FileSettlement(file, FileState.OPEN, Tally(accepted=accepted, deferred=deferred), what)


def backlog(files: int = 2) -> Backlog:
    line, hour = BacklogLine(files, 99), NOON - timedelta(hours=3)
    return Backlog(files, 99, {OPEN_EMAIL: line}, hour, {hour: line})


@dataclass
class Ground:
    """One place for a ledger: `open()` gives handles on the same state, which are closed afterwards."""

    open_one: Callable[[], Ledger]
    clock: ManualClock
    handles: list[Ledger] = field(default_factory=list)

    def open(self) -> Ledger:
        self.handles.append(self.open_one())
        return self.handles[-1]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


def by_hand(renew: Callable[[], bool]) -> AbstractContextManager[None]:
    """Never renew a lease: a clock that is moved by hand leaves no time for it to pass."""
    return nullcontext()


def in_memory(request: pytest.FixtureRequest, clock: ManualClock) -> Callable[[], Ledger]:
    only = SqliteLedger.in_memory(IDENTITY, clock=clock)
    return lambda: only


def in_sqlite(request: pytest.FixtureRequest, clock: ManualClock) -> Callable[[], Ledger]:
    path: Path = request.getfixturevalue("tmp_path") / "ledger.db"
    return lambda: SqliteLedger.open(path, IDENTITY, clock=clock)


def in_s3(request: pytest.FixtureRequest, clock: ManualClock) -> Callable[[], Ledger]:
    bucket: Any = request.getfixturevalue("bucket")
    access = StoreAccess(endpoint_url=bucket.endpoint_url)
    store, prefix = open_conditional_store(f"{bucket.uri}/some/state", access=access)
    return lambda: S3Ledger.open(store, prefix, IDENTITY, clock=clock, keeper=by_hand)


ADAPTERS = {"memory": in_memory, "sqlite": in_sqlite, "s3": in_s3}


@pytest.fixture(params=ADAPTERS)
def ground(request: pytest.FixtureRequest, clock: ManualClock) -> Iterator[Ground]:
    """Every adapter in turn; the contract holds for each."""
    ground = Ground(ADAPTERS[request.param](request, clock), clock)
    yield ground
    for ledger in ground.handles:
        ledger.close()


@pytest.fixture
def ledger(ground: Ground) -> Ledger:
    return ground.open()
