"""What a listing must be before it is believed, and bounds that are held where a server does not."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from braze_etl.errors import StoreError
from braze_etl.storage.s3 import S3Store
from braze_etl.storage.settings import StoreAccess
from tests.small_s3 import BUCKET, LOGIN, Answer, Asked, SmallS3, small_s3

KEYS = [f"a/{folder}/{number:02}" for folder in ("x", "y", "z") for number in range(4)] + ["b/1", "b/2"]


@pytest.fixture(scope="module")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallS3]:
    folder = tmp_path_factory.mktemp("bucket")
    for key in KEYS:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_text(key)
    with small_s3(folder) as server:
        yield server


@pytest.fixture
def server(one_server: SmallS3, monkeypatch: pytest.MonkeyPatch) -> SmallS3:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    one_server.behave()
    one_server.asked.clear()
    return one_server


def store_of(server: SmallS3) -> S3Store:
    return S3Store(BUCKET, StoreAccess(server.url, "us-east-1"))


def keys(server: SmallS3, prefix: str = "", start_after: str = "", delimiter: str = "") -> list[str]:
    pages = store_of(server).pages(prefix, start_after=start_after, delimiter=delimiter)
    return [key for page in pages for key in (*(item.key for item in page.objects), *page.prefixes)]


def test_every_bound_is_held_whatever_the_server_leaves_out(server: SmallS3) -> None:
    server.ignores, server.page = frozenset({"start-after", "prefix", "delimiter"}), 3
    assert keys(server, "a/", "a/y/01") == [key for key in KEYS if "a/y/01" < key < "b"]
    assert keys(server, "a/", delimiter="/") == ["a/x/", "a/y/", "a/z/"]
    assert keys(server, "a/", "a/y/01", delimiter="/") == ["a/y/", "a/z/"]
    assert keys(server, "b/", delimiter="/") == ["b/1", "b/2"]


@pytest.mark.parametrize("page", [1, 3, 1000])
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_a_listing_out_of_order_is_read_to_its_end_and_given_once(
    server: SmallS3, page: int, seed: int | None
) -> None:
    def order(entries: list[str]) -> list[str]:
        return random.Random(seed).sample(entries, len(entries)) if seed else sorted(entries)[::-1]

    server.order, server.page = order, page
    store = store_of(server)
    first = [item.key for found in store.pages("a/") for item in found.objects]
    assert sorted(first) == KEYS[:12]
    # Known to be out of order, it is sorted before the first page is given.
    again = list(store.pages("a/", start_after="a/x/02"))
    assert [item.key for found in again for item in found.objects] == KEYS[3:12]
    assert not any(found.in_order for found in again)


@pytest.mark.parametrize("again", [1, 2])
def test_keys_that_come_again_on_the_next_page_are_given_once(server: SmallS3, again: int) -> None:
    server.page, server.again = 4, again
    assert keys(server) == KEYS


def test_an_object_without_an_etag_is_known_by_size_and_time(server: SmallS3) -> None:
    server.etags = False
    store = store_of(server)
    (item, *_) = next(store.pages("b/")).objects
    with store.open(item.key, etag=item.etag, size=item.size) as stream:
        assert stream.read() == b"b/1"
    assert "if-match" not in server.asked[-1].headers
    (server.root / "b/1").write_text("another")
    (other, *_) = next(store.pages("b/")).objects
    assert other.etag != item.etag


_HEAD = b"<ListBucketResult><Name>acme</Name>"
WRONG = {
    "a login page that is XML": (LOGIN, "no listing of S3's"),
    "a login page that is none": (b"<!doctype html><p>Sign in<br>", "is not S3"),
    "nothing": (b"", "no listing of S3's"),
    "half of it": (_HEAD + b"<IsTruncated>fal", "is not S3"),
    "no end in sight": (b"<ListBucketResult><Name>acme</Name></ListBucketResult>", "no listing of S3's"),
    "another bucket": (
        b"<ListBucketResult><Name>other</Name><IsTruncated>false</IsTruncated></ListBucketResult>",
        "the bucket 'other' answered",
    ),
    "no way to go on": (
        _HEAD + b"<IsTruncated>true</IsTruncated></ListBucketResult>",
        "no way to go on",
    ),
    "an object without a size": (
        (
            _HEAD + b"<IsTruncated>false</IsTruncated><Contents><Key>a/1</Key>"
            b"<LastModified>2026-10-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>"
        ),
        "an object without its Size",
    ),
    "another folder": (
        (
            _HEAD + b"<IsTruncated>false</IsTruncated>"
            b"<CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes></ListBucketResult>"
        ),
        "answers with 'b/'",
    ),
    "the same token for ever": (
        (
            _HEAD + b"<IsTruncated>true</IsTruncated>"
            b"<NextContinuationToken>1</NextContinuationToken></ListBucketResult>"
        ),
        "again and again",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_answer_that_is_no_listing_is_no_empty_bucket(server: SmallS3, case: str) -> None:
    body, words = WRONG[case]
    server.on_list = lambda _, answer: answer.but(body)
    with pytest.raises(StoreError, match=words) as caught:
        keys(server, "a/", delimiter="/")
    assert caught.value.remedy


@pytest.mark.parametrize("full", [True, False])
def test_a_listing_that_never_ends_is_given_up(
    server: SmallS3, monkeypatch: pytest.MonkeyPatch, *, full: bool
) -> None:
    monkeypatch.setattr("braze_etl.storage.s3_listing._MOST_EMPTY", 5)
    server.page = 3
    numbers = iter(range(1000))

    def fresh_tokens(asked: Asked, answer: Answer) -> Answer:
        body = answer.body if full else b"<ListBucketResult><Name>acme</Name><x/></ListBucketResult>"
        token = b"<IsTruncated>true</IsTruncated><NextContinuationToken>0%d</NextContinuationToken>"
        begin = body.index(b"</Name>") + 7
        end = body.index(b"<Contents>") if full else begin
        return answer.but(body[:begin] + token % next(numbers) + body[end:])

    server.on_list, server.ignores = fresh_tokens, frozenset({"continuation-token"})
    with pytest.raises(StoreError, match="again and again"):
        keys(server, "a/")
    assert len(server.asked) < 10
