"""Requests that are posted in the thread that submits them, and a sender that keeps what comes of them."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

from braze_etl.delivery.batches import Batch, BatchResult, RequestCounts
from braze_etl.delivery.sender import Sender

P = ParamSpec("P")
R = TypeVar("R")


class AtOnce(Executor):
    """Runs each call at once, in the caller's thread: for a clock that is moved by hand."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        future: Future[R] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - the future carries it to whoever asks
            future.set_exception(error)
        return future


class KeepingSender(Sender[int]):
    """Keeps the outcomes of its batches until they are asked for, and counts the requests."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]  # those of a sender
        self._come = queue.SimpleQueue[BatchResult[int]]()
        self._awaited = 0
        self.counts = RequestCounts()

    def give(self, batch: Batch[int]) -> None:
        """Submit a batch; raises what ended the delivery."""
        self._awaited += 1
        self.submit(batch, self._come.put)

    def results(self, *, wait: bool = False) -> Iterator[BatchResult[int]]:
        """The outcomes that have come and were not given yet; with *wait*, those of all batches."""
        while self._awaited if wait else not self._come.empty():
            result = self._come.get()
            self._awaited -= 1
            self.counts.add(result.requests)
            yield result

    def drain(self) -> Iterator[BatchResult[int]]:
        """The outcomes of all batches; raises at its end what ended the delivery."""
        yield from self.results(wait=True)
        if self.failure is not None:
            raise self.failure
