"""The port of the ledger: what every adapter does, whatever it keeps its facts in."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias

from braze_etl.clock import iso
from braze_etl.errors import StateError
from braze_etl.model import FileRef, FileSettlement, FileState, OpenPositions, Reason, Tally

Notes: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Facts of plain JSON by the names under which they are remembered."""
NO_NOTES: Final[Notes] = {}


@dataclass(frozen=True, slots=True)
class LedgerIdentity:
    """Whose ledger it is. It belongs to `project` and `region` for good; `pipeline` is a label."""

    pipeline: str
    project: str
    region: str


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What the ledger says of one file: how it was settled, when, and by which run.

    `settled_at` is the time of the first settlement of this content that had records accepted, whatever was
    settled since: from then on Amplitude knows their ids. `mapping` and `held_from` are those of
    `FileSettlement`.
    """

    etag: str
    state: FileState
    settled_at: datetime
    tally: Tally
    run_id: str
    mapping: str = ""
    held_from: tuple[int, int] | None = None

    @classmethod
    def of(cls, settlement: FileSettlement, run_id: str, settled_at: datetime) -> KnownFile:
        """Make what is known by a settlement that makes a claim."""
        assert settlement.state is not None
        tally = replace(settlement.tally)  # the caller may go on counting in its own
        of_mapping = (settlement.mapping, settlement.held_from)
        return cls(settlement.ref.etag, settlement.state, settled_at, tally, run_id, *of_mapping)


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file that is settled but for its open positions; `tally` counts those as deferred.

    `mapping` and `held_from` are those of `FileSettlement`.
    """

    ref: FileRef
    tally: Tally
    open: tuple[OpenPositions, ...]
    mapping: str = ""
    held_from: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class SettledFile:
    """All that the ledger says of one file; `open` holds its open positions, if it is open."""

    ref: FileRef
    known: KnownFile
    open: tuple[OpenPositions, ...] = ()


@dataclass(frozen=True, slots=True)
class BacklogLine:
    """The backlog of one event type, or of one hour; `bytes` are those of the files."""

    files: int = 0
    bytes: int = 0

    def __add__(self, other: BacklogLine) -> BacklogLine:
        return BacklogLine(self.files + other.files, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is due and not delivered; `oldest_hour` is None when that is nothing.

    `by_hour` is by `date=` hour. Where a bound is put on it, the oldest hours are added to the oldest of all:
    a reader who takes a file for older than it is warns too early, and never too late.
    """

    files: int = 0
    bytes: int = 0
    by_event_type: dict[str, BacklogLine] = field(default_factory=dict)
    oldest_hour: datetime | None = None
    by_hour: dict[datetime, BacklogLine] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Give plain JSON values, which every adapter stores."""
        return {
            "files": self.files,
            "bytes": self.bytes,
            "oldest_hour": iso(self.oldest_hour) if self.oldest_hour else None,
            "by_event_type": {name: [line.files, line.bytes] for name, line in self.by_event_type.items()},
            "by_hour": {iso(hour): [line.files, line.bytes] for hour, line in self.by_hour.items()},
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Backlog:
        """Read what `as_dict` gave; what was stored without `by_hour` counts as of the oldest hour."""
        oldest, files, size = value["oldest_hour"], value["files"], value["bytes"]
        hours = value.get("by_hour", {oldest: [files, size]} if oldest else {})
        return cls(
            files,
            size,
            {name: BacklogLine(*numbers) for name, numbers in value["by_event_type"].items()},
            datetime.fromisoformat(oldest) if oldest else None,
            {datetime.fromisoformat(hour): BacklogLine(*numbers) for hour, numbers in hours.items()},
        )


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. A run that was killed, or is at work, has no end; `report` is the run report as plain JSON."""

    run_id: str
    command: str
    started_at: datetime
    finished_at: datetime | None = None
    exit_code: int | None = None
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LedgerSummary:
    """What `status` needs, without looking at a single file.

    `last_delivery` is the time of the last settlement in which a record was accepted, `last_listing` that of
    the last complete listing. `before_start` counts files (None: not counted yet), `deferred` records.
    """

    last_delivery: datetime | None
    last_listing: datetime | None
    backlog: Backlog
    before_start: int | None
    deferred: dict[Reason, int]
    files: dict[FileState, int]
    schema_version: int


@dataclass(frozen=True, slots=True)
class LedgerContents:
    """A whole ledger, on its way into another one.

    `files` come by day, the oldest first; `runs` oldest first. Both are read lazily, and once.
    """

    identity: LedgerIdentity
    start_at: datetime
    created_at: datetime
    key_fingerprint: str | None
    notes: Mapping[str, dict[str, Any]]
    summary: LedgerSummary
    runs: Iterable[RunRecord]
    files: Iterable[SettledFile]


@dataclass(frozen=True, slots=True)
class LeaseOwner:
    """Who takes a lease: the run, and the process it runs in."""

    run_id: str
    host: str
    pid: int
    command: str

    @classmethod
    def here(cls, run_id: str, command: str) -> LeaseOwner:
        """Make that of this process."""
        return cls(run_id, socket.gethostname(), os.getpid(), command)


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """Who holds a lease, since when; `until` is None where it ends with the holder's process."""

    owner: LeaseOwner
    since: datetime
    until: datetime | None = None

    def __str__(self) -> str:
        owner = self.owner
        text = f"run {owner.run_id} ({owner.command}) on {owner.host}, process {owner.pid}"
        until = f", until {iso(self.until)}" if self.until else ""
        return f"{text}, since {iso(self.since)}{until}"


class LedgerMissingError(StateError):
    """There is no ledger yet, and it was to be opened for reading only."""


class Ledger(Protocol):
    """Which files are done, failed or open, and who is at work on them.

    A file is known by its key. Methods take whole `FileRef`s, so that an adapter may keep its facts by hour
    and event type. A ledger object is used by the thread that opened it, and does not survive a fork. Every
    method raises `StateError` for what keeps it from its work, with the place and the remedy.
    """

    @property
    def identity(self) -> LedgerIdentity:
        """Whom it was opened for; project and region are those of its creation."""
        ...

    @property
    def start_at(self) -> datetime:
        """The first hour that is due, fixed when the ledger was created."""
        ...

    @property
    def created_at(self) -> datetime:
        """When the ledger was created."""
        ...

    def known(self, files: Sequence[FileRef]) -> dict[str, KnownFile]:
        """Look up a batch of up to a few thousand files, by key; what was never settled is left out."""
        ...

    def oldest_day(self) -> datetime | None:
        """Give the first hour of the UTC day of the oldest file that was ever settled; None without any."""
        ...

    def open_files(self, ready_by: datetime | None = None) -> Iterator[OpenFile]:
        """Give the open files, oldest hour first, lazily; with *ready_by* those with a position due by then.

        Files may be settled while this is read; each file comes at most once.
        """
        ...

    def settle(
        self,
        run_id: str,
        settlements: Sequence[FileSettlement],
        backlog: Backlog | None,
        noting: Notes = NO_NOTES,
    ) -> None:
        """Store how files came out, and what is left: all of it or nothing, durable on return.

        A settlement replaces what was known of its file, open positions included. One without a state makes
        no claim, and nothing is written for it. *backlog* None leaves that of the last listing, as a backfill
        must. `ValueError` when the books of a file contradict its state. *noting* are facts to remember with
        it, by name.
        """
        ...

    def reserve(self, files: int) -> None:
        """Make sure, before anything is sent, that settlements of so many files can be stored.

        SQLite grows its file by as much. S3 has room, and was written to when the run began.
        """
        ...

    def note_mappings(self, judged: Sequence[tuple[FileRef, str]]) -> None:
        """Store by which mapping each of these files is judged now, and that the budget holds nothing of it.

        All else that is known of them stays, for nothing was sent. A file that is not known, or by another
        etag, is left out.
        """
        ...

    def record_listing(
        self, at: datetime, backlog: Backlog, before_start: int | None = None, *, complete: bool
    ) -> None:
        """Store what a listing found due, and how many files lie before `start_at` (None: it did not count).

        Only a complete listing moves `last_listing`.
        """
        ...

    def begin_run(self, run: RunRecord) -> None:
        """Store that a run is at work."""
        ...

    def finish_run(self, run: RunRecord, noting: Notes = NO_NOTES) -> None:
        """Store how that run ended, and facts to remember with that, by name."""
        ...

    def runs(self, limit: int) -> list[RunRecord]:
        """Give the last runs, newest first. An adapter keeps at least 1,000 and may drop older ones."""
        ...

    def correct_runs(self, change: Callable[[RunRecord], RunRecord]) -> int:
        """Store what *change* makes of each run that is kept, and return how many are others; take the lease.

        A run keeps its id and its place.
        """
        ...

    def note_key(self, fingerprint: str) -> bool:
        """Store the fingerprint of the API key in use, and say whether another one was used before."""
        ...

    def put_note(self, name: str, fact: Mapping[str, Any]) -> None:
        """Store a fact of plain JSON, of some kilobytes at most, under a name, in place of the one before."""
        ...

    def get_note(self, name: str) -> dict[str, Any]:
        """Give the fact of that name back; empty when there is none."""
        ...

    def summary(self) -> LedgerSummary:
        """Sum up the ledger; the cost does not depend on how many files it knows."""
        ...

    def lease(self, owner: LeaseOwner) -> AbstractContextManager[None]:
        """Hold the lease for the length of a `with`; `LeaseHeldError` names the holder of a taken one."""
        ...

    def holder(self) -> LeaseHolder | None:
        """Say who holds the lease, without taking it."""
        ...

    def unlock(self) -> None:
        """End the lease whoever holds it, so that its holder can store nothing more.

        `LeaseHeldError` where a lease ends with the holder's process, and that process lives.
        """
        ...

    def contents(self) -> LedgerContents:
        """Give all that the ledger holds; take the lease first, so that it does not change meanwhile."""
        ...

    def take_over(self, contents: LedgerContents) -> None:
        """Store the whole of another ledger, in place of what this new one says: all of it or nothing.

        That ledger's creation counts from the next opening. `StateError` when this one has settled a
        file or seen a run.
        """
        ...

    def close(self) -> None:
        """Release what the ledger object holds; it is not used again."""
        ...
