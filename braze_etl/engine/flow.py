"""The ports: what a flow gives the engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from braze_etl.clock import Clock
from braze_etl.delivery.destination import Destination
from braze_etl.engine.due import DueFile
from braze_etl.engine.tasks import Extras
from braze_etl.model import Damage, Event, FileRef, Record, Verdict
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.storage.read_ahead import ReadAhead
from braze_etl.storage.store import Store


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
    nothing has to be granted before it is sent. `judged_by` is the version of what judges the records.
    `counts_ids`: how many events each person has is asked for.
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
    counts_ids: bool


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What a worker of any executor is built from; it is pickled on its way.

    `open` is called in the worker, and is a function of the flow over its settings. `module` is imported
    before the first worker is started, which takes longer than all else of its start.
    """

    open: Callable[[], WorkerParts]
    module: str
