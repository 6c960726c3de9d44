"""The head: the one small object that says what the ledger is and which other objects belong to it.

Whatever it names is written before, and never changed. So a reader of one head sees one state of the ledger,
and a settlement is stored at the moment at which the head is. It names days of late only, and everything else
by one name: its size does not depend on how much history there is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import astuple, dataclass, field, replace
from datetime import date, datetime
from typing import Any, Final, TypeAlias, TypeVar

import orjson

from braze_etl.errors import StateError
from braze_etl.model import FileState, Reason
from braze_etl.state.ledger import Backlog, LedgerIdentity, LedgerSummary, check_version
from braze_etl.state.rows import backlog_of, backlog_text, micros_or_none, moment, moment_or_none
from braze_etl.state.s3.objects import ObjectGoneError, Objects
from braze_etl.state.shapes import EACH, checked
from braze_etl.storage.store import Version

Migration: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
"""One step forward of a head as plain JSON."""

KIND: Final = "braze_etl ledger"
"""Tells our heads from other programs' objects of that name."""

_TIMES: Final = ("start_at", "created_at", "last_delivery", "last_listing", "swept_at")
_PLAIN: Final = (
    *("checked", "schema_version", "sequence", "stamp", "generation", "before_start"),
    *("key_fingerprint", "notes", "large_notes", "files", "deferred", "days", "open", "runs"),
    "pruned_through",
)

HEAD: Final = "head.json"
_SHAPE: Final = {
    **dict.fromkeys(("sequence", "generation", "schema_version", "start_at", "created_at"), int),
    **dict.fromkeys(("last_delivery", "last_listing", "swept_at", "before_start"), int | None),
    **dict.fromkeys(("key_fingerprint", "open", "runs", "pruned_through"), str | None),
    "checked": str,
    "stamp": str,
    "identity": [str],
    "notes": {EACH: dict},
    "large_notes": {EACH: str},
    "days": {EACH: str},
    "files": {EACH: int},
    "deferred": {EACH: int},
    "catalogue": (type(None), [str]),
}
_ATTEMPTS: Final = 8

_T = TypeVar("_T")


MIGRATIONS: tuple[Migration, ...] = ()
"""Number n leads from schema `OLDEST` + n to the next. A published one is never changed: add another."""
OLDEST: Final = 3
"""The schema of the first release."""


def latest_schema() -> int:
    """The schema that this program writes."""
    return OLDEST + len(MIGRATIONS)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A settlement that is not yet merged into its days; `open` counts the files that it leaves open."""

    stamp: str
    days: tuple[str, ...]
    open: int


@dataclass(frozen=True, slots=True)
class CatalogueName:
    """The catalogue of the older days: where it is, and the newest of its days."""

    stamp: str
    through: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What the head says; `schema_version` is the one it was read in.

    `sequence` counts the heads ever written, `stamp` names the write of this one, `generation` is that of the
    newest lease. `checked` names the store in which conditional writes were tried and held. `large_notes` has
    the stamps of notes that are objects of their own.
    """

    identity: LedgerIdentity
    start_at: datetime
    created_at: datetime
    checked: str
    schema_version: int = field(default_factory=latest_schema)
    sequence: int = 0
    stamp: str = ""
    generation: int = 0
    last_delivery: datetime | None = None
    last_listing: datetime | None = None
    before_start: int | None = None
    backlog: Backlog = field(default_factory=Backlog)
    key_fingerprint: str | None = None
    notes: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    large_notes: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[FileState, int] = field(default_factory=dict)
    deferred: Mapping[Reason, int] = field(default_factory=dict)
    journal: tuple[JournalEntry, ...] = ()
    days: Mapping[str, str] = field(default_factory=dict)
    catalogue: CatalogueName | None = None
    open: str | None = None
    runs: str | None = None
    swept_at: datetime | None = None
    pruned_through: str | None = None

    @property
    def summary(self) -> LedgerSummary:
        """The sum that `Ledger.summary` gives."""
        return LedgerSummary(
            last_delivery=self.last_delivery,
            last_listing=self.last_listing,
            backlog=self.backlog,
            before_start=self.before_start,
            deferred=dict(self.deferred),
            files=dict(self.files),
            schema_version=self.schema_version,
        )


def version_of(value: Any) -> int | None:
    """The schema version of a head as plain JSON; None for what is no head of ours."""
    if not isinstance(value, dict) or value.get("kind") != KIND:
        return None
    version = value.get("schema_version")
    return version if isinstance(version, int) else None


def migrated(value: dict[str, Any], version: int) -> dict[str, Any]:
    """Bring a head as plain JSON to the latest schema."""
    for step in MIGRATIONS[version - OLDEST :]:
        value = step(value)
    return value | {"schema_version": latest_schema()}


def check_days(names: Collection[str]) -> Collection[str]:
    """Give *names*, if they are of days; else `ValueError` or `TypeError`."""
    for name in names:
        date.fromisoformat(name)
    return names


def to_json(head: Head) -> bytes:
    """Write a head, for people too: `aws s3 cp s3://.../head.json -`."""
    return orjson.dumps(
        {
            "kind": KIND,
            **{name: getattr(head, name) for name in _PLAIN},
            **{name: micros_or_none(getattr(head, name)) for name in _TIMES},
            "identity": astuple(head.identity),
            "backlog": orjson.Fragment(backlog_text(head.backlog)),
            "journal": [[each.stamp, each.days, each.open] for each in head.journal],
            "catalogue": [head.catalogue.stamp, head.catalogue.through] if head.catalogue else None,
        },
        option=orjson.OPT_NON_STR_KEYS,  # states and reasons
    )


def from_json(value: dict[str, Any]) -> Head:
    """Read a head of the latest schema; `KeyError`, `TypeError` or `ValueError` for a damaged one."""
    checked(value, _SHAPE, HEAD)
    check_days([*value["days"], *([value["pruned_through"]] if value["pruned_through"] else [])])
    return Head(
        **{name: value[name] for name in _PLAIN if name not in {"files", "deferred"}},
        start_at=moment(value["start_at"]),
        created_at=moment(value["created_at"]),
        last_delivery=moment_or_none(value["last_delivery"]),
        last_listing=moment_or_none(value["last_listing"]),
        swept_at=moment_or_none(value["swept_at"]),
        identity=LedgerIdentity(*value["identity"]),
        backlog=backlog_of(orjson.dumps(value["backlog"]).decode()),
        files={FileState(state): count for state, count in value["files"].items()},
        deferred={Reason(reason): count for reason, count in value["deferred"].items()},
        journal=tuple(
            JournalEntry(checked(stamp, str), tuple(check_days(days)), checked(left, int))
            for stamp, days, left in value["journal"]
        ),
        catalogue=CatalogueName(*value["catalogue"]) if value["catalogue"] else None,
    )


Change: TypeAlias = Callable[[Head, str], Head]
"""From a head to the next, whose objects bear the given stamp; it may be asked again, of a newer head."""


class Heads:
    """The head as it was last read or written. *token* gives a few random letters for a stamp.

    While a lease is held, `generation` is its number: a head of a newer one means that another run has taken
    over, and nothing is stored any more.
    """

    def __init__(self, objects: Objects, *, read_only: bool, token: Callable[[], str]) -> None:
        self._objects = objects
        self.read_only: Final = read_only
        self._token = token
        self._head: Head | None = None
        self._etag = ""
        self.read_at: datetime | None = None
        self.generation: int | None = None

    def find(self) -> Head | None:
        """Read the head; None when there is none."""
        self._head = None
        found = self._objects.read(HEAD)
        if found is None:
            return None
        self._head, self._etag, self.read_at = self._parsed(found), found.etag, found.read_at
        return self._head

    def refresh(self) -> Head:
        """Read the head again."""
        head = self.find()
        if head is None:
            raise StateError(
                f"The ledger {self._objects.place} has lost its {HEAD}.",
                remedy="Bring that object back (the bucket's versioning), or a copy of the whole ledger.",
            )
        return head

    def current(self) -> Head:
        """The head as it was last seen; it may be older than the ledger."""
        return self._head or self.refresh()

    def fresh(self) -> Head:
        """The head as it is; the holder of a lease has no need to ask."""
        return self.refresh() if self.generation is None else self.current()

    def reading(self, work: Callable[[Head], _T]) -> _T:
        """Do *work* on the head's objects, and again on a newer head when they were compacted away."""
        head = self.current()
        for _ in range(_ATTEMPTS):
            try:
                return work(head)
            except ObjectGoneError:
                newer = self.refresh()
                if newer.stamp == head.stamp:
                    raise
                head = newer
        raise self._restless()

    def create(self, head: Head) -> Head:
        """Write the first head, or take that of somebody who was quicker."""
        first = replace(head, sequence=1, stamp=self._stamp(head))
        etag = self._objects.write(HEAD, to_json(first), None)
        if etag is None:
            return self.refresh()
        self._head, self._etag = first, etag
        return first

    def new_stamp(self) -> str:
        """A name for objects that are written before it is known which head will name them."""
        return self._stamp(self.current())

    def commit(self, change: Change) -> Head:
        """Store what *change* makes of the head; `StateError` when that can't be done, or may no longer."""
        self._check_writable()
        for _ in range(_ATTEMPTS):
            head = self.current()
            self._check_fence(head)
            stamp = self._stamp(head)
            changed = self._changed(change, head, stamp)
            if changed is not None and self._put(changed):
                return changed
        raise self._restless()

    def _changed(self, change: Change, head: Head, stamp: str) -> Head | None:
        """The next head; None when this one is so old that its objects are gone."""
        try:
            return replace(
                change(head, stamp),
                sequence=head.sequence + 1,
                stamp=stamp,
                schema_version=latest_schema(),
            )
        except ObjectGoneError:
            if self.refresh().stamp == head.stamp:
                raise
            return None

    def _put(self, head: Head) -> bool:
        # Until the answer is there, nobody knows which head is the last one.
        self._head, etag = None, self._etag
        new_etag = self._objects.write(HEAD, to_json(head), etag)
        if new_etag is None:
            # Lost; or won, if the answer did not arrive and the client library has sent it again.
            return self.refresh().stamp == head.stamp
        self._head, self._etag = head, new_etag
        return True

    def _stamp(self, head: Head) -> str:
        return f"{head.sequence + 1:x}-{self._token()}"

    def _parsed(self, found: Version) -> Head:
        with self._objects.understood(HEAD):
            value = orjson.loads(found.data)
        version = version_of(value)
        if version is None:
            raise StateError(
                f"The object {self._objects.place}/{HEAD} belongs to another program.",
                remedy="Give the ledger a prefix of its own in state.uri.",
            )
        check_version(self._objects.place, version, OLDEST, latest_schema(), read_only=self.read_only)
        with self._objects.understood(HEAD):
            return from_json(migrated(value, version))

    def _check_writable(self) -> None:
        if self.read_only:
            raise StateError(
                f"The ledger {self._objects.place} can't be written: it is open for reading only.",
                remedy="Open it for writing to store something.",
            )

    def _check_fence(self, head: Head) -> None:
        if self.generation is None or head.generation <= self.generation:
            return
        raise StateError(
            f"The lease of {self._objects.place} was taken over while this run stood still; "
            "what it did since then is not stored, and counts as not done.",
            remedy="Nothing to repair: the other run goes on. See what stops this machine for more than a "
            "minute (a suspended machine, a paused container), or whether `state unlock` was used.",
        )

    def _restless(self) -> StateError:
        return StateError(
            f"The ledger {self._objects.place} is changed by others again and again.",
            remedy="See which runs share this state.uri; each pipeline needs one of its own.",
        )
