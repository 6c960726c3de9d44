"""The values that the ledger keeps and gives back; all times are aware and in UTC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from braze_etl.clock import iso
from braze_etl.model import FileRef, FileState, OpenPositions, Reason, Tally


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
