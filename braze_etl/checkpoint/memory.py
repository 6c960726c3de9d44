"""The ledger in memory: for tests and rehearsals. It ends with the object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from braze_etl.checkpoint._rules import claims, lease_held, newly_accepted, start_hour
from braze_etl.checkpoint._schema import MIGRATIONS
from braze_etl.checkpoint.facts import (
    Backlog,
    KnownFile,
    LeaseHolder,
    LeaseOwner,
    LedgerIdentity,
    LedgerSummary,
    OpenFile,
    RunRecord,
)
from braze_etl.clock import Clock
from braze_etl.model import FileRef, FileSettlement, FileState, Reason

PLACE: Final = "memory://"


@dataclass(frozen=True, slots=True)
class _Entry:
    known: KnownFile
    open: OpenFile | None


class MemoryLedger:
    """A `Ledger` that keeps everything in dictionaries."""

    def __init__(self, identity: LedgerIdentity, *, clock: Clock, start_at: datetime | None = None) -> None:
        self.identity: Final = identity
        self.start_at: Final = start_hour(start_at, clock)
        self.created_at: Final = clock.now()
        self._clock = clock
        self._files: dict[str, _Entry] = {}
        self._runs: dict[str, RunRecord] = {}
        self._backlog = Backlog()
        self._before_start: int | None = None
        self._last_listing: datetime | None = None
        self._last_delivery: datetime | None = None
        self._key_fingerprint: str | None = None
        self._holder: LeaseHolder | None = None

    def known(self, files: Sequence[FileRef]) -> dict[str, KnownFile]:
        found = {ref.key: self._files[ref.key].known for ref in files if ref.key in self._files}
        return {key: replace(known, tally=replace(known.tally)) for key, known in found.items()}

    def open_files(self, ready_by: datetime | None = None) -> Iterator[OpenFile]:
        refs = sorted((each.open.ref for each in self._files.values() if each.open), key=_by_hour)
        for ref in refs:
            # A file may have been settled since.
            found = self._files[ref.key].open
            if found and (ready_by is None or any(each.not_before <= ready_by for each in found.open)):
                yield replace(found, tally=replace(found.tally))

    def settle(self, run_id: str, settlements: Sequence[FileSettlement], backlog: Backlog | None) -> None:
        claimed = claims(settlements)
        now = self._clock.now()
        if newly_accepted(claimed, self.known([each.ref for each in claimed.values()])):
            self._last_delivery = now
        for key, settlement in claimed.items():
            self._files[key] = _entry(run_id, now, settlement)
        self._backlog = self._backlog if backlog is None else backlog

    def record_listing(
        self, at: datetime, backlog: Backlog, before_start: int | None = None, *, complete: bool
    ) -> None:
        self._backlog = backlog
        self._before_start = self._before_start if before_start is None else before_start
        self._last_listing = at if complete else self._last_listing

    def begin_run(self, run: RunRecord) -> None:
        self._runs[run.run_id] = run

    def finish_run(self, run: RunRecord) -> None:
        self._runs[run.run_id] = run

    def runs(self, limit: int) -> list[RunRecord]:
        return list(reversed(self._runs.values()))[:limit]

    def note_key(self, fingerprint: str) -> bool:
        before, self._key_fingerprint = self._key_fingerprint, fingerprint
        return before not in {None, fingerprint}

    def summary(self) -> LedgerSummary:
        return LedgerSummary(
            last_delivery=self._last_delivery,
            last_listing=self._last_listing,
            backlog=self._backlog,
            before_start=self._before_start,
            deferred=self._deferred(),
            files=dict(Counter(each.known.state for each in self._files.values())),
            schema_version=len(MIGRATIONS),
        )

    def _deferred(self) -> dict[Reason, int]:
        counts: Counter[Reason] = Counter()
        for found in self.open_files():
            for positions in found.open:
                counts[positions.reason] += positions.count
        return dict(counts)

    @contextmanager
    def lease(self, owner: LeaseOwner) -> Iterator[None]:
        if self._holder is not None:
            raise lease_held(PLACE, self._holder)
        self._holder = LeaseHolder(owner, self._clock.now())
        try:
            yield
        finally:
            self._holder = None

    def holder(self) -> LeaseHolder | None:
        return self._holder

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def _by_hour(ref: FileRef) -> tuple[datetime, bytes]:
    return ref.hour, ref.key.encode()


def _entry(run_id: str, now: datetime, settlement: FileSettlement) -> _Entry:
    assert settlement.state is not None
    # The caller may go on counting in its tally.
    known = KnownFile(settlement.ref.etag, settlement.state, now, replace(settlement.tally), run_id)
    if settlement.state is not FileState.OPEN:
        return _Entry(known, None)
    return _Entry(known, OpenFile(settlement.ref, replace(settlement.tally), settlement.open))
