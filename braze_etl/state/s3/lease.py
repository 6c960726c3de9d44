"""The lease in S3: 90 s, renewed every 30 s, with a generation number that fences a holder who stood still.

Whether a lease has expired is judged by the server's clock alone: its age is the Date of the answer less the
Last-Modified of the object, which every renewal moves. So no two machines' clocks are compared, and one look
decides. The verdict need not be exact: what keeps the ledger whole is the generation. Whoever takes the lease
writes a higher one into the head before all else, and a head of a higher generation takes no settlement of a
lower one, however long that was under way.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias

import orjson

from braze_etl.clock import Clock, iso
from braze_etl.errors import StateError
from braze_etl.state.ledger import LeaseHolder, LeaseOwner, lease_held
from braze_etl.state.s3.head import Head, Heads
from braze_etl.state.s3.objects import Objects
from braze_etl.state.shapes import checked, moment

_AFTER_NAME_STATE: Final = 0
_AFTER_NAME_START: Final = 19
_ENDED: Final = frozenset("ZXx")

LENGTH: Final = timedelta(seconds=90)
RENEWED_EVERY: Final = 30.0
LEASE: Final = "lease.json"

_ROUNDING: Final = timedelta(seconds=1)  # of both times that make an age
_ATTEMPTS: Final = 4

Keeper: TypeAlias = Callable[[Callable[[], bool]], AbstractContextManager[None]]
"""Calls a function every `RENEWED_EVERY` seconds while a `with` lasts, or until it returns False."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process of some machine; `boot` and `start` are empty where the system does not tell them."""

    host: str
    boot: str
    pid: int
    start: str
    space: str = ""
    """Its namespace of process numbers: containers of one host each have their own."""


@dataclass(frozen=True, slots=True)
class ProcessTable:
    """The processes of this machine, as far as it can tell them apart."""

    host: str
    proc: Path = Path("/proc")

    @classmethod
    def here(cls) -> ProcessTable:
        """Those of the machine that this program runs on."""
        return cls(socket.gethostname())

    def me(self) -> ProcessId:
        """The process that we are."""
        pid = os.getpid()
        return ProcessId(self.host, self._boot(), pid, self._start(pid) or "", self._space())

    def knows_dead(self, process: ProcessId) -> bool:
        """Whether *process* ran here and does no more; False where that can't be known."""
        if (process.host, process.boot, process.space) != (self.host, self._boot(), self._space()):
            return False
        if process.start and (start := self._start(process.pid)) is not None:
            return start != process.start
        return not _exists(process.pid)

    def _boot(self) -> str:
        try:
            return (self.proc / "sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return ""

    def _space(self) -> str:
        try:
            return str((self.proc / "self/ns/pid").readlink())
        except OSError:
            return ""

    def _start(self, pid: int) -> str | None:
        """When the process began, empty when it has ended; None when it can't be seen, or is not there."""
        try:
            stat = (self.proc / str(pid) / "stat").read_text()
        except OSError:
            return None
        # The name, in brackets, may itself hold spaces and brackets.
        fields = stat.rpartition(")")[2].split()
        return "" if fields[_AFTER_NAME_STATE] in _ENDED else fields[_AFTER_NAME_START]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def thread_keeper(clock: Clock) -> Keeper:
    """Renew in a thread that waits on *clock*."""

    @contextmanager
    def keep(renew: Callable[[], bool]) -> Iterator[None]:
        done = threading.Event()
        thread = threading.Thread(target=_renewing, args=(renew, clock, done), name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    return keep


def _renewing(renew: Callable[[], bool], clock: Clock, done: threading.Event) -> None:
    while not clock.wait(RENEWED_EVERY, done):
        if not renew():
            return


_PROCESS: Final = {"host": str, "boot": str, "pid": int, "start": str, "space": str}
_SHAPE: Final = {
    "generation": int,
    "beat": int,
    "since": (type(None), moment),
    "owner": (type(None), {"run_id": str, "host": str, "pid": int, "command": str}),
    "process": (type(None), _PROCESS),
}


@dataclass(frozen=True, slots=True)
class _Record:
    """What the lease object says; without an owner it is free. `beat` makes each renewal another content."""

    generation: int
    beat: int = 0
    owner: LeaseOwner | None = None
    since: datetime | None = None
    process: ProcessId | None = None

    def to_json(self) -> bytes:
        since = iso(self.since) if self.since else None
        return orjson.dumps(asdict(self) | {"since": since})

    @classmethod
    def from_json(cls, data: bytes) -> _Record:
        value = checked(orjson.loads(data), _SHAPE, LEASE)
        return cls(
            generation=value["generation"],
            beat=value["beat"],
            owner=LeaseOwner(**value["owner"]) if value["owner"] else None,
            since=datetime.fromisoformat(value["since"]) if value["since"] else None,
            process=ProcessId(**value["process"]) if value["process"] else None,
        )


@dataclass(frozen=True, slots=True)
class _Found:
    """The lease as it was read; `until` and `read_at` by the server's clock."""

    record: _Record
    etag: str
    until: datetime
    read_at: datetime

    @property
    def has_expired(self) -> bool:
        return self.read_at > self.until + _ROUNDING

    @property
    def holder(self) -> LeaseHolder | None:
        owner, since = self.record.owner, self.record.since
        return LeaseHolder(owner, since, self.until) if owner and since else None


class S3Lease:
    """The lease of the ledger whose *heads* it fences."""

    def __init__(
        self, objects: Objects, heads: Heads, *, clock: Clock, keeper: Keeper, processes: ProcessTable
    ) -> None:
        self._objects = objects
        self._heads = heads
        self._clock = clock
        self._keeper = keeper
        self._processes = processes

    @contextmanager
    def held(self, owner: LeaseOwner) -> Iterator[None]:
        """Hold the lease; `LeaseHeldError` when somebody has it."""
        held = self._take(owner)
        try:
            self._fence(held.record.generation)
            with self._keeper(held.renew):
                yield
        finally:
            self._heads.generation = None
            held.release()

    def holder(self) -> LeaseHolder | None:
        """Say who holds the lease; one that has expired, or whose process is gone, counts as free."""
        found = self._find()
        return found.holder if found and self._is_taken(found) else None

    def break_open(self) -> None:
        """End the lease whoever holds it, and shut its holder out."""
        for _ in range(_ATTEMPTS):
            found = self._find()
            if found is None or found.record.owner is None:
                return
            generation = self._next_generation(found)
            # Its holder may renew it at the same moment.
            if self._write(_Record(generation), found.etag) is not None:
                self._fence(generation)
                self._heads.generation = None
                return
        raise lease_held(self._objects.place, self.holder())

    def _take(self, owner: LeaseOwner) -> _Held:
        for _ in range(_ATTEMPTS):
            found = self._find()
            if found is not None and self._is_taken(found):
                raise lease_held(self._objects.place, found.holder)
            record = _Record(self._next_generation(found), 0, owner, self._clock.now(), self._processes.me())
            etag = self._write(record, found.etag if found else None)
            if etag is not None:
                return _Held(self._objects, record, etag)
        raise lease_held(self._objects.place, None)

    def _is_taken(self, found: _Found) -> bool:
        if found.record.owner is None or found.has_expired:
            return False
        return found.record.process is None or not self._processes.knows_dead(found.record.process)

    def _next_generation(self, found: _Found | None) -> int:
        # The head knows, too: somebody may have deleted the lease.
        return max(found.record.generation if found else 0, self._heads.refresh().generation) + 1

    def _fence(self, generation: int) -> None:
        """Write the generation into the head: from here on, an older holder stores nothing."""

        def change(head: Head, _: str) -> Head:
            if head.generation >= generation:
                raise lease_held(self._objects.place, self.holder())
            return replace(head, generation=generation)

        self._heads.generation = None
        self._heads.commit(change)
        self._heads.generation = generation

    def _write(self, record: _Record, etag: str | None) -> str | None:
        return _written(self._objects, record, etag)

    def _find(self) -> _Found | None:
        version = self._objects.read(LEASE)
        if version is None:
            return None
        with self._objects.understood(LEASE):
            record = _Record.from_json(version.data)
        return _Found(record, version.etag, version.modified + LENGTH, version.read_at)


class _Held:
    """A lease in our hands. Renewed by the keeper; released once that has ended."""

    def __init__(self, objects: Objects, record: _Record, etag: str) -> None:
        self._objects = objects
        self.record = record
        self._etag = etag

    def renew(self) -> bool:
        """Write the next beat; False when the lease is another's. A store that is away is tried again."""
        try:
            return self._replace(replace(self.record, beat=self.record.beat + 1))
        except StateError:
            return True

    def release(self) -> None:
        """Leave the lease free; a lost one, or one that can't be reached, ends without that."""
        with suppress(StateError):
            self._replace(_Record(self.record.generation, self.record.beat + 1))

    def _replace(self, record: _Record) -> bool:
        etag = _written(self._objects, record, self._etag)
        if etag is None and (found := self._objects.read(LEASE)) and found.data == self.record.to_json():
            # It is as we left it: the other write was our own, sent twice and under way at the same time.
            etag = _written(self._objects, record, found.etag)
        if etag is None:
            return False
        self.record, self._etag = record, etag
        return True


def _written(objects: Objects, record: _Record, etag: str | None) -> str | None:
    """Write the lease and return its ETag; None when it was changed by somebody else."""
    data = record.to_json()
    new_etag = objects.write(LEASE, data, etag)
    if new_etag is None:
        # Perhaps our own write, of which the answer was lost.
        found = objects.read(LEASE)
        return found.etag if found is not None and found.data == data else None
    return new_etag
