"""From `state.uri` to a ledger."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from braze_etl.checkpoint._rules import never_create
from braze_etl.checkpoint.facts import LedgerIdentity
from braze_etl.checkpoint.memory import MemoryLedger
from braze_etl.checkpoint.port import Ledger, LedgerMissingError
from braze_etl.checkpoint.sqlite import SqliteLedger
from braze_etl.clock import Clock
from braze_etl.errors import ConfigError

_FORMS = "Write `sqlite:///state/braze-etl.db` (relative) or `sqlite:////data/braze-etl.db` (absolute)."


def open_ledger(
    uri: str,
    identity: LedgerIdentity,
    *,
    clock: Clock,
    start_at: datetime | None = None,
    create: Literal["auto", "never"] = "auto",
    read_only: bool = False,
) -> Ledger:
    """Open the ledger at *uri* (CONTRACT.md, `state`), and create a missing one where that is allowed.

    A new ledger starts at *start_at* (default: 48 hours ago), cut to its hour; an existing one keeps its own,
    and `Ledger.start_at` tells the difference. `read_only` changes nothing and creates nothing.

    Raises `ConfigError` for a URI of another kind, a ledger of another project or region, and a missing one
    under `create="never"`; `LedgerMissingError` for a missing one that was to be read; else `StateError`.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        raise ConfigError(f"state.uri {uri!r} has no scheme.", remedy=_FORMS)
    if scheme == "memory":
        return _memory(identity, clock=clock, start_at=start_at, create=create, read_only=read_only)
    if scheme == "sqlite":
        path = _path(uri, rest)
        may_create = create == "auto"
        return SqliteLedger.open(
            path, identity, clock=clock, start_at=start_at, create=may_create, read_only=read_only
        )
    if scheme == "s3":
        raise ConfigError(
            f"state.uri {uri!r}: a ledger in S3 comes in a later version; this one keeps it in SQLite.",
            remedy=_FORMS,
        )
    raise ConfigError(f"state.uri {uri!r}: {scheme!r} is no kind of ledger.", remedy=_FORMS)


def _path(uri: str, rest: str) -> Path:
    """Cut the path out: three slashes lead to a relative one, four to an absolute one."""
    name = rest.removeprefix("/")
    if name == rest or not name or name.endswith("/") or name == ":memory:":
        raise ConfigError(f"state.uri {uri!r} names no file.", remedy=_FORMS)
    return Path(name)


def _memory(
    identity: LedgerIdentity, *, clock: Clock, start_at: datetime | None, create: str, read_only: bool
) -> MemoryLedger:
    """A ledger in memory never exists before it is opened."""
    if read_only:
        raise LedgerMissingError("A ledger in memory keeps nothing between commands.", remedy=_FORMS)
    if create == "never":
        raise never_create("memory://")
    return MemoryLedger(identity, clock=clock, start_at=start_at)
