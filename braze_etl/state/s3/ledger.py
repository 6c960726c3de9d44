"""The ledger in S3: what the port promises, over the parts that know one kind of object each."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple, replace
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from typing import Any, Final, TypeVar

from braze_etl.clock import Clock
from braze_etl.errors import StateError
from braze_etl.model import FileRef, FileSettlement, FileState, Reason
from braze_etl.state.ledger import (
    NO_NOTES,
    Backlog,
    Creation,
    KnownFile,
    LeaseHolder,
    LeaseOwner,
    LedgerContents,
    LedgerIdentity,
    LedgerSummary,
    Notes,
    OpenFile,
    PrunedFiles,
    RunRecord,
    SettledFile,
    Vouch,
    anything_goes,
    claims,
    missing,
    newly_accepted,
    not_empty,
    settled,
    start_hour,
)
from braze_etl.state.rows import FileRow
from braze_etl.state.s3.compaction import Compactor, Parts
from braze_etl.state.s3.head import Head, Heads, JournalEntry
from braze_etl.state.s3.lease import Keeper, ProcessTable, S3Lease, thread_keeper
from braze_etl.state.s3.objects import Objects
from braze_etl.state.s3.opening import opened, refuse_remains
from braze_etl.state.s3.runs import IN_ONE, OLDER_KEPT
from braze_etl.state.s3.segments import Day, OpenMap, Positions, PrunedSums, Settled, day_name
from braze_etl.storage.store import ConditionalStore

_K = TypeVar("_K")

_token: Final = partial(secrets.token_hex, 4)
_ALL: Final = 1_000_000


class S3Ledger:
    """A `Ledger` in the objects below a prefix."""

    def __init__(
        self, objects: Objects, heads: Heads, identity: LedgerIdentity, lease: S3Lease, *, clock: Clock
    ) -> None:
        head = heads.current()
        self.identity: Final = identity
        self.start_at: Final = head.start_at
        self.created_at: Final = head.created_at
        self._heads = heads
        self._lease = lease
        self._clock = clock
        self._parts = Parts.of(objects, heads)

    @classmethod
    def open(
        cls,
        store: ConditionalStore,
        prefix: str,
        identity: LedgerIdentity,
        *,
        clock: Clock,
        start_at: datetime | None = None,
        create: bool = True,
        read_only: bool = False,
        vouch: Vouch = anything_goes,
        server: str = "",
        keeper: Keeper | None = None,
        processes: ProcessTable | None = None,
        token: Callable[[], str] = _token,
    ) -> S3Ledger:
        """Open the ledger below *prefix* (empty, or ending in `/`), or create it; errors: see `open_ledger`.

        *server* tells apart two servers that have a bucket of the same name. *keeper* renews the lease, and
        *processes* says whether its holder is dead; *token* makes the names of objects unique.
        """
        objects = Objects(store, prefix)
        heads = Heads(objects, read_only=read_only, token=token)
        creation = Creation(identity, start_hour(start_at, clock), clock.now(), vouch)
        opened(objects, heads, creation, create=create, read_only=read_only, server=server, token=token)
        lease = S3Lease(
            objects,
            heads,
            clock=clock,
            keeper=keeper or thread_keeper(clock),
            processes=processes or ProcessTable.here(),
        )
        return cls(objects, heads, identity, lease, clock=clock)

    @classmethod
    def identity_at(cls, store: ConditionalStore, prefix: str) -> LedgerIdentity:
        """Say whose ledger lies below *prefix*; `LedgerMissingError` when there is none."""
        objects = Objects(store, prefix)
        head = Heads(objects, read_only=True, token=_token).find()
        if head is None:
            refuse_remains(objects)
            raise missing(objects.place, read_only=True)
        return head.identity

    def known(self, files: Sequence[FileRef]) -> dict[str, KnownFile]:
        rows, pruned = self._heads.reading(partial(self._found, files))
        found = {key: row.known for key, row in rows.items()}
        return found | {ref.key: KnownFile.of_pruned(ref) for ref in files if ref.key in pruned}

    def _found(self, files: Sequence[FileRef], head: Head) -> tuple[dict[str, FileRow], set[str]]:
        rows = self._parts.days.lookup(head, files)
        return rows, self._parts.days.pruned(head, (ref for ref in files if ref.key not in rows))

    def oldest_day(self) -> datetime | None:
        self._heads.fresh()
        days = self._heads.reading(Transfer(self._parts).all_days)
        return datetime.fromisoformat(days[0]).replace(tzinfo=UTC) if days else None

    def open_files(self, ready_by: datetime | None = None) -> Iterator[OpenFile]:
        self._heads.fresh()
        rows = [row for row, _ in self._heads.reading(self._parts.open_files.current).values()]
        for first in sorted(rows, key=lambda row: (row.hour, row.key.encode())):
            # It may have been settled since.
            row, positions = self._heads.reading(self._parts.open_files.current).get(first.key, (first, ()))
            if any(ready_by is None or each.not_before <= ready_by for each in positions):
                yield row.open_file(positions)

    def settle(
        self,
        run_id: str,
        settlements: Sequence[FileSettlement],
        backlog: Backlog | None,
        noting: Notes = NO_NOTES,
    ) -> None:
        claimed = claims(settlements)
        now = self._clock.now()
        if not claimed:
            self._settle_nothing(backlog, noting)
            return
        left_open = {key: each.open for key, each in claimed.items() if each.open}
        refs = [each.ref for each in claimed.values()]

        def change(head: Head, stamp: str) -> Head:
            before = self._parts.days.lookup(head, refs)
            known = {key: row.known for key, row in before.items()}
            counted = _counted(head, claimed, before, self._parts.open_files.current(head), now)
            rows = {
                key: FileRow.of(each.ref, settled(each, known.get(key), run_id, now))
                for key, each in claimed.items()
            }
            entry = self._parts.journal.write(stamp, Settled(rows, left_open))
            return self._parts.notes.written(_with_entry(counted, entry, backlog), stamp, noting)

        Compactor(self._parts).compact_when_full()
        self._heads.commit(change)

    def prune(self, before: datetime, after: str) -> str | None:
        return Compactor(self._parts).prune(before, after)

    def pruned_through(self) -> datetime | None:
        day = self._heads.fresh().pruned_through
        return None if day is None else datetime.fromisoformat(day).replace(tzinfo=UTC)

    def reserve(self, files: int) -> None:
        """Do nothing: `begin_run` has just written the objects that a settlement writes."""

    def note_mappings(self, judged: Sequence[tuple[FileRef, str]]) -> None:
        mappings = {(ref.key, ref.etag): mapping for ref, mapping in judged}
        refs = [ref for ref, _ in judged]

        def change(head: Head, stamp: str) -> Head:
            known = self._parts.days.lookup(head, refs).values()
            rows = {
                row.key: row._replace(mapping=mappings[row.key, row.etag], held_from=None)
                for row in known
                if (row.key, row.etag) in mappings
            }
            still_open = self._parts.open_files.current(head)
            left_open = {key: still_open[key][1] for key in rows if key in still_open}
            return _with_entry(head, self._parts.journal.write(stamp, Settled(rows, left_open)), None)

        if judged:
            Compactor(self._parts).compact_when_full()
            self._heads.commit(change)

    def _settle_nothing(self, backlog: Backlog | None, noting: Notes) -> None:
        def change(head: Head, stamp: str) -> Head:
            noted = self._parts.notes.written(head, stamp, noting)
            return noted if backlog is None else replace(noted, backlog=backlog)

        if backlog is not None or noting:
            self._heads.commit(change)

    def record_listing(
        self, at: datetime, backlog: Backlog, before_start: int | None = None, *, complete: bool
    ) -> None:
        self._heads.commit(
            lambda head, _: replace(
                head,
                backlog=backlog,
                before_start=head.before_start if before_start is None else before_start,
                last_listing=at if complete else head.last_listing,
            )
        )

    def begin_run(self, run: RunRecord) -> None:
        self._save(run)

    def finish_run(self, run: RunRecord, noting: Notes = NO_NOTES) -> None:
        self._save(run, noting)

    def _save(self, run: RunRecord, noting: Notes = NO_NOTES) -> None:
        def change(head: Head, stamp: str) -> Head:
            saved = replace(head, runs=self._parts.runs.write(head, stamp, run))
            return self._parts.notes.written(saved, stamp, noting)

        Compactor(self._parts).clear_daily(self._clock.now())
        self._heads.commit(change)

    def runs(self, limit: int) -> list[RunRecord]:
        self._heads.fresh()
        return self._heads.reading(lambda head: self._parts.runs.last(head, limit))

    def correct_runs(self, change: Callable[[RunRecord], RunRecord]) -> int:
        before = self.runs(_ALL)
        after = [change(run) for run in reversed(before)]
        changed = sum(run != other for run, other in zip(after, reversed(before), strict=True))
        if changed:
            head = self._heads.current()
            replaced = [f"runs/{stamp}" for stamp in (head.runs, *self._parts.runs.older(head))]
            self._heads.commit(
                lambda head, stamp: replace(head, runs=self._parts.runs.write_all(stamp, after))
            )
            self._parts.objects.delete(replaced)
        return changed

    def note_key(self, fingerprint: str) -> bool:
        before = self._heads.current().key_fingerprint
        if before != fingerprint:
            self._heads.commit(lambda head, _: replace(head, key_fingerprint=fingerprint))
        return before not in {None, fingerprint}

    def put_note(self, name: str, fact: Mapping[str, Any]) -> None:
        self._heads.commit(lambda head, stamp: self._parts.notes.written(head, stamp, {name: fact}))

    def get_note(self, name: str) -> dict[str, Any]:
        self._heads.fresh()
        return self._heads.reading(lambda head: self._parts.notes.read(head, name))

    def summary(self) -> LedgerSummary:
        return self._heads.fresh().summary

    def lease(self, owner: LeaseOwner) -> AbstractContextManager[None]:
        if self._heads.read_only:
            raise StateError(
                f"The ledger {self._parts.objects.place} is open for reading only, and gives no lease.",
                remedy="Open it for writing to start a run on it.",
            )
        return self._lease.held(owner)

    def holder(self) -> LeaseHolder | None:
        return self._lease.holder()

    def unlock(self) -> None:
        self._lease.break_open()

    def contents(self) -> LedgerContents:
        return Transfer(self._parts).contents()

    def take_over(self, contents: LedgerContents) -> None:
        Transfer(self._parts).take_over(contents)

    def close(self) -> None:
        """Do nothing: connections end with the store."""


class Transfer:
    """Reads and writes a ledger day by day: one of them is in memory at a time."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def contents(self) -> LedgerContents:
        """See `Ledger.contents`."""
        head = self._parts.heads.fresh()
        runs = self._parts.heads.reading(
            lambda found: self._parts.runs.last(found, IN_ONE * (OLDER_KEPT + 1))
        )
        return LedgerContents(
            identity=head.identity,
            start_at=head.start_at,
            created_at=head.created_at,
            key_fingerprint=head.key_fingerprint,
            notes=self._parts.heads.reading(self._parts.notes.all),
            summary=head.summary,
            runs=reversed(runs),
            files=self._files(),
        )

    def _files(self) -> Iterator[SettledFile | PrunedFiles]:
        for name in self._parts.heads.reading(self.all_days):
            day, open_files = self._parts.heads.reading(partial(self._day, name))
            first_hour = datetime.fromisoformat(name).replace(tzinfo=UTC)
            yield from (PrunedFiles(first_hour, *each) for each in day.pruned.values())
            for row in sorted(day.rows.values(), key=lambda row: (row.hour, row.key)):
                _, positions = open_files.get(row.key, (row, ()))
                yield SettledFile(row.ref, row.known, positions)

    def _day(self, name: str, head: Head) -> tuple[Day, OpenMap]:
        return self._parts.days.merged(head, name), self._parts.open_files.current(head)

    def all_days(self, head: Head) -> list[str]:
        """The days of all files, oldest first."""
        touched = {day for entry in head.journal for day in entry.days}
        return sorted(touched | set(self._parts.catalogue.all_days(head)))

    def take_over(self, contents: LedgerContents) -> None:
        """See `Ledger.take_over`: everything is written first, and counts with one head."""
        head, place = self._parts.heads.fresh(), self._parts.objects.place
        _refuse_used(head, place)
        taken = self._written(head, contents)

        def change(found: Head, _: str) -> Head:
            _refuse_used(found, place)
            return replace(taken, generation=found.generation, checked=found.checked)

        self._parts.heads.commit(change)

    def _written(self, head: Head, contents: LedgerContents) -> Head:
        stamp = self._parts.heads.new_stamp()
        files: Counter[FileState] = Counter()
        open_files: OpenMap = {}
        days, through = dict[str, str](), None
        for name, of_day in groupby(contents.files, key=lambda each: day_name(each.day)):
            day = _day_of(of_day, files, open_files)
            days[name] = self._parts.days.write(stamp, name, day)
            through = name if day.pruned else through
        deferred = sum((_records(positions) for _, positions in open_files.values()), Counter[Reason]())
        summary = contents.summary
        taken = replace(
            head,
            start_at=contents.start_at,
            created_at=contents.created_at,
            key_fingerprint=contents.key_fingerprint,
            last_delivery=summary.last_delivery,
            last_listing=summary.last_listing,
            before_start=summary.before_start,
            backlog=summary.backlog,
            files=files,
            deferred=deferred,
            days=days,
            pruned_through=through,
            open=self._parts.open_files.write(stamp, open_files),
            runs=self._parts.runs.write_all(stamp, contents.runs),
        )
        noted = self._parts.notes.written(taken, stamp, contents.notes)
        return self._parts.catalogue.trimmed(noted, stamp)


def _day_of(
    files: Iterable[SettledFile | PrunedFiles], states: Counter[FileState], open_files: OpenMap
) -> Day:
    """Put a day together, and add its files to *states* and *open_files*."""
    rows, pruned = dict[str, FileRow](), dict[str, PrunedSums]()
    for each in files:
        if isinstance(each, PrunedFiles):
            pruned[each.event_type] = PrunedSums(*astuple(each)[1:])
            states[FileState.DONE] += each.files
            continue
        rows[each.ref.key] = row = FileRow.of(each.ref, each.known)
        states[each.known.state] += 1
        if each.open:
            open_files[row.key] = (row, each.open)
    return Day(rows, pruned)


def _counted(
    head: Head,
    claimed: Mapping[str, FileSettlement],
    before: Mapping[str, FileRow],
    open_before: OpenMap,
    now: datetime,
) -> Head:
    """Count *claimed*, which were known as *before*, and were open as in *open_before*."""
    accepted = newly_accepted(claimed, {key: row.known for key, row in before.items()})
    files = Counter(head.files)
    files.subtract(Counter(FileState(row.state) for row in before.values()))
    files.update(each.state for each in claimed.values() if each.state is not None)
    deferred = Counter(head.deferred)
    for key, settlement in claimed.items():
        if key in open_before:
            deferred.subtract(_records(open_before[key][1]))
        deferred.update(_records(settlement.open))
    return replace(
        head,
        files=_positive(files),
        deferred=_positive(deferred),
        last_delivery=now if accepted else head.last_delivery,
    )


def _with_entry(head: Head, entry: JournalEntry, backlog: Backlog | None) -> Head:
    """Name a settlement in the head."""
    return replace(head, journal=(*head.journal, entry), backlog=head.backlog if backlog is None else backlog)


def _records(positions: Positions) -> Counter[Reason]:
    """Count open records by reason."""
    counts: Counter[Reason] = Counter()
    for each in positions:
        counts[each.reason] += each.count
    return counts


def _positive(counts: Mapping[_K, int]) -> dict[_K, int]:
    return {key: count for key, count in counts.items() if count > 0}


def _refuse_used(head: Head, place: str) -> None:
    if head.files or head.runs or head.last_listing:
        raise not_empty(place)
