"""From `state.uri` to a ledger, and from one ledger to its copy in another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Literal

from braze_etl.clock import Clock
from braze_etl.errors import ConfigError, StateError
from braze_etl.model import FileState, Reason
from braze_etl.state.ledger import (
    LeaseOwner,
    Ledger,
    LedgerIdentity,
    LedgerMissingError,
    LedgerSummary,
    Vouch,
    anything_goes,
    is_unused,
    never_create,
    not_empty,
    start_hour,
)
from braze_etl.state.s3.ledger import S3Ledger
from braze_etl.state.sqlite import SqliteLedger
from braze_etl.storage.opening import open_conditional_store
from braze_etl.storage.settings import StoreAccess
from braze_etl.uri import parse_ledger

_KEPT = "Name a file of SQLite or a place in S3."
_NO_ACCESS = StoreAccess()
_ALL_RUNS = 1_000_000


def open_ledger(
    uri: str,
    identity: LedgerIdentity,
    *,
    clock: Clock,
    start_at: datetime | None = None,
    create: Literal["auto", "never"] = "auto",
    read_only: bool = False,
    access: StoreAccess = _NO_ACCESS,
    vouch: Vouch = anything_goes,
) -> Ledger:
    """Open the ledger at *uri* (CONTRACT.md, `state`), and create a missing one where that is allowed.

    A new ledger starts at *start_at* (default: 48 hours ago), cut to its hour; an existing one keeps its own,
    and `Ledger.start_at` tells the difference. `read_only` changes nothing and creates nothing. *access* says
    how S3 is reached. *vouch* is called with the first hour of a ledger that is to be made, before anything
    is written; what it raises keeps that from happening.

    Raises `ConfigError` for a URI of another kind, a ledger of another project or region, and a missing one
    under `create="never"`; `LedgerMissingError` for a missing one that was to be read; else `StateError`.
    """
    open_it: Callable[..., Ledger]
    match parse_ledger(uri):
        case None:
            open_it = _memory
        case Path() as path:
            open_it = partial(SqliteLedger.open, path)
        case _:
            store, prefix = open_conditional_store(uri, access=access)
            open_it = partial(S3Ledger.open, store, prefix, server=access.endpoint_url or "")
    may_create = create == "auto"
    return open_it(
        identity, clock=clock, start_at=start_at, create=may_create, read_only=read_only, vouch=vouch
    )


def find_identity(uri: str, *, access: StoreAccess = _NO_ACCESS) -> LedgerIdentity:
    """Say whose ledger lies at *uri*, for whoever has no configuration at hand.

    `LedgerMissingError` when there is none; `ConfigError` for a URI of another kind; else `StateError`.
    """
    match parse_ledger(uri):
        case None:
            raise ConfigError(f"{uri!r} is no place where a ledger is kept.", remedy=_KEPT)
        case Path() as path:
            return SqliteLedger.identity_at(path)
        case _:
            return S3Ledger.identity_at(*open_conditional_store(uri, access=access))


def _memory(
    identity: LedgerIdentity,
    *,
    clock: Clock,
    start_at: datetime | None,
    create: bool,
    read_only: bool,
    vouch: Vouch,
) -> Ledger:
    """A ledger in memory never exists before it is opened."""
    if read_only:
        raise LedgerMissingError("A ledger in memory keeps nothing between commands.", remedy=_KEPT)
    if not create:
        raise never_create("memory://")
    vouch(start_hour(start_at, clock))
    return SqliteLedger.in_memory(identity, clock=clock, start_at=start_at)


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
