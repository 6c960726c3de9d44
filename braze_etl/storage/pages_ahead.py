"""Listings whose next page is fetched while one is read: a page of an object store costs a round trip.

1. A page is taken, and the next one is begun before anybody reads the first. So a listing has two pages in
   memory at most, and one thread at a time goes on with it.
2. What fetching a page has raised comes out where that page would have been read.
3. At the end, what was not begun is dropped, and what is on its way is awaited: no thread outlives its
   listings. When nobody reads on, that is awaited for a moment only, for an interrupt may be the reason; and
   not at all where an interrupt is seen here. Then the threads end with their request, or with the process.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Final, Self, TypeAlias

from braze_etl.storage.store import Page

MOST_AT_ONCE: Final = 8
"""Requests for pages; a store has twice as many connections."""

_MOMENT = 0.25
"""Seconds for each thread, when nobody reads on."""

_Fetched: TypeAlias = Future[Page | None]


def _always(_page: Page) -> bool:
    return True


class PagesAhead:
    """Fetches pages of many listings, each a page ahead, by *most* threads for the length of a block.

    With none, as for a folder, each page is fetched when it is read.
    """

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self._most = most
        self._due: queue.SimpleQueue[tuple[Iterator[Page], _Fetched] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def __call__(self, pages: Iterator[Page], goes_on: Callable[[Page], bool] = _always) -> Iterator[Page]:
        """Give *pages* in their order; the first is begun at once, and none behind one that ends it."""
        if len(self._threads) < self._most:
            thread = threading.Thread(target=self._work, name="pages-ahead", daemon=True)
            with suppress(RuntimeError):  # a system that has no thread left: the others do it
                thread.start()
                self._threads.append(thread)
        return self._rest(pages, self._begin(pages), goes_on) if self._threads else _in_turn(pages, goes_on)

    def _rest(
        self, pages: Iterator[Page], fetched: _Fetched, goes_on: Callable[[Page], bool]
    ) -> Iterator[Page]:
        while (page := fetched.result()) is not None:
            if not goes_on(page):
                yield page
                return
            fetched = self._begin(pages)
            yield page

    def _begin(self, pages: Iterator[Page]) -> _Fetched:
        fetched: _Fetched = Future()
        self._due.put((pages, fetched))
        return fetched

    def _work(self) -> None:
        while (due := self._due.get()) is not None:
            if not self._closed:
                _fetch(*due)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        for _ in self._threads:
            self._due.put(None)
        if kind is None or issubclass(kind, Exception | GeneratorExit):
            for thread in self._threads:
                thread.join(_MOMENT if kind is GeneratorExit else None)


def _in_turn(pages: Iterator[Page], goes_on: Callable[[Page], bool]) -> Iterator[Page]:
    for page in pages:
        yield page
        if not goes_on(page):
            return


def _fetch(pages: Iterator[Page], fetched: _Fetched) -> None:
    try:
        fetched.set_result(next(pages, None))
    except BaseException as error:  # noqa: BLE001 - it is raised where the page is read
        fetched.set_exception(error)
