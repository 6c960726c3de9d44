"""The port of the ledger: what every adapter does, its values, and the rules that hold for all."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, TypeAlias

from braze_etl.clock import Clock, hour_of, iso
from braze_etl.errors import BrazeEtlError, ConfigError, LeaseHeldError, StateError
from braze_etl.model import FileRef, FileSettlement, FileState, OpenPositions, Reason, Tally
from braze_etl.state.shapes import EACH, checked

Notes: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Facts of plain JSON by the names under which they are remembered."""
NO_NOTES: Final[Notes] = {}


@dataclass(frozen=True, slots=True)
class LedgerIdentity:
    """Whose ledger it is. It belongs to `project`, `region` and `flow` for good; `pipeline` is a label."""

    pipeline: str
    project: str
    region: str
    flow: str = "currents_to_amplitude"

    def belongs_with(self, other: LedgerIdentity) -> bool:
        """Whether a ledger of *other* is one for this pipeline."""
        return replace(other, pipeline=self.pipeline) == self

    def __str__(self) -> str:
        return f"project {self.project!r} in region {self.region}, flow {self.flow}"


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What the ledger says of one file: how it was settled, when, and by which run.

    `settled_at` is the time of the first settlement of this content that had records accepted, whatever was
    settled since: from then on Amplitude knows their ids. `mapping` and `held_from` are those of
    `FileSettlement`; so are `sent_from` and `sent_to`, over all settlements of this content. `pruned`: it is
    one of the files that `PrunedFiles` counts, as far as that can be told; the rest is made up.
    """

    etag: str
    state: FileState
    settled_at: datetime
    tally: Tally
    run_id: str
    mapping: str = ""
    held_from: tuple[int, int] | None = None
    sent_from: datetime | None = None
    sent_to: datetime | None = None
    pruned: bool = False

    @classmethod
    def of_pruned(cls, ref: FileRef) -> KnownFile:
        """Make what is known of a file that lies among pruned ones: it is done, as it is now."""
        return cls(ref.etag, FileState.DONE, ref.hour, Tally(), "", pruned=True)


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

    @property
    def day(self) -> datetime:
        """The first hour of its UTC day."""
        return day_of(self.ref.hour)


@dataclass(frozen=True, slots=True)
class PrunedFiles:
    """Files that were done, of one UTC day (its first hour) and event type, of which no rows are kept.

    `accepted` and `filtered` count their records.
    """

    day: datetime
    event_type: str
    files: int
    bytes: int
    accepted: int
    filtered: int


@dataclass(frozen=True, slots=True)
class BacklogLine:
    """The backlog of one event type, or of one hour; `bytes` are those of the files."""

    files: int = 0
    bytes: int = 0

    def __add__(self, other: BacklogLine) -> BacklogLine:
        return BacklogLine(self.files + other.files, self.bytes + other.bytes)


_LINES: Final = {EACH: [int]}
_BACKLOG: Final = {"files": int, "bytes": int, "by_event_type": _LINES, "by_hour": _LINES}


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
        """Read what `as_dict` gave; `ValueError`, `TypeError` or `KeyError` for something else."""
        checked(value, _BACKLOG)
        oldest, files, size = value["oldest_hour"], value["files"], value["bytes"]
        return cls(
            files,
            size,
            {name: BacklogLine(*numbers) for name, numbers in value["by_event_type"].items()},
            datetime.fromisoformat(oldest) if oldest else None,
            {
                datetime.fromisoformat(hour): BacklogLine(*numbers)
                for hour, numbers in value["by_hour"].items()
            },
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

    `files` come by day, the oldest first, and what was pruned of a day among them; `runs` oldest first. Both
    are read lazily, and once.
    """

    identity: LedgerIdentity
    start_at: datetime
    created_at: datetime
    key_fingerprint: str | None
    notes: Mapping[str, dict[str, Any]]
    summary: LedgerSummary
    runs: Iterable[RunRecord]
    files: Iterable[SettledFile | PrunedFiles]


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
        """Look up a batch of up to a few thousand files, by key; what was never settled is left out.

        Of a day and event type of which files were pruned, a file without a row is one of these.
        """
        ...

    def oldest_day(self) -> datetime | None:
        """Give the first hour of the UTC day of the oldest file that was settled; None without any."""
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

    def prune(self, before: datetime, after: str) -> str | None:
        """Fold the rows of done files into `PrunedFiles`, one step of some 0.1 s; take the lease.

        These are files of the days before that of *before*, settled before it as well, with no record in the
        quarantine. A step goes on behind the place *after* (empty: from the beginning) and returns where it
        ended; None at the end. Each is stored whole or not at all.
        """
        ...

    def pruned_through(self) -> datetime | None:
        """Give the first hour of the last day of which files were pruned; None without any."""
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


DEFAULT_START = timedelta(hours=48)
"""How far before its creation a ledger starts when nothing else is configured (CONTRACT.md, What is due)."""

Vouch: TypeAlias = Callable[[datetime], None]
"""Raises what keeps a ledger that would begin at that hour from being made."""


def settled(settlement: FileSettlement, before: KnownFile | None, run_id: str, now: datetime) -> KnownFile:
    """Say what is known of a file by a settlement that makes a claim, and by what was known *before*."""
    assert settlement.state is not None
    if before is not None and before.etag != settlement.ref.etag:
        before = None
    sent = [settlement.sent_from, settlement.sent_to, *((before.sent_from, before.sent_to) if before else ())]
    times = [each for each in sent if each is not None]
    return KnownFile(
        etag=settlement.ref.etag,
        state=settlement.state,
        # A replay of a record does not begin anew since when Amplitude knows ids of this content.
        settled_at=before.settled_at if before and before.tally.accepted else now,
        tally=replace(settlement.tally),  # the caller may go on counting in its own
        run_id=run_id,
        mapping=settlement.mapping,
        held_from=settlement.held_from,
        sent_from=min(times, default=None),
        sent_to=max(times, default=None),
    )


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


def day_of(moment: datetime) -> datetime:
    """Give the first hour of a moment's UTC day."""
    return hour_of(moment).replace(hour=0)


def check_identity(place: str, ours: LedgerIdentity, asked: LedgerIdentity) -> None:
    """Refuse another project, region or flow: what is done for one is not done for the other."""
    if asked.belongs_with(ours):
        return
    raise ConfigError(
        f"The ledger {place} belongs to {ours}, not to {asked}.",
        remedy="Give each project, region and flow a state.uri of its own, "
        "or set flow, amplitude.project and amplitude.region back to the ledger's.",
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


def check_version(place: str, version: int, oldest: int, latest: int, *, read_only: bool) -> None:
    """Refuse a ledger of a newer program, and an older one that can't be brought up to date."""
    if version > latest:
        raise StateError(
            f"The ledger {place} was written by a newer braze-etl: "
            f"schema {version}, this one knows {latest}.",
            remedy="Upgrade braze-etl here to the version that wrote it.",
        )
    if version < oldest:
        raise StateError(
            f"The ledger {place} was written by a braze-etl from before its first release: "
            f"schema {version}, this one knows {oldest} and later.",
            remedy="Go on with the version that wrote it, or begin a new ledger "
            "(A new ledger without double counts, in the documents).",
        )
    if version < latest and read_only:
        raise StateError(
            f"The ledger {place} was written by an older braze-etl: "
            f"schema {version}, this one reads {latest}.",
            remedy="The next `braze-etl run` with this version brings it up to date.",
        )


def _damaged(place: str, what: str, error: Exception) -> StateError:
    return StateError(
        f"The ledger {place} is damaged: {what} can't be read ({type(error).__name__}: {error}).",
        remedy="Bring its former version back (a bucket's versioning), or a copy of the whole ledger; "
        "if a newer braze-etl has written it, upgrade this one.",
    )


@contextmanager
def understood(place: str, what: str) -> Iterator[None]:
    """Turn what comes of a stored value of another shape into `StateError`; only for reading."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise _damaged(place, what, error) from error


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
