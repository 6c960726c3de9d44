"""The lease of a ledger in a file: a lock of the operating system, which the death of its holder releases.

The lock is `flock` on a file that is never deleted: a lock on a deleted name protects nothing. The holder's
name is written into the file for people; the lock alone decides. The descriptor is closed in programs that
the holder starts; a process that is merely *forked* shares the lock and keeps it alive, so that workers must
be spawned.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Final

import orjson

from braze_etl.checkpoint._rules import lease_held
from braze_etl.checkpoint._troubles import in_our_words
from braze_etl.checkpoint.facts import LeaseHolder, LeaseOwner
from braze_etl.clock import Clock, iso
from braze_etl.storage import make_file

# A reader must not see half a name, so that a name is one write of this length over the one before.
_LENGTH: Final = 4096
# `holder` takes a shared lock for a moment when the last holder was killed; that must not fail a run.
_ATTEMPTS: Final = 4
_PAUSE: Final = 0.05


class FileLease:
    """The lease at *path*; *place* is what the errors call it."""

    def __init__(self, path: Path, *, place: str, clock: Clock) -> None:
        self._path = path
        self._place = place
        self._clock = clock

    @contextmanager
    def held(self, owner: LeaseOwner) -> Iterator[None]:
        """Hold the lease; `LeaseHeldError` when somebody has it, `StateError` when the file can't be used."""
        with in_our_words(self._path):
            make_file(self._path)
            descriptor = os.open(self._path, os.O_RDWR)
        try:
            self._take(descriptor)
            try:
                with in_our_words(self._path):
                    _write(descriptor, LeaseHolder(owner, self._clock.now()))
                yield
            finally:
                _wipe(descriptor)
        finally:
            os.close(descriptor)  # and with it the lock

    def holder(self) -> LeaseHolder | None:
        """Say who holds the lease; a name whose process is gone counts as nobody."""
        with in_our_words(self._path):
            try:
                descriptor = os.open(self._path, os.O_RDONLY)
            except FileNotFoundError:
                return None
            try:
                holder = _read(descriptor)
                return None if holder is None or _lock(descriptor, fcntl.LOCK_SH) else holder
            finally:
                os.close(descriptor)

    def _take(self, descriptor: int) -> None:
        with in_our_words(self._path):
            for _ in range(_ATTEMPTS):
                if _lock(descriptor, fcntl.LOCK_EX):
                    return
                self._clock.wait(_PAUSE)
            holder = _read(descriptor)
        raise lease_held(self._place, holder)


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(descriptor: int, holder: LeaseHolder) -> None:
    facts = asdict(holder.owner) | {"since": iso(holder.since)}
    written = os.pwrite(descriptor, orjson.dumps(facts).ljust(_LENGTH), 0)
    os.ftruncate(descriptor, written)


def _wipe(descriptor: int) -> None:
    with suppress(OSError):  # a name that stays does no harm: the lock decides
        os.ftruncate(descriptor, os.pwrite(descriptor, b" " * _LENGTH, 0))


def _read(descriptor: int) -> LeaseHolder | None:
    """Read the name; None for a wiped or an unreadable one."""
    try:
        facts = orjson.loads(os.pread(descriptor, 2 * _LENGTH, 0))
        since = datetime.fromisoformat(facts.pop("since"))
        return LeaseHolder(LeaseOwner(**facts), since)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
