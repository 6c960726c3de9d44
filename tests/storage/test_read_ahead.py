"""Reading ahead, with a store whose answers the test lets through one by one."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import pytest

from braze_etl.errors import SourceGoneError
from braze_etl.model import FileRef
from braze_etl.storage.read_ahead import Limits, ReadAhead

TIMEOUT = 10


class GatedStore:
    """Every `open` waits for its gate; which were asked for, and how many at once, is remembered."""

    uri = "test://store"

    def __init__(self, size: int = 10) -> None:
        self.size = size
        self.asked: list[str] = []
        self.gone: set[str] = set()
        self.gate = threading.Event()
        self.changed = threading.Condition()

    def open(
        self, key: str, *, offset: int = 0, length: int | None = None, etag: str = "", size: int | None = None
    ) -> BinaryIO:
        with self.changed:
            self.asked.append(key)
            self.changed.notify_all()
        assert self.gate.wait(TIMEOUT)
        if key in self.gone:
            raise SourceGoneError(f"{key} is gone")
        return io.BytesIO(key.encode().ljust(self.size)[offset:][:length])

    def wait_for(self, *keys: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: sorted(self.asked) == sorted(keys), TIMEOUT), self.asked


Make = Callable[..., FileRef]


@contextmanager
def ahead_of(store: GatedStore, **limits: Any) -> Iterator[ReadAhead]:
    ahead = ReadAhead(store, Limits(**limits))  # type: ignore[arg-type]  # a double that only opens
    try:
        yield ahead
    finally:
        store.gate.set()
        ahead.close()


def refs(make_ref: Make, names: str, size: int = 10) -> list[FileRef]:
    return [make_ref(name, size=size) for name in names]


def read(store: ReadAhead, key: str, etag: str = "e1") -> str:
    with store.open(key, etag=etag) as stream:
        return stream.read().decode().strip()


def test_files_are_on_their_way_before_they_are_opened(make_ref: Make) -> None:
    store = GatedStore()
    with ahead_of(store) as ahead:
        ahead.expect(refs(make_ref, "abc"))
        store.wait_for(*"abc")
        store.gate.set()
        assert [read(ahead, key) for key in "abc"] == list("abc")
        store.wait_for(*"abc")


@pytest.mark.parametrize("limits", [{"files": 2}, {"bytes": 25}, {"threads": 2}])
def test_no_more_than_the_limits_allow_is_ahead(make_ref: Make, limits: dict[str, int]) -> None:
    store = GatedStore()
    with ahead_of(store, **limits) as ahead:
        ahead.expect(refs(make_ref, "abcd"))
        store.wait_for(*"ab")


def test_opening_one_makes_room_for_the_next(make_ref: Make) -> None:
    store = GatedStore()
    store.gate.set()
    with ahead_of(store, files=2) as ahead:
        ahead.expect(refs(make_ref, "ab"))
        ahead.expect(refs(make_ref, "cd"))
        store.wait_for(*"ab")
        assert read(ahead, "a") == "a"
        store.wait_for(*"abc")
        assert [read(ahead, key) for key in "bcd"] == list("bcd")
        store.wait_for(*"abcd")


def test_without_a_thread_for_the_next_one_files_are_read_all_the_same(
    make_ref: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_call: object, *_arguments: object) -> None:
        raise RuntimeError("can't start new thread")

    store = GatedStore()
    store.gate.set()
    with ahead_of(store, files=1) as ahead:
        ahead.expect(refs(make_ref, "abc"))
        monkeypatch.setattr(ahead._threads, "submit", refuse)
        assert [read(ahead, key) for key in "abc"] == list("abc")


def test_large_files_and_parts_of_files_are_read_by_themselves(make_ref: Make) -> None:
    store = GatedStore()
    store.gate.set()
    with ahead_of(store, largest=10) as ahead:
        ahead.expect(refs(make_ref, "a", size=11))
        assert store.asked == []
        assert read(ahead, "a") == "a"
        assert ahead.open("b", offset=0, length=1, etag="e1").read() == b"b"


def test_a_file_that_was_passed_over_holds_no_place(make_ref: Make) -> None:
    store = GatedStore()
    store.gate.set()
    with ahead_of(store, files=2) as ahead:
        ahead.expect(refs(make_ref, "abcd"))
        assert read(ahead, "b") == "b"
        store.wait_for(*"abcd")


def test_what_went_wrong_with_a_file_is_told_when_that_file_is_opened(make_ref: Make) -> None:
    store = GatedStore()
    store.gone = {"a"}
    store.gate.set()
    with ahead_of(store) as ahead:
        ahead.expect(refs(make_ref, "ab"))
        with pytest.raises(SourceGoneError):
            read(ahead, "a")
        assert read(ahead, "b") == "b"


def test_closing_begins_nothing_more(make_ref: Make) -> None:
    store = GatedStore()
    with ahead_of(store, threads=1) as ahead:
        ahead.expect(refs(make_ref, "abc"))
        store.wait_for("a")
        ahead.close()
        store.gate.set()
    assert store.asked == ["a"]
