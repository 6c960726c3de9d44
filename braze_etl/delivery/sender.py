"""Posting threads, and the owner's side of them: hand batches in, get outcomes back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from random import Random
from types import TracebackType
from typing import Generic, Self, TypeVar

from braze_etl.clock import Clock
from braze_etl.delivery.batch_delivery import BatchDelivery
from braze_etl.delivery.batches import Batch, BatchResult
from braze_etl.delivery.destination import Destination
from braze_etl.delivery.gate import DEFAULT_CAP, Gate
from braze_etl.delivery.http import Transport

T = TypeVar("T")

_POLL = 0.2


class Sender(Generic[T]):
    """Delivers batches, several at a time, until each item's outcome is fixed or delivery ends.

    Every batch handed in comes back as exactly one `BatchResult`. Bounded: at most one batch more than the
    requests that may be in flight is in hand, and `submit` blocks for the next. One thread submits.

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
    def limit(self) -> int:
        """How many requests may be under way at the moment."""
        return self._gate.limiter.limit

    @property
    def failure(self) -> BaseException | None:
        """What ended the delivery, if an error did; set before the outcomes that it left unsettled."""
        return self._gate.fatal

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
