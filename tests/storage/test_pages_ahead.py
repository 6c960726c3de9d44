"""Pages that are fetched ahead: in order, a page ahead at most, and with nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from braze_etl.errors import StoreError
from braze_etl.storage.pages_ahead import PagesAhead
from braze_etl.storage.store import Page


class Pages:
    """A listing of so many pages that notes what was fetched, and by how many threads at once."""

    def __init__(self, pages: int, *, fails_at: int | None = None) -> None:
        self.count = pages
        self.fails_at = fails_at
        self.fetched = 0
        self.meet: threading.Barrier | None = None

    def __iter__(self) -> Iterator[Page]:
        for number in range(self.count):
            if number == self.fails_at:
                raise StoreError("the network is gone")
            if self.meet:
                self.meet.wait(10)
            self.fetched += 1
            yield Page((), (str(number),))


def threads() -> int:
    return sum(thread.name == "pages-ahead" for thread in threading.enumerate())


def read(pages: Iterator[Page]) -> list[str]:
    return [page.prefixes[0] for page in pages]


def test_pages_come_in_order_and_no_thread_is_left() -> None:
    with PagesAhead(3) as ahead:
        listings = [ahead(iter(Pages(5))) for _ in range(7)]
        assert [read(pages) for pages in listings] == [["0", "1", "2", "3", "4"]] * 7
        assert threads() == 3
    assert threads() == 0


def test_the_first_pages_of_several_listings_are_fetched_at_once() -> None:
    listings = [Pages(1) for _ in range(4)]
    meet = threading.Barrier(4)
    for each in listings:
        each.meet = meet
    with PagesAhead(4) as ahead:
        begun = [ahead(iter(each)) for each in listings]
        assert [read(pages) for pages in begun] == [["0"]] * 4, "none could have passed alone"


def test_a_page_ahead_and_no_more_is_fetched_of_what_nobody_reads() -> None:
    pages = Pages(10)
    with PagesAhead(2) as ahead:
        begun = ahead(iter(pages))
        next(begun)
    assert pages.fetched <= 2


def test_nothing_is_fetched_behind_the_page_that_ends_it() -> None:
    pages = Pages(10)
    with PagesAhead(2) as ahead:
        assert read(ahead(iter(pages), lambda page: page.prefixes != ("3",))) == ["0", "1", "2", "3"]
    assert pages.fetched == 4


def test_an_error_comes_where_its_page_would_have_been_read() -> None:
    with PagesAhead(2) as ahead:
        pages = ahead(iter(Pages(5, fails_at=2)))
        assert [next(pages).prefixes for _ in range(2)] == [("0",), ("1",)]
        with pytest.raises(StoreError, match="the network is gone"):
            next(pages)
    assert threads() == 0


def test_who_is_closed_early_leaves_no_thread() -> None:
    def listing() -> Iterator[Page]:
        with PagesAhead(2) as ahead:
            yield from ahead(iter(Pages(10)))

    with closing(listing()) as pages:  # type: ignore[type-var]  # a generator can be closed
        next(pages)
        assert threads()
    assert threads() == 0


def test_who_is_interrupted_does_not_wait_for_a_silent_store() -> None:
    silent = threading.Event()

    def pages() -> Iterator[Page]:
        silent.wait()
        yield Page((), ("0",))

    ahead = PagesAhead(1)
    ahead(pages())
    ahead.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    (left,) = (thread for thread in threading.enumerate() if thread.name == "pages-ahead")
    silent.set()
    left.join(10)
    assert not left.is_alive()


def test_without_threads_a_page_is_fetched_when_it_is_read() -> None:
    pages = Pages(3)
    with PagesAhead(0) as ahead:
        begun = ahead(iter(pages))
        assert pages.fetched == 0
        assert read(begun) == ["0", "1", "2"]
        assert threads() == 0
