from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from braze_etl.braze.currents.listing import Listing, Selection
from braze_etl.errors import StoreError
from braze_etl.storage.folder import FolderStore
from braze_etl.storage.opening import open_store
from braze_etl.storage.settings import StoreAccess
from braze_etl.storage.store import Page, Store

ONE, TWO = "a" * 24, "b" * 24
SINCE = datetime(2026, 10, 1, 5, tzinfo=UTC)


def _key(event_type: str, hour: str, offset: int = 0, integration: str = ONE, version: int = 6) -> str:
    folder = f"dataexport.prod-01.S3.integration.{integration}"
    below = f"event_type={event_type}/date={hour}/version={version}/us-01"
    return f"currents/{folder}/{below}/{folder}+0+{offset}.avro"


class CountingStore:
    """A store that counts the pages it hands out, and knows what was listed."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self.requests = 0
        self.prefixes: list[str] = []

    @property
    def uri(self) -> str:
        return self._inner.uri

    def pages(self, prefix: str = "", *, start_after: str = "", delimiter: str = "") -> Iterator[Page]:
        self.prefixes.append(prefix)
        for page in self._inner.pages(prefix, start_after=start_after, delimiter=delimiter):
            self.requests += 1
            yield page

    def open(
        self, key: str, *, offset: int = 0, length: int | None = None, etag: str = "", size: int | None = None
    ) -> BinaryIO:
        return self._inner.open(key, offset=offset, length=length, etag=etag)

    def put(self, key: str, data: bytes) -> None:
        self._inner.put(key, data)

    def check_access(self, prefix: str = "", room: int = 0) -> None:
        self._inner.check_access(prefix, room)

    def lifetime(self, prefix: str = "") -> timedelta | None:
        return self._inner.lifetime(prefix)

    def delete(self, keys: Iterable[str]) -> None:
        self._inner.delete(keys)


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> CountingStore:
    if request.param == "folder":
        return CountingStore(FolderStore(tmp_path))
    bucket: Any = request.getfixturevalue("bucket")
    return CountingStore(open_store(bucket.uri, access=StoreAccess(endpoint_url=bucket.endpoint_url))[0])


def _fill(store: CountingStore, keys: Iterable[str]) -> None:
    for key in keys:
        store.put(key, b"content")


def _keys(listing: Listing) -> list[str]:
    return [ref.key for ref in listing]


def test_files_come_by_hour_over_all_event_types_and_integrations(store: CountingStore) -> None:
    expected = [
        _key("b.Click", "2026-10-01-05", 1),
        _key("b.Click", "2026-10-01-05", 2),
        _key("a.Open", "2026-10-01-06"),
        _key("b.Click", "2026-10-01-06"),
        _key("a.Open", "2026-10-01-06", integration=TWO),
        _key("a.Open", "2026-10-01-10"),
        _key("b.Click", "2026-10-02-00", integration=TWO),
    ]
    _fill(store, reversed(expected))
    listing = Listing(store, "currents/", since=SINCE)
    refs = list(listing)
    assert [ref.key for ref in refs] == expected
    assert [ref.event_type for ref in refs[:3]] == ["b.Click", "b.Click", "a.Open"]
    assert refs[0].hour == SINCE
    assert refs[-1].hour == datetime(2026, 10, 2, tzinfo=UTC)
    assert (listing.files, listing.bytes, listing.foreign, listing.unsettled) == (7, 49, 0, 0)


def test_older_hours_are_not_listed_however_many_there_are(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("braze_etl.storage.folder._PAGE_SIZE", 10)
    monkeypatch.setattr("braze_etl.storage.s3._PAGE_SIZE", 10)
    _fill(store, (_key("a.Open", f"2026-09-{day:02}-00") for day in range(1, 31)))
    _fill(store, [_key("a.Open", "2026-10-01-04"), _key("a.Open", "2026-10-01-05")])
    listing = Listing(store, "currents/", since=SINCE)
    assert _keys(listing) == [_key("a.Open", "2026-10-01-05")]
    assert listing.requests == store.requests == 3  # currents/, its integration, the event type


def test_a_late_file_of_an_old_hour_in_range_comes_first(store: CountingStore) -> None:
    _fill(store, [_key("a.Open", "2026-10-03-00"), _key("b.Click", "2026-10-02-00")])
    listing = Listing(store, "currents/", since=SINCE)
    before = _keys(listing)
    late = _key("b.Click", "2026-10-01-07", version=5)
    _fill(store, [late])
    assert _keys(listing) == [late, *before]


def test_listing_ends_before_until(store: CountingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("braze_etl.storage.folder._PAGE_SIZE", 10)
    monkeypatch.setattr("braze_etl.storage.s3._PAGE_SIZE", 10)
    _fill(store, (_key("a.Open", f"2026-10-{day:02}-05") for day in range(1, 31)))
    listing = Listing(store, "currents/", since=SINCE, until=SINCE + timedelta(days=2))
    assert _keys(listing) == [_key("a.Open", "2026-10-01-05"), _key("a.Open", "2026-10-02-05")]
    assert listing.requests == 3


def test_what_is_not_selected_is_not_listed(store: CountingStore) -> None:
    wanted = _key("a.Open", "2026-10-01-05")
    _fill(store, [wanted, _key("b.Click", "2026-10-01-05"), _key("a.Open", "2026-10-01-05", integration=TWO)])
    selection = Selection(integrations=(f"!{TWO}",), event_types=("*", "!b.*"))
    listing = Listing(store, "currents/", selection, since=SINCE)
    assert _keys(listing) == [wanted]
    assert not any("b.Click" in prefix or TWO in prefix for prefix in store.prefixes)


def test_other_objects_are_counted_and_left_alone(store: CountingStore) -> None:
    wanted = _key("a.Open", "2026-10-01-05")
    inside = wanted.rpartition("/")[0]
    others = ["currents/users.csv", "currents/notes/readme.txt", f"{inside}/manifest.json"]
    wrong = _key("a.Open", "2026-99-01-05")
    _fill(store, [wanted, *others, wrong])
    listing = Listing(store, "currents/", since=SINCE)
    assert _keys(listing) == [wanted]
    assert listing.foreign == 4


def test_the_root_may_lie_at_any_depth_or_the_source_inside_it(store: CountingStore) -> None:
    wanted = _key("a.Open", "2026-10-01-05")
    deep = f"export/2026/{wanted}"
    _fill(store, [wanted, deep])
    assert _keys(Listing(store, "", since=SINCE)) == [wanted, deep]
    folder = wanted.partition("event_type=")[0]
    for prefix in (folder, f"{folder}event_type=a.Open/", f"{folder}event_type=a.Open/date=2026-10-01-05/"):
        assert _keys(Listing(store, prefix, since=SINCE)) == [wanted]
        assert _keys(Listing(store, prefix, since=SINCE + timedelta(hours=1))) == []
    inside = f"{folder}event_type=a.Open/"
    assert _keys(Listing(store, inside, Selection(event_types=("b.*",)), since=SINCE)) == []


def test_a_copy_of_one_connectors_folder_is_selected_by_its_files(tmp_path: Path) -> None:
    store = CountingStore(FolderStore(tmp_path))
    inside = [
        _key("a.Open", "2026-10-01-05", integration=name).split("/", maxsplit=2)[2] for name in (ONE, TWO)
    ]
    _fill(store, inside)
    assert _keys(Listing(store, selection=Selection(integrations=(ONE,)), since=SINCE)) == inside[:1]


def test_young_files_wait(tmp_path: Path) -> None:
    store = CountingStore(FolderStore(tmp_path))
    old, young = _key("a.Open", "2026-10-01-05", 1), _key("a.Open", "2026-10-01-05", 2)
    _fill(store, [old, young])
    cutoff = datetime(2026, 10, 1, 6, tzinfo=UTC)
    os.utime(tmp_path / old, (cutoff.timestamp() - 1,) * 2)
    os.utime(tmp_path / young, (cutoff.timestamp(),) * 2)
    listing = Listing(store, "currents/", since=SINCE, settled_before=cutoff)
    assert _keys(listing) == [old]
    assert listing.unsettled == 1


def test_listing_is_lazy(store: CountingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("braze_etl.storage.folder._PAGE_SIZE", 5)
    monkeypatch.setattr("braze_etl.storage.s3._PAGE_SIZE", 5)
    _fill(store, (_key("a.Open", "2026-10-01-05", number) for number in range(20)))
    listing = iter(Listing(store, "currents/", since=SINCE))
    next(listing)
    assert store.requests == 3
    assert len(list(listing)) == 19
    assert store.requests >= 6


def test_a_source_that_holds_something_else_ends_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("braze_etl.braze.currents.listing.MAX_FOLDERS", 20)
    for number in range(30):
        (tmp_path / f"folder-{number}").mkdir()
    with pytest.raises(StoreError, match="more than 20 folders") as caught:
        list(Listing(FolderStore(tmp_path), since=SINCE))
    assert "source.uri" in caught.value.remedy


def test_an_empty_source_has_no_files(store: CountingStore) -> None:
    listing = Listing(store, "currents/", since=SINCE)
    assert _keys(listing) == []
    assert listing.requests <= 1


def test_folder_markers_are_no_objects(bucket: Any) -> None:
    store = CountingStore(open_store(bucket.uri, access=StoreAccess(endpoint_url=bucket.endpoint_url))[0])
    wanted = _key("a.Open", "2026-10-01-05")
    _fill(store, [wanted])
    for marker in ("currents/", f"{wanted.rpartition('/')[0]}/"):
        store.put(marker, b"")
    listing = Listing(store, "currents/", since=SINCE)
    assert _keys(listing) == [wanted]
    assert listing.foreign == 0
