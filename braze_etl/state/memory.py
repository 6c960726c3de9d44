"""The ledger in memory: for tests and rehearsals. It ends with the object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from braze_etl.clock import Clock
from braze_etl.model import FileRef, FileSettlement, Reason
from braze_etl.state.ledger import (
    NO_NOTES,
    Backlog,
    KnownFile,
    LeaseHolder,
    LeaseOwner,
    LedgerContents,
    LedgerIdentity,
    LedgerSummary,
    Notes,
    OpenFile,
    RunRecord,
    SettledFile,
    claims,
    first_hour,
    is_unused,
    lease_held,
    newly_accepted,
    not_empty,
    settled_since,
    start_hour,
)
from braze_etl.state.sqlite_schema import MIGRATIONS

PLACE: Final = "memory://"


class MemoryLedger:
    """A `Ledger` that keeps everything in dictionaries."""

    def __init__(self, identity: LedgerIdentity, *, clock: Clock, start_at: datetime | None = None) -> None:
        self.identity: Final = identity
        self.start_at = start_hour(start_at, clock)
        self.created_at = clock.now()
        self._clock = clock
        self._files: dict[str, SettledFile] = {}
        self._runs: dict[str, RunRecord] = {}
        self._backlog = Backlog()
        self._before_start: int | None = None
        self._last_listing: datetime | None = None
        self._last_delivery: datetime | None = None
        self._key_fingerprint: str | None = None
        self._notes: dict[str, dict[str, Any]] = {}
        self._holder: LeaseHolder | None = None

    def known(self, files: Sequence[FileRef]) -> dict[str, KnownFile]:
        found = {ref.key: self._files[ref.key].known for ref in files if ref.key in self._files}
        return {key: replace(known, tally=replace(known.tally)) for key, known in found.items()}

    def oldest_day(self) -> datetime | None:
        return first_hour(min((each.ref.hour for each in self._files.values()), default=None))

    def open_files(self, ready_by: datetime | None = None) -> Iterator[OpenFile]:
        for first in sorted((each for each in self._files.values() if each.open), key=_by_hour):
            # It may have been settled since.
            found = self._files[first.ref.key]
            if any(ready_by is None or each.not_before <= ready_by for each in found.open):
                known = found.known
                yield OpenFile(found.ref, replace(known.tally), found.open, known.mapping, known.held_from)

    def settle(
        self,
        run_id: str,
        settlements: Sequence[FileSettlement],
        backlog: Backlog | None,
        noting: Notes = NO_NOTES,
    ) -> None:
        claimed = claims(settlements)
        now = self._clock.now()
        known = self.known([each.ref for each in claimed.values()])
        if newly_accepted(claimed, known):
            self._last_delivery = now
        for key, settlement in claimed.items():
            now_known = KnownFile.of(settlement, run_id, settled_since(known.get(key), settlement, now))
            self._files[key] = SettledFile(settlement.ref, now_known, settlement.open)
        self._backlog = self._backlog if backlog is None else backlog
        self._put_notes(noting)

    def reserve(self, files: int) -> None:
        """Do nothing: memory has room, or the process ends."""

    def note_mappings(self, judged: Sequence[tuple[FileRef, str]]) -> None:
        for ref, mapping in judged:
            found = self._files.get(ref.key)
            if found is not None and found.known.etag == ref.etag:
                known = replace(found.known, mapping=mapping, held_from=None)
                self._files[ref.key] = replace(found, known=known)

    def record_listing(
        self, at: datetime, backlog: Backlog, before_start: int | None = None, *, complete: bool
    ) -> None:
        self._backlog = backlog
        self._before_start = self._before_start if before_start is None else before_start
        self._last_listing = at if complete else self._last_listing

    def begin_run(self, run: RunRecord) -> None:
        self._runs[run.run_id] = run

    def finish_run(self, run: RunRecord, noting: Notes = NO_NOTES) -> None:
        self._runs[run.run_id] = run
        self._put_notes(noting)

    def runs(self, limit: int) -> list[RunRecord]:
        return list(reversed(self._runs.values()))[:limit]

    def correct_runs(self, change: Callable[[RunRecord], RunRecord]) -> int:
        before = self._runs
        self._runs = {run_id: change(run) for run_id, run in before.items()}
        return sum(run != before[run_id] for run_id, run in self._runs.items())

    def note_key(self, fingerprint: str) -> bool:
        before, self._key_fingerprint = self._key_fingerprint, fingerprint
        return before not in {None, fingerprint}

    def put_note(self, name: str, fact: Mapping[str, Any]) -> None:
        self._put_notes({name: fact})

    def _put_notes(self, notes: Notes) -> None:
        self._notes |= {name: dict(fact) for name, fact in notes.items()}

    def get_note(self, name: str) -> dict[str, Any]:
        return dict(self._notes.get(name, {}))

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

    def unlock(self) -> None:
        self._holder = None

    def contents(self) -> LedgerContents:
        return LedgerContents(
            identity=self.identity,
            start_at=self.start_at,
            created_at=self.created_at,
            key_fingerprint=self._key_fingerprint,
            notes=dict(self._notes),
            summary=self.summary(),
            runs=list(self._runs.values()),
            files=sorted(self._files.values(), key=_by_hour),
        )

    def take_over(self, contents: LedgerContents) -> None:
        if not is_unused(self):
            raise not_empty(PLACE)
        summary = contents.summary
        self._files = {each.ref.key: each for each in contents.files}
        self._runs = {run.run_id: run for run in contents.runs}
        self._key_fingerprint = contents.key_fingerprint
        self._notes = dict(contents.notes)
        self._backlog, self._before_start = summary.backlog, summary.before_start
        self._last_listing, self._last_delivery = summary.last_listing, summary.last_delivery
        self.start_at, self.created_at = contents.start_at, contents.created_at

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def _by_hour(file: SettledFile) -> tuple[datetime, bytes]:
    return file.ref.hour, file.ref.key.encode()
