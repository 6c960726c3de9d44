"""Delivery of batches, several at a time: each is sent, whole or in parts, until its items have outcomes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from random import Random
from types import TracebackType
from typing import Generic, Self, TypeVar

from braze_etl.clock import Clock
from braze_etl.delivery.batches import Batch, BatchResult
from braze_etl.delivery.bisection import Bisection, halves
from braze_etl.delivery.destination import (
    Accepted,
    Body,
    Cause,
    Decision,
    Destination,
    Encoded,
    Items,
    Names,
    Oversize,
    Partial,
    Refused,
    RetryAfter,
    Split,
    Stop,
    StopKind,
    Uncompressed,
    Unencodable,
)
from braze_etl.delivery.gate import DEFAULT_CAP, MOST_TRIES, Gate, HaltedError, Tries
from braze_etl.delivery.http import Transport
from braze_etl.errors import DeliveryError, KeyRefusedError
from braze_etl.model import Reason, Verdict

T = TypeVar("T")

_IN_ORDER = 2
_FRUITLESS = 60.0
"""Seconds of refusals without a culprit, when nothing was ever taken, until it is clear that nothing will."""
_LARGE = 100_000
"""Bytes of one item that somebody on the way may well find too large; most have hundreds."""
_TRIES_OF_A_PART = 3
"""Of a part of a batch that failed twelve times: the parts without the culprit pass at once."""
_POLL = 0.2


class Sender(Generic[T]):
    """Delivers batches, several at a time, until each item's outcome is fixed or delivery ends.

    Every batch handed in comes back as exactly one `BatchResult`. Bounded: at most one batch more than the
    requests that may be in flight is in hand, and `submit` blocks for the next. One thread at a time submits.

    Delivery ends by *stop*, which the owner sets: no new request begins, waits end at once, and what is not
    settled comes back so. Or by an error: the service refused the key or the request, there is no endpoint,
    or for `give_up_after` seconds nothing but failures came. `submit` then raises the `DeliveryError`, when
    all batches in hand have come back.

    *on_failure* is called, in a posting thread, with kind and words of the first failure of each kind.
    """

    def __init__(
        self,
        transport: Transport,
        destination: Destination,
        clock: Clock,
        rng: Random,
        stop: threading.Event,
        *,
        executor: Executor | None = None,
        on_failure: Callable[[str, str], None] = lambda _kind, _words: None,
    ) -> None:
        self._gate = Gate(transport, destination, clock, rng, stop, on_failure=on_failure)
        workers = (destination.limits.concurrency or DEFAULT_CAP) + 1
        self._executor = executor or ThreadPoolExecutor(workers, thread_name_prefix="delivery")
        self._changed = threading.Condition()
        self._in_hand = 0

    @property
    def in_flight(self) -> int:
        """Requests under way at the moment."""
        return self._gate.limiter.in_flight

    @property
    def time(self) -> float:
        """Seconds by the clock of the delivery, for who measures how fast it goes."""
        return self._gate.clock.monotonic()

    @property
    def limit(self) -> int:
        """How many requests may be under way at the moment."""
        return self._gate.limiter.limit

    @property
    def failure(self) -> BaseException | None:
        """What ended the delivery, if an error did; set before the outcomes that it left unsettled."""
        return self._gate.fatal

    def share(self, processes: int, kept: Callable[[], None]) -> None:
        """Be one of so many processes that share the limits of the destination; alone, it has all of them.

        *kept* is called, in any thread, once no more requests are in flight than that leaves it.
        """
        self._gate.share(processes, kept)

    def submit(self, batch: Batch[T], done: Callable[[BatchResult[T]], None]) -> None:
        """Take *batch* over, waiting while too many are in hand. Raises what ended the delivery.

        *done* gets its outcomes, in a posting thread, and must neither wait nor fail; also when this raises.
        """
        delivery = BatchDelivery(batch, self._gate)
        if self._take():
            future = self._executor.submit(delivery.run)
            future.add_done_callback(partial(self._finish, delivery, done))
            return
        done(delivery.result())
        with self._changed:
            while self._in_hand:
                self._changed.wait()
        if self._gate.fatal is not None:
            raise self._gate.fatal

    def close(self) -> None:
        """Wait for the requests in flight and let the threads go. Set *stop* first to end waits."""
        self._executor.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._gate.fail(error)  # the owner is gone: begin nothing more
        self.close()

    def _take(self) -> bool:
        """Wait for room; False once delivery has ended."""
        with self._changed:
            while not self._gate.halted():
                if self._in_hand <= self._gate.limiter.limit:
                    self._in_hand += 1
                    return True
                self._changed.wait(_POLL)  # a stop notifies nobody
        return False

    def _finish(
        self, delivery: BatchDelivery[T], done: Callable[[BatchResult[T]], None], future: Future[None]
    ) -> None:
        error = future.exception()
        if error is not None:
            self._gate.fail(error)  # before its outcomes: who has them knows why
        done(delivery.result())
        with self._changed:
            self._in_hand -= 1
            self._changed.notify_all()


class BatchDelivery(Generic[T]):
    """Acts on the decisions for one batch.

    Everything it does ends: with the items settled, as a refusal that is not transient takes some out; when
    a request is hopeless while others go through; when all are refused; by `give_up_after` when none gets an
    answer that says more; or by a stop.
    """

    def __init__(self, batch: Batch[T], gate: Gate) -> None:
        self._batch = batch
        self._gate = gate
        self._all = range(len(batch))
        self._open = set(self._all)
        self._result: BatchResult[T] = BatchResult()
        self._body: tuple[Sequence[int], Body] | None = None
        self._taken = 0
        self._accepted = 0
        self._largest_taken = 0
        self._stops = 0
        self._isolations = 0
        self._held_up: set[int] = set()
        """Small items that got a 413 alone: they are tried again when all others are through."""

    def run(self) -> None:
        """Deliver the batch, or as much of it as can be before a stop."""
        try:
            self._defer_throttled()
            self._deliver(self._all)
            self._send_held_up()
        except HaltedError:
            pass  # what is open is unsettled

    def result(self) -> BatchResult[T]:
        """The outcome of every item; to be called when `run` is over, however it ended."""
        left = sorted(self._open)
        self._open.clear()
        self._result.unsettled += [self._batch.tags[index] for index in left]
        return self._result

    def _defer_throttled(self) -> None:
        waits = self._gate.throttles.filter(self._batch.items, self._gate.clock.now())
        for index, (reason, until) in waits.items():
            self._defer(index, reason, until)

    def _deliver(self, indexes: Sequence[int], most_tries: int = MOST_TRIES) -> None:
        tries = Tries(self._gate.health, most_tries)
        while (refused := self._ask(indexes, most_tries)) is not None:
            tries.note_failure()
            if self._bisected(indexes, refused, tries.failed):
                return
            if self._gate.fruitless_for(_FRUITLESS):
                self._gate.fail(_nothing_is_taken(refused, self._gate.names))
                raise HaltedError
            if tries.hopeless:
                self._abandon(indexes)
                return
            self._gate.back_off(tries.failed)

    def _ask(self, indexes: Sequence[int], most_tries: int = MOST_TRIES) -> Refused | None:
        """Send these items until they are settled (None), or refused and nothing says which is at fault."""
        tries = Tries(self._gate.health, most_tries)
        while indexes := self._still_open(indexes):
            match self._post(indexes):
                case Accepted():
                    self._accept(indexes)
                case Partial() as partial:
                    self._act_on(indexes, partial)
                    tries = Tries(self._gate.health, most_tries)
                case Split() as split:
                    return self._halve(indexes, split)
                case Uncompressed():
                    self._body = None
                case Refused() as refused:
                    self._gate.note_failure(refused.words)
                    return refused
                case RetryAfter() as obstacle:
                    self._wait_out(indexes, obstacle, tries)
                case Stop() as stop:
                    self._stop(stop)
        return None

    def _still_open(self, indexes: Sequence[int]) -> Sequence[int]:
        if len(self._open) == len(self._batch) and not self._held_up:
            return indexes
        return [index for index in indexes if index in self._open and index not in self._held_up]

    def _items_of(self, indexes: Sequence[int]) -> Items:
        """These of the batch's items; all of them, as most batches go, for next to nothing."""
        return self._batch.items if indexes == self._all else self._batch.items.take(indexes)

    def _tags_of(self, indexes: Sequence[int]) -> list[T]:
        tags = self._batch.tags
        return tags if indexes == self._all else [tags[index] for index in indexes]

    def _post(self, indexes: Sequence[int]) -> Decision:
        body = self._body_for(indexes)
        if isinstance(body, Oversize):
            words = f"{body.size} bytes of JSON, and a request has room for {body.limit}"
            return Split(words, size=body.size, proven=True)
        if isinstance(body, Unencodable):
            faults = {index: Verdict(Reason.INVALID_EVENT, words) for index, words in body.items.items()}
            return Partial(faults)
        decision = self._gate.exchange(body, self._result.requests)
        if isinstance(decision, Partial):
            self._gate.health.note_progress()
        elif isinstance(decision, Accepted):
            self._largest_taken = max(self._largest_taken, body.raw_size)
        return replace(decision, size=body.raw_size) if isinstance(decision, Split) else decision

    def _body_for(self, indexes: Sequence[int]) -> Encoded:
        # A retry of the same items posts the same bytes.
        if self._body is not None and self._body[0] == indexes:
            return self._body[1]
        body = self._gate.encode(self._items_of(indexes))
        self._body = None
        if isinstance(body, Body):
            self._body = (indexes, body)
            self._result.repairs += body.repairs
        return body

    def _accept(self, indexes: Sequence[int]) -> None:
        self._gate.health.note_progress()
        self._taken += 1
        self._accepted += len(indexes)
        self._stops = 0
        self._open.difference_update(indexes)
        now = self._gate.clock.now()
        self._gate.throttles.accepted(self._items_of(indexes), now)
        self._result.accepted += self._tags_of(indexes)
        self._result.accepted_at.append(now)

    def _act_on(self, indexes: Sequence[int], partial: Partial) -> None:
        now = self._gate.clock.now()
        self._gate.throttles.close(partial.keys, now, partial.throttled)
        for place, verdict in partial.set_aside.items():
            self._set_aside(indexes[place], verdict)
        for place, (reason, seconds) in partial.deferred.items():
            self._defer(indexes[place], reason, now + timedelta(seconds=seconds))

    def _halve(self, indexes: Sequence[int], split: Split) -> Refused | None:
        self._body = None
        if len(indexes) == 1:
            self._judge_alone(indexes[0], split)
            return None
        taken = self._accepted
        refusals = [self._ask(half) for half in halves(indexes)]
        if self._accepted - taken == len(indexes) and not split.proven:
            self._gate.room.refused(split.size)  # no item is to blame, so it was the size
        return refusals[0] or refusals[1]

    def _judge_alone(self, index: int, split: Split) -> None:
        """An item got a 413 alone. What small items can't pass, nothing can: then the way is at fault."""
        passed = self._largest_taken  # of this batch: others may have gone another way, or at a better time
        if split.proven or (split.size >= _LARGE and passed) or (split.own_words and passed >= split.size):
            self._set_aside(index, Verdict(Reason.TOO_LARGE, split.words))
            return
        names = self._gate.names
        self._gate.note_failure(
            f"{split.words}, to a request of {split.size} bytes with one {names.item}, which {names.service} "
            "would take: a proxy or gateway on the way bounds the size of requests"
        )
        self._held_up.add(index)

    def _send_held_up(self) -> None:
        """Try the items again that nothing on the way should refuse, until one is hopeless: then all are."""
        tries = Tries(self._gate.health)
        while self._held_up:
            index = min(self._held_up)
            self._held_up.discard(index)
            self._deliver([index])
            if index not in self._held_up:
                tries = Tries(self._gate.health)
                continue
            tries.note_failure()
            if tries.hopeless:
                self._abandon(self._held_up)
                return
            self._gate.back_off(tries.failed)

    def _bisected(self, indexes: Sequence[int], refused: Refused, attempt: int) -> bool:
        """Find who is at fault, and say whether that settled all of *indexes*."""
        if attempt == 1 and not refused.own_words:
            return False  # a proxy's refusal may be over in a moment
        suspects = [index for index in indexes if index in self._open]
        if attempt > _IN_ORDER:
            self._gate.rng.shuffle(suspects)  # the same order would only find the same nothing
        bisection = Bisection(self._ask, lambda: self._taken, self._gate.back_off)
        for index, words in (bisection.run(suspects, refused) or {}).items():
            self._set_aside(index, Verdict(Reason.REJECTED, words))
        return self._open.isdisjoint(indexes)

    def _wait_out(self, indexes: Sequence[int], obstacle: RetryAfter, tries: Tries) -> None:
        self._gate.note_failure(obstacle.words)
        tries.note_failure()
        if tries.hopeless:
            self._leave(indexes, obstacle)
        elif not obstacle.seconds:
            self._gate.back_off(tries.failed)
        elif obstacle.cause is Cause.FAILURE:
            self._gate.rest(obstacle.seconds)
        # Else the gate lets nobody's request begin before that time.

    def _leave(self, indexes: Sequence[int], obstacle: RetryAfter) -> None:
        if obstacle.cause is Cause.FAILURE:
            self._isolate([index for index in indexes if index in self._open])
            return
        until = self._gate.clock.now() + timedelta(seconds=obstacle.seconds or 0.0)
        for index in indexes:
            self._defer(index, Reason.THROTTLED, until)

    def _stop(self, stop: Stop) -> None:
        self._gate.note_failure(stop.words)
        self._stops += 1
        if self._stops > stop.patience:
            kind = KeyRefusedError if stop.kind is StopKind.KEY else DeliveryError
            self._gate.fail(kind(stop.words, remedy=stop.remedy))
            raise HaltedError
        self._gate.back_off(self._stops)

    def _isolate(self, indexes: Sequence[int]) -> None:
        """Something in here makes every request with it fail while others pass: find it, spare the rest.

        What fails by itself stays open; and all the rest, when there is more of it than one item.
        """
        self._body = None
        self._isolations += 1
        if len(indexes) == 1 or self._isolations > 2 * len(self._batch).bit_length():
            self._abandon(indexes)
            return
        for half in halves(indexes):
            self._deliver(half, most_tries=_TRIES_OF_A_PART)

    def _abandon(self, indexes: Iterable[int]) -> None:
        """Leave them to the next run, and on the books: the rest of their files is not sent again."""
        now = self._gate.clock.now()
        for index in self._open.intersection(indexes):
            self._defer(index, Reason.FAILING, now)

    def _set_aside(self, index: int, verdict: Verdict) -> None:
        self._open.discard(index)
        self._result.set_aside.append((self._batch.tags[index], verdict))

    def _defer(self, index: int, reason: Reason, until: datetime) -> None:
        self._open.discard(index)
        self._result.deferred.append((self._batch.tags[index], reason, until))


def _nothing_is_taken(refused: Refused, names: Names) -> DeliveryError:
    # amplitude.md, 1.3: search for the offending event, else fatal.
    return DeliveryError(
        f"Every request is refused, and no {names.item} is to blame: {refused.words}.",
        remedy=f"A firewall, a proxy or a block of this region may answer in {names.service}'s place: check "
        f"the way to {names.endpoint}, and from which country this machine is seen.",
    )
