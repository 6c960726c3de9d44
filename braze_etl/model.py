"""What travels between the rooms: files, positions, events, verdicts, and the books of a file.

A record of a due file ends as exactly one `Outcome`. Its `Reason` belongs to one outcome for good, so that
counting reasons is counting outcomes, and `Tally.read` is a sum: the books balance by construction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Self, TypeAlias

Event: TypeAlias = dict[str, Any]
"""One event as Amplitude's Batch API takes it (amplitude.md, 1.4); every value is plain JSON."""

Record: TypeAlias = dict[str, Any]
"""One Currents record by field name; values are plain JSON, null fields are None."""


class Outcome(StrEnum):
    """How a record ends in a run."""

    ACCEPTED = "accepted"
    FILTERED = "filtered"
    QUARANTINED = "quarantined"
    DEFERRED = "deferred"


class Reason(StrEnum):
    """Why a record was not accepted (CONTRACT.md, the run report); filters come in the order of checking.

    `outcome` is the one that the reason belongs to, `meaning` says it in words for people.
    """

    outcome: Outcome
    meaning: str

    NOT_IN_NATIVE = "not_in_native", Outcome.FILTERED, "the native connector does not send this event type"
    NOT_SELECTED = "not_selected", Outcome.FILTERED, "the configuration does not select it"
    HELD = "held", Outcome.FILTERED, "held back by the budget, or as an unknown event type"
    TEST_EVENT = "test_event", Outcome.FILTERED, "a test event of Braze"
    NO_IDENTITY = "no_identity", Outcome.FILTERED, "neither a user id nor a device id"
    SUPPRESSED = "suppressed", Outcome.FILTERED, "the person is on the suppress list"
    SHARED_ID = "shared_id", Outcome.FILTERED, "an id that many people share"
    UNKNOWN_USER = "unknown_user", Outcome.FILTERED, "the look-up table does not know the id"
    FROM_AMPLITUDE = "from_amplitude", Outcome.FILTERED, "came from Amplitude in the first place"

    REDACTED_IDENTITY = "redacted_identity", Outcome.QUARANTINED, "Braze has redacted the user id"
    INVALID_USER_ID = "invalid_user_id", Outcome.QUARANTINED, "Amplitude would refuse the user id"
    INVALID_DEVICE_ID = "invalid_device_id", Outcome.QUARANTINED, "Amplitude would refuse the device id"
    INVALID_EVENT = "invalid_event", Outcome.QUARANTINED, "Amplitude would refuse the event as it is"
    REJECTED = "rejected", Outcome.QUARANTINED, "Amplitude refused the event"
    SILENCED = "silenced", Outcome.QUARANTINED, "Amplitude has silenced the device"
    TOO_LARGE = "too_large", Outcome.QUARANTINED, "larger than a request may be"
    DAMAGED_BLOCK = "damaged_block", Outcome.QUARANTINED, "a damaged stretch of a file"
    UNREADABLE_FILE = "unreadable_file", Outcome.QUARANTINED, "a file that could not be read"
    SOURCE_GONE = "source_gone", Outcome.QUARANTINED, "the file was deleted before it was read"

    THROTTLED = "throttled", Outcome.DEFERRED, "the user sends more than Amplitude takes at a time"
    DAILY_QUOTA = "daily_quota", Outcome.DEFERRED, "the user is over the daily quota of Amplitude"
    FAILING = "failing", Outcome.DEFERRED, "Amplitude did not answer"

    # The defaults are for type checkers, which take a look-up such as `Reason("held")` for this call.
    def __new__(cls, value: str, outcome: Outcome = Outcome.QUARANTINED, meaning: str = "") -> Self:
        reason = str.__new__(cls, value)
        reason._value_ = value
        reason.outcome, reason.meaning = outcome, meaning
        return reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """A record that becomes no event: the reason, and words for the person who looks into it."""

    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class FileRef:
    """One Currents file as a listing found it.

    `key` identifies it: the whole object key in S3, the path below the source folder elsewhere. `hour` is the
    key's `date=` part, an aware UTC time; `etag` changes with the content; `size` is in bytes. `archived`: it
    has to be restored from its class of storage before it can be read.
    """

    key: str
    etag: str
    size: int
    modified: datetime
    event_type: str
    hour: datetime
    archived: bool = False

    def __reduce__(self) -> tuple[type[FileRef], tuple[object, ...]]:
        # A frozen dataclass by itself takes three times as long, and there may be a million of these.
        return FileRef, (
            self.key,
            self.etag,
            self.size,
            self.modified,
            self.event_type,
            self.hour,
            self.archived,
        )


@dataclass(frozen=True, slots=True)
class Damage:
    """*length* bytes of a file from *offset* that give no records, and why."""

    offset: int
    length: int
    detail: str


class Position(NamedTuple):
    """Where a record lies: the byte offset of its Avro block in the file, and its index in that block.

    `record` is None for what could not be taken apart: a damaged stretch, or (with block 0) a whole file.
    """

    key: str
    etag: str
    block: int
    record: int | None


@dataclass(slots=True)
class Tally:
    """The books of a file, or of any sum of files, in records."""

    accepted: int = 0
    filtered: int = 0
    quarantined: int = 0
    deferred: int = 0

    @property
    def read(self) -> int:
        """Records whose outcome is fixed."""
        return self.accepted + self.filtered + self.quarantined + self.deferred

    def count(self, outcome: Outcome, records: int = 1) -> None:
        """Add *records* with that outcome."""
        setattr(self, outcome.value, getattr(self, outcome.value) + records)

    def add(self, other: Tally) -> None:
        """Add the books of *other*."""
        self.accepted += other.accepted
        self.filtered += other.filtered
        self.quarantined += other.quarantined
        self.deferred += other.deferred

    def as_dict(self) -> dict[str, int]:
        """The five numbers in the order of the run report."""
        return {
            "read": self.read,
            "accepted": self.accepted,
            "filtered": self.filtered,
            "quarantined": self.quarantined,
            "deferred": self.deferred,
        }


@dataclass(frozen=True, slots=True)
class SetAside:
    """One thing to be quarantined: where it lies, why, and in whose words; the record where it is kept."""

    position: Position
    event_type: str
    reason: Reason
    detail: str = ""
    payload: Record | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class OpenPositions:
    """Records of one file that a later run has to send: index lists by block offset, and not before when."""

    reason: Reason
    not_before: datetime
    blocks: dict[int, tuple[int, ...]]

    @property
    def count(self) -> int:
        """How many records are open."""
        return sum(len(indexes) for indexes in self.blocks.values())


class FileState(StrEnum):
    """What the ledger says of a file."""

    DONE = "done"
    """Each of its records is accepted, filtered or quarantined."""
    FAILED = "failed"
    """It could not be read, or only in part; the rest is in the quarantine."""
    OPEN = "open"
    """All is settled but the open positions."""


@dataclass(slots=True)
class FileSettlement:
    """How one file came out of a task. `state` None: no claim is made, the file stays due as it was.

    `mapping` is the fingerprint of the mapping that its records were judged by. `held_from` is the (block,
    record) from which on the budget held what the mapping would have sent; None where it held nothing.
    `accepted` counts what was accepted in this task alone; `tally` is of all runs. `sent_from` and `sent_to`
    are the first and last time (UTC, whole seconds) at which an answer of this task accepted records of it.
    """

    ref: FileRef
    state: FileState | None
    tally: Tally = field(default_factory=Tally)
    open: tuple[OpenPositions, ...] = ()
    mapping: str = ""
    held_from: tuple[int, int] | None = None
    accepted: int = 0
    sent_from: datetime | None = None
    sent_to: datetime | None = None


ReasonCounts: TypeAlias = Counter[tuple[str, Reason]]
"""Records by (event type, reason)."""


@dataclass(slots=True)
class Counts:
    """Books by event type, and the reasons of the records that were not accepted."""

    by_event_type: dict[str, Tally] = field(default_factory=dict)
    reasons: ReasonCounts = field(default_factory=Counter)

    def count(self, event_type: str, books: Tally, reasons: Mapping[Reason, int]) -> None:
        """Add the books of a file of that type; of nothing, nothing is left."""
        if not books.read:
            return
        self.by_event_type.setdefault(event_type, Tally()).add(books)
        for reason, records in reasons.items():
            self.reasons[event_type, reason] += records

    def add(self, other: Counts) -> None:
        """Add what *other* has counted."""
        for event_type, books in other.by_event_type.items():
            self.by_event_type.setdefault(event_type, Tally()).add(books)
        self.reasons.update(other.reasons)

    @property
    def total(self) -> Tally:
        """The books of all types."""
        total = Tally()
        for books in self.by_event_type.values():
            total.add(books)
        return total

    @property
    def read(self) -> Counter[str]:
        """Records by event type."""
        return Counter({name: books.read for name, books in self.by_event_type.items()})

    @property
    def by_reason(self) -> Counter[Reason]:
        """The reasons of all types."""
        total = Counter[Reason]()
        for (_, reason), records in self.reasons.items():
            total[reason] += records
        return total

    def reasons_of(self, outcome: Outcome) -> Counter[str]:
        """Those reasons that belong to *outcome*, by name."""
        return Counter({r.value: n for r, n in self.by_reason.items() if r.outcome is outcome})

    def as_dict(self) -> dict[str, Any]:
        """The part of the run report: `by_event_type` and `reasons`, the most frequent reason first."""
        return {
            "by_event_type": {name: books.as_dict() for name, books in sorted(self.by_event_type.items())},
            "reasons": {reason.value: records for reason, records in self.by_reason.most_common()},
        }
