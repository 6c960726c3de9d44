"""What a worker does: it reads a task's files, sends their events and settles; or it answers a question."""

from __future__ import annotations

import os
import queue
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import islice
from random import Random
from typing import BinaryIO, ParamSpec, Protocol, Self, TypeAlias, TypeGuard, TypeVar, cast, overload

from braze_etl.delivery.batches import BatchBuilder, BatchResult, RequestCounts, Trouble
from braze_etl.delivery.sender import Sender
from braze_etl.engine.books import Tag, TaskBooks, tags_of
from braze_etl.engine.due import DueFile, Origin, Place
from braze_etl.engine.flow import Block, Reader, WorkerParts
from braze_etl.engine.meter import Allowance
from braze_etl.engine.tasks import Ask, Findings, Grant, Inspection, Result, Settlement, Share, Task, Work
from braze_etl.errors import (
    AbandonedError,
    AccessDeniedError,
    BrazeEtlError,
    FileError,
    FileReplacedError,
    FileUnavailableError,
    SourceGoneError,
    StoreError,
    TooSlowError,
    UnreadableFileError,
)
from braze_etl.model import Damage, Event, FileRef, Position, Reason, Record, SetAside, Verdict
from braze_etl.quarantine.entry import entry_id
from braze_etl.storage.read_ahead import ReadAhead
from braze_etl.storage.store import Store

P = ParamSpec("P")
T = TypeVar("T")

Wanted: TypeAlias = frozenset[int] | None
"""The records of a block that count; None for all of them."""

_ONLY_EVENTS = frozenset({dict})
_ASKED_AGAIN = 5
"""Denied files in a row that are looked for in a new listing: with more, it is the rights."""
_SLOW_AT_MOST = 3
"""Files in a row that did not come in time: with more, it is the store."""
_LOOK = "see what stands between this machine and the store; the next run tries again"
_PART = 2_000
"""Outcomes taken from a block at once; of a large block there are never more in memory."""


class Life:
    """What a thread does with its task, told by it; another one asks whether it gets on.

    Once it *has_to_stop*, a step raises `AbandonedError`.
    """

    def __init__(self, has_to_stop: Callable[[], bool] = lambda: False) -> None:
        self._has_to_stop = has_to_stop
        self._steps = 0
        self._seen = -1
        self._waits = False

    def step(self) -> None:
        """One more piece of work is done."""
        self._steps += 1
        if self._has_to_stop():
            raise AbandonedError("the run has to stop")

    def wait(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Do *work*, which waits for somebody else for as long as that takes."""
        self._waits = True
        try:
            return work(*arguments, **named)
        finally:
            self._steps += 1
            self._waits = False

    def gets_on(self) -> bool:
        """Whether it waits, or has done something since this was asked last."""
        before, self._seen = self._seen, self._steps
        return self._waits or self._seen != before


F_contra = TypeVar("F_contra", contravariant=True)
A_co = TypeVar("A_co", covariant=True)


class Question(Protocol[F_contra, A_co]):
    """What a flow wants to know of files. It pickles, and so does the answer, which is never None.

    It is called in a worker. It reads from the store of *parts*, which tells *life* what it waits for, and
    takes a step of *life* with every piece of work. Of what these raise, `FileError` is its own matter; the
    rest is not caught.
    """

    def __call__(self, files: Sequence[F_contra], parts: WorkerParts, life: Life, /) -> A_co:
        """Give one answer for all of *files*."""
        ...


class _Awaited:
    """A store whose files are waited for: how long is for the store's own deadlines to say, not for the file.

    Each piece that arrives is a step: a large block may come slowly.
    """

    def __init__(self, store: Store, life: Life) -> None:
        self._store = store
        self._life = life

    def open(
        self, key: str, *, offset: int = 0, length: int | None = None, etag: str = "", size: int | None = None
    ) -> BinaryIO:
        stream = self._life.wait(self._store.open, key, offset=offset, length=length, etag=etag, size=size)
        return cast("BinaryIO", _AwaitedStream(stream, self._life))


class _AwaitedStream:
    def __init__(self, stream: BinaryIO, life: Life) -> None:
        self._stream = stream
        self._life = life

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, size: int = -1) -> bytes:
        return self._life.wait(self._stream.read, size)

    def close(self) -> None:
        self._stream.close()


def blocks_of(
    due: DueFile, store: Store, reader: Reader, life: Life | None = None
) -> Iterator[tuple[Block | Damage, Wanted]]:
    """Give the blocks of *due* that hold wanted records, in their order; errors are those of `Reader.blocks`.

    *life* is told of each block, and that each piece of the file is waited for.
    """
    life, wanted = life or Life(), due.by_block()
    for block in reader.blocks(due, cast("Store", _Awaited(store, life))):
        life.step()
        if wanted is None or block.offset in wanted:
            yield block, None if wanted is None else wanted[block.offset]


def relist(due: DueFile, store: Store) -> SourceGoneError | FileReplacedError | None:
    """List a file anew that could not be read, and say what became of it.

    None where it is listed as before; `SourceGoneError` where it is not there, or not the content in which an
    earlier run left records behind, for the new one is due by itself.
    """
    ref, name = due.ref, f"{store.uri}/{due.ref.key}"
    listed = (item for page in store.pages(ref.key) for item in page.objects)
    now = next((item for item in listed if item.key == ref.key), None)
    if now is None:
        return SourceGoneError(f"{name} is no longer there", remedy="put it back to replay it")
    if now.etag == ref.etag:
        return None
    if due.origin is not Origin.NEW:
        return SourceGoneError(f"{name} was replaced", remedy="its new content is due by itself")
    return FileReplacedError(f"{name} was replaced since it was listed", remedy="the next run reads it anew")


class Payloads:
    """Fetches what the quarantine keeps, and payloads for what is set aside, if they are kept. Any thread."""

    def __init__(self, parts: WorkerParts) -> None:
        self._store = parts.lasting
        self._reader = parts.reader
        self._quarantine = parts.quarantine
        self._clock = parts.clock
        self._keep = parts.keeps_payloads

    def stored(self, due: DueFile, places: Iterable[Place]) -> dict[tuple[int, int], Record]:
        """The kept records of *due* at these places; empty where a replay is not at work."""
        if due.origin is not Origin.QUARANTINED:
            return {}
        ids = {
            entry_id(_position(due.ref, block, record), reason): (block, record)
            for block, record in places
            if record is not None and (part := due.part_of((block, record)))
            for reason in part.reasons
        }
        days = frozenset[date]().union(*(part.days for part in due.wanted))
        kept = self._quarantine.payloads(ids, days, self._clock.now()) if ids else {}
        return {ids[id_]: record for id_, record in kept.items()}

    def attach(self, set_aside: Sequence[SetAside], files: Sequence[DueFile]) -> list[SetAside]:
        """Add the payloads that can be had; each wanted block is read again, for these are few."""
        if not self._keep:
            return list(set_aside)
        places: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for each in set_aside:
            if each.position.record is not None:
                places[each.position.key].append((each.position.block, each.position.record))
        found = {
            _position(due.ref, *place): record
            for due in files
            if due.ref.key in places
            for place, record in self._records(due, places[due.ref.key]).items()
        }
        return [replace(each, payload=found.get(each.position)) for each in set_aside]

    def _records(self, due: DueFile, places: Collection[tuple[int, int]]) -> dict[tuple[int, int], Record]:
        # An outcome must not be lost for want of its payload: what can't be had is left out.
        with suppress(FileError, StoreError):
            return self._reader.payloads(self._store, due.ref, _by_block(places))
        with suppress(StoreError):
            return self.stored(due, places)
        return {}


def _position(ref: FileRef, block: int, record: int) -> Position:
    return Position(ref.key, ref.etag, block, record)


def _by_block(places: Iterable[tuple[int, int]]) -> dict[int, set[int]]:
    blocks: defaultdict[int, set[int]] = defaultdict(set)
    for block, record in places:
        blocks[block].add(record)
    return blocks


@dataclass(slots=True, eq=False)
class _Work:
    """A task that a thread is inside `run` with; its own but for `results`, and for who asks its `life`."""

    books: TaskBooks
    results: queue.SimpleQueue[BatchResult[Tag]] = field(default_factory=queue.SimpleQueue)
    life: Life = field(default_factory=Life)
    requests: RequestCounts = field(default_factory=RequestCounts)


class TaskRunner:
    """Works on tasks, in any executor: reads their files, sends the events, keeps the books.

    Two threads may be inside `run` at once: one reads its task while the other awaits its last answers.

    1. Who reads holds `_reading`. To it belong the reader, the batch that fills, the allowance, and the
       counts of files in a row. It is given up before the last outcomes are awaited.
    2. A posting thread puts an outcome into the queue of the batch's task, and only the thread inside with
       that task takes it out. So books have one owner, and need no lock.
    3. What ends the run stays, whichever thread finds it: `_fatal`, or *stop*, which the owner sets. Every
       batch comes back all the same, so nobody waits for ever.
    4. A mistake of ours, also one in a posting thread, is raised by `run`. The owner ends the worker with it,
       and its tasks come back as those of a dead one.
    """

    def __init__(
        self,
        parts: WorkerParts,
        sender: Sender[Tag],
        stop: threading.Event,
        *,
        ask: Callable[[Ask], Grant | None] = lambda ask: Grant(ask.events),
        beat: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Take what to work with; *ask* gets a grant, or None once the run has to stop.

        *beat* is called with the number of requests under way, whenever that may have changed.
        """
        self._parts = parts
        self._store = parts.store
        self._reader = parts.reader
        self._payloads = Payloads(parts)
        self._allowance = parts.stops and Allowance(parts.stops, ask)
        self._judged_by = parts.judged_by
        self._builder: BatchBuilder[Tag] = BatchBuilder(parts.destination.limits)
        self._beat = beat
        self._sender = sender
        self._stop = stop
        self._reading = threading.Lock()
        self._inside: list[Life] = []
        self._fatal: BrazeEtlError | None = None
        self._denied = 0
        self._slow = 0

    @overload
    def run(self, work: Task) -> Settlement: ...
    @overload
    def run(self, work: Inspection) -> Findings: ...
    @overload
    def run(self, work: Work) -> Result: ...
    def run(self, work: Work) -> Result:
        """Do the whole of a task, and return when each of its records has an outcome, or the run has to stop.

        Of an inspection, return the answer. Errors that end the run come as `fatal` of what is returned.
        """
        if isinstance(work, Inspection):
            return self._inspect(work)
        return self._deliver(_Work(TaskBooks(work, self._judged_by)))

    def _deliver(self, work: _Work) -> Settlement:
        task = work.books.task
        with self._inside_with(task, work.life):
            with self._turn(work.life):
                if task.trial:
                    self._try_reading(work)
                    return Settlement(task.number)
                began = self._sender.time
                self._read(work)
                seconds = self._sender.time - began
            while not work.books.settled:
                self._account(work, wait=True)
            self._note_failure()
            return replace(self._settlement(work), seconds=seconds)

    def _inspect(self, inspection: Inspection) -> Findings:
        life = Life(self._stop.is_set)
        store = cast("ReadAhead", _Awaited(self._store, life))
        with self._inside_with(inspection, life), self._turn(life):
            try:
                life.step()
                answer = inspection.question(inspection.files, replace(self._parts, store=store), life)
            except AbandonedError:
                return Findings(inspection.number)
            except BrazeEtlError as error:
                return Findings(inspection.number, fatal=error)
            finally:
                self._reader.take_repairs()  # which are told when the records are sent
            return Findings(inspection.number, answer)

    @contextmanager
    def _inside_with(self, work: Work, life: Life) -> Iterator[None]:
        """Be known to be at work; the files of *work* are read ahead from now on."""
        self._inside.append(life)
        try:
            self._store.expect(work.whole_files())
            yield
        finally:
            self._inside.remove(life)

    @contextmanager
    def _turn(self, life: Life) -> Iterator[None]:
        """Wait for the turn to read, and have it."""
        life.wait(self._reading.acquire)
        try:
            yield
        finally:
            self._builder.flush()  # what a mistake has left must not go out with another task's events
            self._reading.release()

    @property
    def in_flight(self) -> int:
        """Requests under way at the moment."""
        return self._sender.in_flight

    def share(self, share: Share, kept: Callable[[], None]) -> None:
        """Keep to a share of the limits from now on; *kept* is called, in any thread, when that is so."""
        self._sender.share(share.processes, kept)

    def gets_on(self) -> bool:
        """Whether each task inside waits for others, or has got on since this was asked last."""
        return all([life.gets_on() for life in tuple(self._inside)])  # noqa: C419 - all are asked

    def _read(self, work: _Work) -> None:
        books = work.books
        try:
            for number, due in enumerate(books.task.files):
                if self._halted():
                    break
                self._read_file(work, number, due)
            self._send_rest(work)
        except AbandonedError:
            self._drop_rest(books)  # its file stays due, for the run has to stop
        except BrazeEtlError as error:
            # The store or Amplitude is gone for everybody; what is in flight is still accounted for.
            self._fatal = self._fatal or error
            self._drop_rest(books)
        books.reading_ended(self._reader.take_repairs(), self._reader.take_extras())

    def _try_reading(self, work: _Work) -> None:
        """Read files to their ends, and send nothing of them: reading one may have ended a whole run."""
        for due in work.books.task.files:
            with suppress(BrazeEtlError):  # which is told when they are read in earnest
                for block, _ in blocks_of(due, self._store, self._reader, work.life):
                    if self._halted():
                        break
                    if not isinstance(block, Damage):
                        deque(block.outcomes, maxlen=0)
        self._reader.take_repairs()

    def _halted(self) -> bool:
        return self._stop.is_set() or self._fatal is not None

    def _read_file(self, work: _Work, number: int, due: DueFile) -> None:
        books = work.books
        try:
            if not self._read_records(work, number, due):
                return
        except FileError as error:
            became = self._became(work, due, error)
            if isinstance(became, FileUnavailableError):
                books.unavailable(became)
                self._note_slow(became)
                return
            reason = Reason.UNREADABLE_FILE
            if isinstance(became, SourceGoneError):
                self._take_payloads(work, number, due)
                reason = Reason.SOURCE_GONE
            books.failed(number, Verdict(reason, became.message))
        books.read_to_end(number)

    def _note_slow(self, error: FileUnavailableError) -> None:
        """End the run when file after file does not come in time: each of them costs a minute and more."""
        self._slow = self._slow + 1 if isinstance(error, TooSlowError) else 0
        if self._slow == _SLOW_AT_MOST:
            raise StoreError(
                f"{_SLOW_AT_MOST} files in a row came too slowly: {error.message}", remedy=error.remedy
            )

    def _became(self, work: _Work, due: DueFile, error: FileError) -> FileError:
        """Why a file is not read: a new listing tells what is gone, and what is the store's trouble."""
        if isinstance(error, FileUnavailableError):
            # S3 also denies what is gone, to who may not list the whole bucket.
            self._denied += isinstance(error, AccessDeniedError)
            if not isinstance(error, AccessDeniedError) or self._denied > _ASKED_AGAIN:
                return error
        found = work.life.wait(relist, due, self._store)
        if isinstance(error, UnreadableFileError):
            return found if isinstance(found, FileReplacedError) else error
        if found is None and isinstance(error, SourceGoneError):
            return FileUnavailableError(f"it is listed as before, and still: {error.message}", remedy=_LOOK)
        return found or error

    def _read_records(self, work: _Work, number: int, due: DueFile) -> bool:
        """Read a file, or what is wanted of it; False when a stop came first."""
        books, damaged = work.books, False
        for block, wanted in blocks_of(due, self._store, self._reader, work.life):
            if self._halted():
                return False
            self._denied = self._slow = 0
            if isinstance(block, Damage):
                found = None if damaged else work.life.wait(relist, due, self._store)
                if isinstance(found, FileReplacedError):
                    raise found
                damaged = True
                books.damaged(number, block.offset, Verdict(Reason.DAMAGED_BLOCK, block.detail))
            else:
                books.block_read(number, block.offset, block.count)
                self._take_block(work, number, block, wanted)
        return True

    def _take_payloads(self, work: _Work, number: int, due: DueFile) -> None:
        """Take the records that the quarantine keeps of a file that is gone."""
        stored = self._payloads.stored(due, work.books.awaited(number))
        for (block, record), payload in stored.items():
            work.books.record_restored(number, block, record)
            outcome = self._reader.from_payload(due.ref, payload)
            self._take_block(work, number, Block(block, 1, 0, [outcome]), None, first=record)

    def _take_block(self, work: _Work, number: int, block: Block, wanted: Wanted, *, first: int = 0) -> None:
        books, size = work.books, block.size // block.count
        outcomes = iter(block.outcomes)
        while part := list(islice(outcomes, _PART)):
            work.life.step()
            events, tags = _sorted_out(books, number, block.offset, part, wanted, first=first)
            if self._allowance:
                events, tags = work.life.wait(self._allowance.admit, books, number, events, tags)
            self._fill_batches(work, number, events, tags, size)
            first += len(part)

    def _fill_batches(
        self, work: _Work, number: int, events: list[Event], tags: list[Tag], size: int
    ) -> None:
        while events:
            taken, batch = self._builder.add(events, tags, size)
            work.books.joined_batch(number, taken)
            if batch is not None:
                work.life.wait(self._sender.submit, batch, work.results.put)
                self._account(work)
            events, tags = events[taken:], tags[taken:]

    def _send_rest(self, work: _Work) -> None:
        if self._halted():
            self._drop_rest(work.books)
        elif batch := self._builder.flush():
            work.life.wait(self._sender.submit, batch, work.results.put)

    def _drop_rest(self, books: TaskBooks) -> None:
        if batch := self._builder.flush():
            books.unsettled(batch.tags)

    def _account(self, work: _Work, *, wait: bool = False) -> None:
        """Enter what has become of batches into their books; with *wait*, something has to come first."""
        while wait or not work.results.empty():
            result = work.life.wait(work.results.get)
            work.books.delivered(result)
            work.requests.add(result.requests)
            wait = False
        self._beat(self._sender.in_flight)
        self._note_failure()

    def _note_failure(self) -> None:
        """Know of the end of delivery also when no batch is left that `submit` would refuse."""
        failure = self._sender.failure
        if isinstance(failure, BrazeEtlError):
            self._fatal = self._fatal or failure
        elif failure is not None:
            raise failure  # a mistake of ours in a posting thread ends the worker, loudly

    def _settlement(self, work: _Work) -> Settlement:
        settlement = work.books.settlement()
        settlement.set_aside = self._payloads.attach(settlement.set_aside, work.books.task.files)
        settlement.requests = work.requests
        if work.requests.short_ingests:
            settlement.warnings["short_ingests"] = work.requests.short_ingests
        settlement.worker, settlement.in_flight_limit = os.getpid(), self._sender.limit
        settlement.fatal = self._fatal
        return settlement


@contextmanager
def open_runner(
    parts: WorkerParts,
    stop: threading.Event,
    *,
    ask: Callable[[Ask], Grant | None],
    beat: Callable[[int], None],
    troubled: Callable[[Trouble], None],
) -> Iterator[TaskRunner]:
    """A runner that posts over the destination's own wire, with what it works with; it closes both.

    *troubled* is told the first failed request of each kind, in a posting thread.
    """
    destination, clock = parts.destination, parts.clock
    with closing(parts.store), closing(destination.connect(clock)) as transport:
        sender: Sender[Tag] = Sender(
            transport,
            destination,
            clock,
            Random(),  # noqa: S311 - spreads back-offs, keeps no secret
            stop,
            on_failure=lambda kind, words: troubled(Trouble(kind, destination.address, words)),
        )
        with sender:
            yield TaskRunner(parts, sender, stop, ask=ask, beat=beat)


def _sorted_out(
    books: TaskBooks,
    number: int,
    block: int,
    outcomes: list[Event | Verdict],
    wanted: Wanted,
    *,
    first: int,
) -> tuple[list[Event], list[Tag]]:
    """Enter the verdicts into the books; give the events, and where each came from."""
    task = books.task.number
    if wanted is None and _are_events(outcomes):
        return outcomes, tags_of(task, number, block, range(first, first + len(outcomes)))
    events, records = list[Event](), list[int]()
    for record, outcome in enumerate(outcomes, first):
        if wanted is not None and record not in wanted:
            continue
        if isinstance(outcome, Verdict):
            books.fixed(number, block, record, outcome)
        else:
            events.append(outcome)
            records.append(record)
    return events, tags_of(task, number, block, records)


def _are_events(outcomes: list[Event | Verdict]) -> TypeGuard[list[Event]]:
    """Whether no verdict is among them, as in nearly every block."""
    return _ONLY_EVENTS.issuperset(map(type, outcomes))
