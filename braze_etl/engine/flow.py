"""The ports: what a flow gives the engine."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeAlias

from braze_etl.clock import Clock
from braze_etl.delivery.destination import Destination
from braze_etl.engine.due import DueFile
from braze_etl.engine.tasks import Extras, Result, Settlement, Work, WorkerDied
from braze_etl.model import Damage, Event, FileRef, FileSettlement, Record, Verdict
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.state.ledger import BacklogLine, Ledger
from braze_etl.storage.read_ahead import ReadAhead
from braze_etl.storage.store import Store

ShouldStop: TypeAlias = Callable[[], bool]
"""Asked now and then: whether to begin nothing more."""


@dataclass(slots=True)
class Found:
    """What a work list has come upon, for the run report.

    `archived` and `changed` are files that are left alone, `listing` counters by name. `records` is how many
    there are to be sent, None where nobody has counted them.
    """

    archived: BacklogLine = field(default_factory=BacklogLine)
    changed: int = 0
    warnings: Counter[str] = field(default_factory=Counter)
    listing: dict[str, int] = field(default_factory=dict)
    records: int | None = None


class WorkList:
    """Where due files come from, and what the ledger is told when they are settled.

    All is asked under the lease of the ledger. What most work lists do alike stands here.
    """

    covers_all: bool
    """Whether this is all that is due, so that the window may be judged by it."""

    def find(self, ledger: Ledger, now: datetime, stop: ShouldStop) -> Iterator[DueFile]:
        """Give the due files lazily, the oldest hour first.

        It ends early when *stop* says so; called again, it goes on. A `StoreError` comes after all else.
        """
        raise NotImplementedError

    def later(self, ledger: Ledger, now: datetime, stop: ShouldStop) -> Iterator[DueFile]:  # noqa: ARG002
        """Give what else comes to light when the due files are delivered; asked once, if all were found."""
        return iter(())

    def found(self) -> Found:
        """Say what was found so far."""
        raise NotImplementedError

    def claim(self, settlements: Sequence[Settlement]) -> list[FileSettlement]:
        """Give what the ledger is to be told of these, right before it is."""
        return [file for settlement in settlements for file in settlement.files]

    def replaces(self, files: Sequence[FileSettlement]) -> Sequence[FileSettlement]:
        """Which of the claimed *files*, if done, are whole in place of earlier bytes of their keys."""
        return files

    def settled(self) -> None:
        """The ledger was told what was claimed last."""

    def finish(self, *, in_order: bool) -> None:
        """The run is over; *in_order* if all that was found is on the books of the ledger."""


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of a file: where it lies, how many records of how many bytes it holds, what these became.

    `outcomes` can be iterated over once; there are `count` of them, in the order of the records.
    """

    offset: int
    count: int
    size: int
    outcomes: Iterable[Event | Verdict]


class Reader(Protocol):
    """How the files of a flow are read: what comes of their records, block by block. Used by one thread."""

    def blocks(self, due: DueFile, store: Store) -> Iterator[Block | Damage]:
        """Give the blocks of *due* in their order: all that hold a wanted record, and maybe others.

        A block that can't be trusted comes as `Damage`, before any of its records. Raises `SourceGoneError`,
        and `UnreadableFileError` when there is no reading the file at all.
        """
        ...

    def from_payload(self, ref: FileRef, payload: Record) -> Event | Verdict:
        """What a record of that file becomes that the quarantine has kept."""
        ...

    def payloads(
        self, store: Store, ref: FileRef, wanted: Mapping[int, Collection[int]]
    ) -> dict[tuple[int, int], Record]:
        """Read single records as they stand in the file, by (block, record), for the quarantine to keep.

        *wanted* has indexes by block offset; what can't be read is left out. Raises `FileError`.
        """
        ...

    def take_repairs(self) -> Counter[str]:
        """What was mended since the last call, by name."""
        ...

    def take_extras(self) -> Extras:
        """What else was found since the last call."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What a worker works with, opened for it in its own process; it closes *store*.

    `lasting` is the same store, which does not give way when the run has to stop. `keeps_payloads`: what is
    set aside gets its record. `stops` knows the event types that end with a bound of the budget; without it,
    nothing has to be granted before it is sent. `judged_by` is the version of what judges the records. `kept`
    is what questions keep from one inspection to the next, by names of their own.
    """

    clock: Clock
    store: ReadAhead
    lasting: Store
    reader: Reader
    destination: Destination
    quarantine: Quarantine
    keeps_payloads: bool
    stops: Callable[[str], bool] | None
    judged_by: str
    kept: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reach:
    """What a worker has to reach, opened to prove that it does; all but lists and tables.

    `prefix` is what the store is read below. Without `destination` nothing is sent.
    """

    store: Store
    prefix: str
    destination: Destination | None


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What a worker of any executor is built from; it is pickled on its way.

    `open` and `reach` are called in a worker, and are functions of the flow over its settings. `module` is
    imported before the first worker is started, which takes longer than all else of its start.
    """

    open: Callable[[], WorkerParts]
    reach: Callable[[], Reach]
    module: str


class Executor(Protocol):
    """Carries tasks out in processes, wherever these run; one owner, one thread.

    What crosses to a worker and back is plain data that pickles (see `tasks`), and a worker opens its own
    stores: ledger and quarantine stay with the parent. What workers ask meanwhile is answered in `poll`.
    """

    @property
    def processes(self) -> int:
        """How many there are for tasks, or the first of them awaited; each may start with its first task."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a task is unsettled."""
        ...

    def submit(self, task: Work) -> bool:
        """Hand a task or an inspection over; False when there is no room for it now.

        A process holds `TASKS_A_PROCESS` at most, and one that is `exclusive` alone. Raises `FatalError` if
        no process can be started.
        """
        ...

    def poll(self, timeout: float) -> Iterator[Result | WorkerDied]:
        """Wait up to *timeout* seconds for what comes next, and give it.

        All that was handed over comes back once: settled or answered, or among what a dead worker held.
        """
        ...

    def stop(self) -> None:
        """Begin nothing new; what is in flight is settled, and still comes from `poll`."""
        ...

    def close(self) -> None:
        """Let all workers leave; what is unsettled is stopped. May be called again."""
        ...

    def kill(self) -> list[WorkerDied]:
        """End all workers at once, and name what each of them held. It may be closed afterwards."""
        ...


class SharedExecutor:
    """The executor of all passes of a run: opened when the first of them wants it, and kept for the others.

    Nothing is in flight between two passes. One that was stopped is closed; the next is another.
    """

    def __init__(self, open_one: Callable[[], Executor]) -> None:
        self._open_one = open_one
        self._executor: Executor | None = None
        self.numbers = itertools.count()
        """Of whatever is handed over: no two have the same."""

    def __call__(self) -> Executor:
        """Give it, opened by now."""
        if self._executor is None:
            self._executor = self._open_one()
        return self._executor

    def close(self) -> None:
        """Let its workers leave, if it was opened."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.close()
