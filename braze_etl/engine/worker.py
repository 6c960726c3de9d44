"""What a worker does with a task: it reads its files, sends their events, and returns a settlement.

One thread reads and keeps the books; the sender's threads post. The next task is read while the last
requests of the one before are on their way. Everything reaches the reading thread through one queue: tasks
and orders from the parent, and the news that delivery finished a batch.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from itertools import islice
from typing import BinaryIO, Final, ParamSpec, Self, TypeAlias, TypeGuard, TypeVar, cast

from braze_etl.clock import Clock
from braze_etl.delivery.batches import BatchBuilder
from braze_etl.delivery.sender import Sender
from braze_etl.engine.books import Tag, TaskBooks, tags_of
from braze_etl.engine.due import DueFile, Origin, Place
from braze_etl.engine.flow import Block, Reader
from braze_etl.engine.meter import Allowance
from braze_etl.engine.tasks import Settlement, Task
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
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.storage.store import Store

P = ParamSpec("P")
T = TypeVar("T")

Wanted: TypeAlias = frozenset[int] | None
"""The records of a block that count; None for all of them."""

NEWS: Final = "news"
"""There are results to take."""
QUIT: Final = "quit"
"""Leave when all is settled."""
_ONLY_EVENTS = frozenset({dict})
_ASKED_AGAIN = 5
"""Denied files in a row that are looked for in a new listing: with more, it is the rights."""
_SLOW_AT_MOST = 3
"""Files in a row that did not come in time: with more, it is the store."""
_LOOK = "see what stands between this machine and the store; the next run tries again"
_PART = 2_000
"""Outcomes taken from a block at once; of a large block there are never more in memory."""

Message: TypeAlias = Task | str
Inbox: TypeAlias = "queue.SimpleQueue[Message]"


class Life:
    """What the reading thread does, told by it; another thread asks whether it gets on."""

    def __init__(self) -> None:
        self._steps = 0
        self._seen = -1
        self._waits = False

    def step(self) -> None:
        """One more piece of work is done."""
        self._steps += 1

    def wait(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Do *work*, which waits for somebody else for as long as that takes."""
        self._waits = True
        try:
            return work(*arguments, **named)
        finally:
            self.step()
            self._waits = False

    def gets_on(self) -> bool:
        """Whether it waits, or has done something since this was asked last."""
        before, self._seen = self._seen, self._steps
        return self._waits or self._seen != before


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
    """Fetches records of the quarantine; with *keep*, what is set aside gets its payload."""

    def __init__(
        self, store: Store, reader: Reader, quarantine: Quarantine, clock: Clock, *, keep: bool
    ) -> None:
        self._store = store
        self._reader = reader
        self._quarantine = quarantine
        self._clock = clock
        self._keep = keep

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


class TaskRunner:
    """Works on tasks until told to quit; `send` gets each settlement."""

    def __init__(
        self,
        *,
        store: Store,
        reader: Reader,
        sender: Sender[Tag],
        builder: BatchBuilder[Tag],
        send: Callable[[Settlement], None],
        stop: threading.Event,
        payloads: Payloads | None = None,
        allowance: Allowance | None = None,
        mapping: str = "",
        beat: Callable[[int], None] = lambda _: None,
        life: Life | None = None,
    ) -> None:
        self._store = store
        self._reader = reader
        self._payloads = payloads
        self._allowance = allowance
        self._mapping = mapping
        self._beat = beat
        self._life = life or Life()
        self._sender = sender
        self._builder = builder
        self._send = send
        self._stop = stop
        self._books: dict[int, TaskBooks] = {}
        self._counted = sender.counts
        self._fatal: BrazeEtlError | None = None
        self._mended: Counter[str] = Counter()
        self._denied = 0
        self._slow = 0

    def serve(self, inbox: Inbox) -> None:
        """Take messages until `QUIT`."""
        while (message := self._life.wait(inbox.get)) != QUIT:
            if isinstance(message, Task):
                (self._try_reading if message.trial else self._work_on)(message)
            self._account()

    def _work_on(self, task: Task) -> None:
        books = self._books[task.number] = TaskBooks(task, self._mapping)
        try:
            for number, due in enumerate(task.files):
                if self._halted():
                    break
                self._read_file(books, number, due)
            self._send_rest(books)
        except AbandonedError:
            self._drop_rest(books)  # its file stays due, for the run has to stop
        except BrazeEtlError as error:
            # The store or Amplitude is gone for everybody; what is in flight is still accounted for.
            self._fatal = self._fatal or error
            self._drop_rest(books)
        books.reading = False

    def _try_reading(self, task: Task) -> None:
        """Read files to their ends, and send nothing of them: reading one may have ended a whole run."""
        for due in task.files:
            with suppress(BrazeEtlError):  # which is told when they are read in earnest
                for block, _ in blocks_of(due, self._store, self._reader, self._life):
                    if self._halted():
                        break
                    if not isinstance(block, Damage):
                        deque(block.outcomes, maxlen=0)
        self._reader.take_repairs()
        self._send(Settlement(task.number))

    def _halted(self) -> bool:
        return self._stop.is_set() or self._fatal is not None

    def _read_file(self, books: TaskBooks, number: int, due: DueFile) -> None:
        try:
            if not self._read_records(books, number, due):
                return
        except FileError as error:
            became = self._became(due, error)
            if isinstance(became, FileUnavailableError):
                books.unavailable(became)
                self._note_slow(became)
                return
            reason = Reason.UNREADABLE_FILE
            if isinstance(became, SourceGoneError):
                self._take_payloads(books, number, due)
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

    def _became(self, due: DueFile, error: FileError) -> FileError:
        """Why a file is not read: a new listing tells what is gone, and what is the store's trouble."""
        if isinstance(error, FileUnavailableError):
            # S3 also denies what is gone, to who may not list the whole bucket.
            self._denied += isinstance(error, AccessDeniedError)
            if not isinstance(error, AccessDeniedError) or self._denied > _ASKED_AGAIN:
                return error
        found = self._life.wait(relist, due, self._store)
        if isinstance(error, UnreadableFileError):
            return found if isinstance(found, FileReplacedError) else error
        if found is None and isinstance(error, SourceGoneError):
            return FileUnavailableError(f"it is listed as before, and still: {error.message}", remedy=_LOOK)
        return found or error

    def _read_records(self, books: TaskBooks, number: int, due: DueFile) -> bool:
        """Read a file, or what is wanted of it; False when a stop came first."""
        damaged = False
        for block, wanted in blocks_of(due, self._store, self._reader, self._life):
            if self._halted():
                return False
            self._denied = self._slow = 0
            if isinstance(block, Damage):
                found = None if damaged else self._life.wait(relist, due, self._store)
                if isinstance(found, FileReplacedError):
                    raise found
                damaged = True
                books.damaged(number, block.offset, Verdict(Reason.DAMAGED_BLOCK, block.detail))
            else:
                books.block_read(number, block.offset, block.count)
                self._take_block(books, number, block, wanted)
        return True

    def _take_payloads(self, books: TaskBooks, number: int, due: DueFile) -> None:
        """Take the records that the quarantine keeps of a file that is gone."""
        stored = self._payloads.stored(due, books.awaited(number)) if self._payloads else {}
        for (block, record), payload in stored.items():
            books.record_restored(number, block, record)
            outcome = self._reader.from_payload(due.ref, payload)
            self._take_block(books, number, Block(block, 1, 0, [outcome]), None, first=record)

    def _take_block(
        self, books: TaskBooks, number: int, block: Block, wanted: Wanted, *, first: int = 0
    ) -> None:
        size = block.size // block.count
        outcomes = iter(block.outcomes)
        while part := list(islice(outcomes, _PART)):
            self._life.step()
            events, tags = _sorted_out(books, number, block.offset, part, wanted, first=first)
            if self._allowance:
                events, tags = self._allowance.admit(books, number, events, tags)
            self._fill_batches(books, number, events, tags, size)
            first += len(part)

    def _fill_batches(
        self, books: TaskBooks, number: int, events: list[Event], tags: list[Tag], size: int
    ) -> None:
        while events:
            taken, batch = self._builder.add(events, tags, size)
            books.joined_batch(number, taken)
            if batch is not None:
                self._life.wait(self._sender.submit, batch)
                self._account()
            events, tags = events[taken:], tags[taken:]

    def _send_rest(self, books: TaskBooks) -> None:
        if self._halted():
            self._drop_rest(books)
        elif batch := self._builder.flush():
            self._life.wait(self._sender.submit, batch)

    def _drop_rest(self, books: TaskBooks) -> None:
        if batch := self._builder.flush():
            books.unsettled(batch.tags)

    def _account(self) -> None:
        for result in self._sender.results():
            books = self._books[next(result.tags()).task]
            books.accepted(result.accepted, result.accepted_at)
            for tag, verdict in result.set_aside:
                books.refused(tag, verdict)
            for tag, reason, not_before in result.deferred:
                books.deferred(tag, reason, not_before)
            books.unsettled(result.unsettled)
            self._mended += result.repairs
        self._beat(self._sender.in_flight)
        self._note_failure()
        for books in [books for books in self._books.values() if books.settled]:
            del self._books[books.task.number]
            self._send(self._closed(books))

    def _note_failure(self) -> None:
        """Know of the end of delivery also when no batch is left that `submit` would refuse."""
        failure = self._sender.failure
        if isinstance(failure, BrazeEtlError):
            self._fatal = self._fatal or failure
        elif failure is not None:
            raise failure  # a mistake of ours in a posting thread ends the worker, loudly

    def _closed(self, books: TaskBooks) -> Settlement:
        settlement = books.settlement()
        if self._payloads:
            settlement.set_aside = self._payloads.attach(settlement.set_aside, books.task.files)
        counts = self._sender.counts
        settlement.requests = counts.since(self._counted)
        settlement.repairs = self._reader.take_repairs() + self._mended
        self._mended.clear()
        settlement.extras = self._reader.take_extras()
        if settlement.requests.short_ingests:
            settlement.warnings["short_ingests"] = settlement.requests.short_ingests
        settlement.worker, settlement.in_flight_limit = os.getpid(), self._sender.limit
        settlement.fatal = self._fatal
        self._counted = counts
        return settlement


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
