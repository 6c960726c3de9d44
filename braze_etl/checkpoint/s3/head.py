"""The head: the one small object that says what the ledger is and which other objects belong to it.

Whatever it names is written before, and never changed. So a reader of one head sees one state of the ledger,
and a settlement is stored at the moment at which the head is. It names days of late only, and everything else
by one name: its size does not depend on how much history there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

import orjson

from braze_etl.checkpoint._rows import (
    backlog_of,
    backlog_text,
    micros_or_none,
    moment,
    moment_or_none,
)
from braze_etl.checkpoint.facts import Backlog, LedgerIdentity, LedgerSummary
from braze_etl.model import FileState, Reason

Migration: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
"""One step forward of a head as plain JSON."""

KIND: Final = "braze_etl ledger"
"""Tells our heads from other programs' objects of that name."""


def _second(value: dict[str, Any]) -> dict[str, Any]:
    # Rows have had a mapping since; a program that does not know of it would drop it.
    return value | {"large_notes": {}}


MIGRATIONS: tuple[Migration, ...] = (_second,)
"""Number n leads from schema n + 1 to n + 2. A published one is never changed: add another."""


def latest_schema() -> int:
    """The schema that this program writes."""
    return len(MIGRATIONS) + 1


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
    for step in MIGRATIONS[version - 1 :]:
        value = step(value)
    return value | {"schema_version": latest_schema()}


def to_json(head: Head) -> bytes:
    """Write a head, for people too: `aws s3 cp s3://.../head.json -`."""
    return orjson.dumps(
        {
            "kind": KIND,
            **{name: getattr(head, name) for name in _PLAIN},
            **{name: micros_or_none(getattr(head, name)) for name in _TIMES},
            "identity": [head.identity.pipeline, head.identity.project, head.identity.region],
            "backlog": orjson.Fragment(backlog_text(head.backlog)),
            "journal": [[each.stamp, each.days, each.open] for each in head.journal],
            "catalogue": [head.catalogue.stamp, head.catalogue.through] if head.catalogue else None,
        },
        option=orjson.OPT_NON_STR_KEYS,  # states and reasons
    )


def from_json(value: dict[str, Any]) -> Head:
    """Read a head of the latest schema; `KeyError`, `TypeError` or `ValueError` for a damaged one."""
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
        journal=tuple(JournalEntry(stamp, tuple(days), left) for stamp, days, left in value["journal"]),
        catalogue=CatalogueName(*value["catalogue"]) if value["catalogue"] else None,
    )


_TIMES: Final = ("start_at", "created_at", "last_delivery", "last_listing", "swept_at")
_PLAIN: Final = (
    *("checked", "schema_version", "sequence", "stamp", "generation", "before_start"),
    *("key_fingerprint", "notes", "large_notes", "files", "deferred", "days", "open", "runs"),
)
