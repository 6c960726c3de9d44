"""The lease of a ledger in a file: a lock of the operating system, which the death of its holder releases.

The lock is `flock` on a file beside the database, with the holder's name in it for people; and a lock on the
database itself, far behind what SQLite locks there. That one holds also when the file beside it is deleted or
replaced, and when the ledger is reached by another name: a link, or a mount of it alone. Where the system has
no such lock, a run stops whose lock file is no longer the one that it locked.

The descriptor is closed in programs that
the holder starts; a process that is merely *forked* shares the lock and keeps it alive, so that workers must
be spawned.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Final

import orjson

from braze_etl.clock import Clock, iso
from braze_etl.errors import StateError
from braze_etl.state.ledger import LeaseHolder, LeaseOwner, lease_held
from braze_etl.state.sqlite_schema import in_our_words
from braze_etl.storage.folder import make_file

# A reader must not see half a name, so that a name is one write of this length over the one before.
_LENGTH: Final = 4096
# `holder` takes a shared lock for a moment when the last holder was killed; that must not fail a run.
_ATTEMPTS: Final = 4
_PAUSE: Final = 0.05
# A struct flock of 64-bit Linux. SQLite locks bytes from 2^30 on (sqlite.org/lockingv3.html). A lock of an
# open file description, unlike one of a process, stays when SQLite closes the same file.
_REGION: Final = "hhqqi4x"
_BEHIND: Final = 1 << 62


class FileLease:
    """The lease of *database*; *place* is what the errors call it."""

    def __init__(self, database: Path, *, place: str, clock: Clock) -> None:
        self._database = database
        self._path = database.with_name(f"{database.name}.lock")
        self._place = place
        self._clock = clock
        self._locked: dict[Path, int] = {}
        """What is locked while the lease is held, each with its descriptor."""

    @contextmanager
    def held(self, owner: LeaseOwner) -> Iterator[None]:
        """Hold the lease; `LeaseHeldError` when somebody has it, `StateError` when the file can't be used."""
        with in_our_words(self._path):
            make_file(self._path)
            descriptor = os.open(self._path, os.O_RDWR)
            writable = os.access(self._database, os.W_OK)  # else SQLite has the words for it
            database = os.open(self._database, os.O_RDWR if writable else os.O_RDONLY)
        try:
            self._take(descriptor, database)
            try:
                with in_our_words(self._path):
                    _write(descriptor, LeaseHolder(owner, self._clock.now()))
                yield
            finally:
                self._locked = {}
                _wipe(descriptor)
        finally:
            os.close(database)  # and with them the locks
            os.close(descriptor)

    def check(self) -> None:
        """Raise `StateError` if what this process has locked is no longer what others would lock."""
        for path, descriptor in self._locked.items():
            try:
                same = os.path.samestat(path.stat(), os.fstat(descriptor))
            except OSError:
                same = False
            if not same:
                raise StateError(
                    f"{path} was deleted or replaced while this run was at work; what it did since then is "
                    "not stored, and counts as not done.",
                    remedy="See who did that: the ledger and its lock file are in use during a run.",
                )

    def is_held(self) -> bool:
        """Whether somebody has locked the database, by whatever name."""
        with in_our_words(self._database):
            descriptor = os.open(self._database, os.O_RDONLY)
            try:
                return _is_locked(descriptor)
            finally:
                os.close(descriptor)

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

    def _take(self, descriptor: int, database: int) -> None:
        with in_our_words(self._path):
            for _ in range(_ATTEMPTS):
                if _lock(descriptor, fcntl.LOCK_EX):
                    break
                self._clock.wait(_PAUSE)
            else:
                raise lease_held(self._place, _read(descriptor))
            locked = _lock_database(database)
        if locked is False:
            raise lease_held(self._place, None)
        self._locked = {self._database: database} if locked else {self._path: descriptor}
        self.check()


class MemoryLease:
    """The lease of a ledger that only the object at *place* leads to."""

    def __init__(self, place: str, clock: Clock) -> None:
        self._place = place
        self._clock = clock
        self._holder: LeaseHolder | None = None

    @contextmanager
    def held(self, owner: LeaseOwner) -> Iterator[None]:
        """Hold the lease; `LeaseHeldError` when it is held."""
        if self._holder is not None:
            raise lease_held(self._place, self._holder)
        self._holder = LeaseHolder(owner, self._clock.now())
        try:
            yield
        finally:
            self._holder = None

    def check(self) -> None:
        """Do nothing: nobody else reaches it."""

    def is_held(self) -> bool:
        """Whether somebody holds it."""
        return self._holder is not None

    def holder(self) -> LeaseHolder | None:
        """Say who holds the lease."""
        return self._holder


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_database(descriptor: int) -> bool | None:
    """Lock the database; False if somebody else has, None where the system has no such lock."""
    region = struct.pack(_REGION, fcntl.F_WRLCK, os.SEEK_SET, _BEHIND, 1, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, region)
    except (BlockingIOError, PermissionError):
        return False
    except (AttributeError, OSError):
        return None
    return True


def _is_locked(descriptor: int) -> bool:
    region = struct.pack(_REGION, fcntl.F_WRLCK, os.SEEK_SET, _BEHIND, 1, 0)
    try:
        found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, region)
    except (AttributeError, OSError):
        return False
    return bool(struct.unpack(_REGION, found)[0] != fcntl.F_UNLCK)


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
