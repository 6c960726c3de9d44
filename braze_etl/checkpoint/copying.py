"""Moving a ledger from one store to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from braze_etl.checkpoint._rules import is_unused, not_empty
from braze_etl.checkpoint.facts import LeaseOwner, LedgerSummary
from braze_etl.checkpoint.port import Ledger
from braze_etl.errors import StateError
from braze_etl.model import FileState, Reason

_ALL_RUNS = 1_000_000


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy holds: files by state, deferred records by reason, the runs that its store keeps."""

    files: Mapping[FileState, int]
    deferred: Mapping[Reason, int]
    backlog_files: int
    runs: int
    start_at: datetime
    created_at: datetime


def copy_ledger(source: Ledger, target: Ledger, owner: LeaseOwner, *, place: str) -> Copied:
    """Copy all of *source* into *target*, which has to be unused, under the leases of both.

    *source* stays as it is. `StateError` when *target* (at *place*) is in use, or tells something else
    afterwards; `LeaseHeldError` while a run is at work on either.
    """
    with source.lease(owner), target.lease(owner):
        if not is_unused(target):
            raise not_empty(place)
        contents = source.contents()
        target.take_over(contents)
        _compare(contents.summary, target.summary(), place)
        return Copied(
            files=contents.summary.files,
            deferred=contents.summary.deferred,
            backlog_files=contents.summary.backlog.files,
            runs=len(target.runs(_ALL_RUNS)),
            start_at=contents.start_at,
            created_at=contents.created_at,
        )


def _compare(source: LedgerSummary, target: LedgerSummary, place: str) -> None:
    """Each counts its own files, so that one that was left behind shows; the schemas differ by store."""
    if replace(target, schema_version=source.schema_version) == source:
        return
    raise StateError(
        f"The copy at {place} does not tell what its original tells: {target} instead of {source}.",
        remedy="Delete the copy and keep using the original; copy again, and report it if that fails too.",
    )
