"""What every store does alike: the same tests on a folder, on S3, and on servers that only look like it.

A new store is a line in `STORES`; one that also writes under conditions, a line in `CONDITIONAL`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from braze_etl.errors import SourceGoneError
from braze_etl.storage.opening import open_conditional_store, open_store
from braze_etl.storage.probe import try_etags
from braze_etl.storage.settings import StoreAccess
from braze_etl.storage.store import ConditionalStore, Store
from tests.front import BareEtags, Front, Strict
from tests.serving import serving

KEYS = ["a-b/x", "a/b/1", "a/b/2", "a/c", "a0", "b/z", "b/ü", "c/d/e/f"]


@contextmanager
def in_folder(request: pytest.FixtureRequest) -> Iterator[Store]:
    yield open_store(str(request.getfixturevalue("tmp_path")))[0]


@contextmanager
def in_s3(request: pytest.FixtureRequest) -> Iterator[Store]:
    bucket: Any = request.getfixturevalue("bucket")
    yield open_store(bucket.uri, access=StoreAccess(endpoint_url=bucket.endpoint_url))[0]


@contextmanager
def behind(front: type[Front], request: pytest.FixtureRequest) -> Iterator[Store]:
    bucket: Any = request.getfixturevalue("bucket")
    with serving(front(bucket.endpoint_url)) as server:
        yield open_store(bucket.uri, access=StoreAccess(endpoint_url=server.url))[0]


STORES: dict[str, Callable[[pytest.FixtureRequest], AbstractContextManager[Store]]] = {
    "folder": in_folder,
    "s3": in_s3,
    "strict s3": partial(behind, Strict),
}
CONDITIONAL = {"s3": Front, "s3 with bare ETags": BareEtags}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with STORES[request.param](request) as found:
        yield found


@pytest.fixture(params=CONDITIONAL)
def conditional(request: pytest.FixtureRequest, bucket: Any) -> Iterator[ConditionalStore]:
    kind = CONDITIONAL[request.param]
    with serving(kind(bucket.endpoint_url)) as front:
        found = open_conditional_store(f"{bucket.uri}/state", access=StoreAccess(front.url))[0]
        found.put("probe", b"")
        assert try_etags(found, "probe") == ""
        assert found.bare_etags is (kind is BareEtags)
        yield found


@pytest.fixture
def filled(store: Store) -> Store:
    for key in reversed(KEYS):
        store.put(key, key.encode())
    return store


def _keys(store: Store, prefix: str = "", start_after: str = "") -> list[str]:
    return [item.key for page in store.pages(prefix, start_after=start_after) for item in page.objects]


def test_what_was_put_is_listed_and_read(store: Store) -> None:
    store.put("folder/key", b"content")
    (page,) = store.pages()
    (item,) = page.objects
    assert (item.key, item.size) == ("folder/key", 7)
    assert abs(item.modified - datetime.now(UTC)) < timedelta(minutes=5)
    assert '"' not in item.etag
    with store.open(item.key, etag=item.etag) as stream:
        assert stream.read() == b"content"


def test_keys_come_in_the_byte_order_of_the_whole_key(filled: Store) -> None:
    assert _keys(filled) == sorted(KEYS, key=str.encode)


@pytest.mark.parametrize("prefix", ["a", "a/", "a/b", "a/b/", "b/", "c/d/e/f", "nothing/", "a/b/1/"])
def test_a_prefix_selects_keys_that_begin_with_it(filled: Store, prefix: str) -> None:
    assert _keys(filled, prefix) == [key for key in KEYS if key.startswith(prefix)]


@pytest.mark.parametrize(
    "start", ["a", "a-b/x", "a/", "a/b", "a/b/1", "a/b/2", "a/zzz", "b/z", "c/d/e/f", "z"]
)
def test_a_listing_starts_behind_a_key_that_need_not_exist(filled: Store, start: str) -> None:
    assert _keys(filled, start_after=start) == [key for key in KEYS if key > start]


def test_prefix_and_start_work_together(filled: Store) -> None:
    assert _keys(filled, "a/b/", "a/b/1") == ["a/b/2"]
    assert _keys(filled, "b/", "a") == ["b/z", "b/ü"]


@pytest.mark.parametrize(
    ("prefix", "objects", "prefixes"),
    [
        ("", ["a0"], ["a-b/", "a/", "b/", "c/"]),
        ("a", ["a0"], ["a-b/", "a/"]),
        ("a/", ["a/c"], ["a/b/"]),
        ("a/b", [], ["a/b/"]),
        ("a/b/", ["a/b/1", "a/b/2"], []),
        ("c/d", [], ["c/d/"]),
        ("nothing/", [], []),
    ],
)
def test_a_delimiter_shows_one_level(
    filled: Store, prefix: str, objects: list[str], prefixes: list[str]
) -> None:
    pages = list(filled.pages(prefix, delimiter="/"))
    assert [item.key for page in pages for item in page.objects] == objects
    assert [found for page in pages for found in page.prefixes] == prefixes


def test_more_than_a_page_is_listed_whole(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("braze_etl.storage.folder._PAGE_SIZE", 4)
    monkeypatch.setattr("braze_etl.storage.s3._PAGE_SIZE", 4)
    expected = [f"k/{number:02}" for number in range(9)]
    for key in expected:
        store.put(key, b"")
    pages = list(store.pages("k/", start_after="k/00"))
    assert [len(page.objects) for page in pages if page.objects] == [4, 4]
    assert [item.key for page in pages for item in page.objects] == expected[1:]


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, None, b"0123456789"),
        (3, None, b"3456789"),
        (3, 4, b"3456"),
        (0, 4, b"0123"),
        (8, 100, b"89"),
        (10, None, b""),
        (10, 5, b""),
        (99, 5, b""),
        (3, 0, b""),
    ],
)
def test_a_range_is_read(store: Store, offset: int, length: int | None, expected: bytes) -> None:
    store.put("digits", b"0123456789")
    with store.open("digits", offset=offset, length=length) as stream:
        assert stream.read() == expected


def test_a_stream_is_read_in_pieces(store: Store) -> None:
    store.put("big", bytes(range(256)) * 1000)
    with store.open("big") as stream:
        pieces = list(iter(lambda: stream.read(1000), b""))
    assert b"".join(pieces) == bytes(range(256)) * 1000
    assert {len(piece) for piece in pieces} == {1000}


def test_a_missing_object_is_gone(store: Store) -> None:
    store.put("a/b", b"")
    for key in ("nothing", "a/nothing", "a/b/c", "a"):
        with pytest.raises(SourceGoneError):
            store.open(key)


def test_a_replaced_object_is_gone_for_who_asks_for_the_old_one(store: Store) -> None:
    store.put("key", b"old")
    (page,) = store.pages()
    etag = page.objects[0].etag
    store.put("key", b"newer")
    with pytest.raises(SourceGoneError, match="replaced"):
        store.open("key", etag=etag)
    with store.open("key") as stream:
        assert stream.read() == b"newer"


def test_deletion_takes_what_is_there_and_minds_nothing_else(filled: Store) -> None:
    filled.delete(["a/b/1", "a/b/2", "nothing", "a/c/below-a-file", "c/d/e/f"])
    assert _keys(filled) == ["a-b/x", "a/c", "a0", "b/z", "b/ü"]


def test_many_are_deleted_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("braze_etl.storage.s3._DELETE_AT_ONCE", 20)
    for number in range(50):
        store.put(f"k{number}", b"")
    store.delete(f"k{number}" for number in range(49))
    assert _keys(store) == ["k49"]


def test_a_check_of_the_access_leaves_what_is_there_and_nothing_else(filled: Store) -> None:
    filled.check_access("a/")
    assert _keys(filled) == sorted(KEYS, key=str.encode)


def test_an_object_is_created_once(conditional: ConditionalStore) -> None:
    assert conditional.create("key", b"first") is not None
    assert conditional.create("key", b"second") is None
    found = conditional.read("key")
    assert found is not None
    assert found.data == b"first"


def test_only_the_version_that_was_read_is_replaced(conditional: ConditionalStore) -> None:
    first = conditional.create("key", b"first")
    assert first is not None
    found = conditional.read("key")
    assert found is not None
    second = conditional.replace("key", b"second", found.etag)
    assert second is not None
    assert conditional.replace("key", b"third", first) is None
    assert conditional.replace("key", b"third", second) is not None


def test_what_is_not_there_is_none_and_can_not_be_replaced(conditional: ConditionalStore) -> None:
    assert conditional.read("key") is None
    assert conditional.replace("key", b"x", "0" * 32) is None


def test_an_objects_age_is_told_by_the_servers_own_clock(conditional: ConditionalStore) -> None:
    conditional.put("key", b"x")
    found = conditional.read("key")
    assert found is not None
    assert timedelta(seconds=-1) <= found.read_at - found.modified < timedelta(minutes=1)
