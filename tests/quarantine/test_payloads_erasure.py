from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from braze_etl.errors import StoreError
from braze_etl.model import Record, SetAside
from braze_etl.quarantine.entry import Entry
from braze_etl.quarantine.payloads import Found
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.storage.opening import open_store
from braze_etl.storage.settings import StoreAccess
from tests.quarantine.conftest import NOON, PREFIX, FakeStore, aside
from tests.s3_server import Bucket


class Anna:
    def are_in(self, record: Record) -> bool:
        return bool(record["external_user_id"] == "anna")

    def blot_out(self, text: str) -> str:
        return text.replace("anna", "[erased]")


def kept(number: int, who: str, detail: str = "words") -> SetAside:
    return replace(aside(number, detail=detail), payload={"id": f"r{number}", "external_user_id": who})


def fill(quarantine: Quarantine) -> None:
    quarantine.file("run-1", NOON, [kept(1, "anna", "bad id anna"), kept(2, "bert"), aside(3)])
    quarantine.file("run-2", NOON + timedelta(days=2), [kept(4, "anna")])


def test_their_records_are_gone_and_every_entry_stays(store: FakeStore, quarantine: Quarantine) -> None:
    fill(quarantine)
    before = list(quarantine.entries())
    assert quarantine.erase(Anna()) == (Found(3, 2), Found(4, 1))
    assert not any(b"anna" in data for data in store.objects.values())
    after = list(Quarantine(store, PREFIX).entries())
    assert [entry.id for entry in after] == [entry.id for entry in before]
    assert [entry.detail for entry in after] == ["bad id [erased]", "words", "in Amplitude's words", "words"]
    days = [NOON.date(), (NOON + timedelta(days=2)).date()]
    left = quarantine.payloads([entry.id for entry in after], days, NOON)
    assert [record["external_user_id"] for record in left.values()] == ["bert"]
    assert quarantine.depth() == 4


def test_a_second_time_nothing_is_found_and_nothing_written(store: FakeStore, quarantine: Quarantine) -> None:
    fill(quarantine)
    quarantine.erase(Anna())
    writes = store.puts
    assert quarantine.erase(Anna()) == (Found(1, 0), Found(4, 0))
    assert store.puts == writes


def test_a_rehearsal_removes_nothing(store: FakeStore, quarantine: Quarantine) -> None:
    fill(quarantine)
    before = dict(store.objects)
    assert quarantine.erase(Anna(), dry_run=True) == (Found(3, 2), Found(4, 1))
    assert store.objects == before


def test_what_was_erased_is_filed_no_second_time(quarantine: Quarantine) -> None:
    fill(quarantine)
    quarantine.erase(Anna())
    assert quarantine.file("run-3", NOON, [kept(1, "anna", "bad id anna")]) == 0
    assert quarantine.payload(Entry.of(aside(1), "run-1", NOON), NOON) is None


@pytest.mark.parametrize("writes", range(6))
def test_an_erasure_that_broke_off_is_finished_by_the_next(
    store: FakeStore, quarantine: Quarantine, writes: int
) -> None:
    fill(quarantine)
    store.breaks_after = writes
    try:
        quarantine.erase(Anna())
    except StoreError:
        store.breaks_after = 100
        quarantine.erase(Anna())
    assert not any(b"anna" in data for data in store.objects.values())
    assert len(list(quarantine.entries())) == 4


def test_a_segment_that_another_release_has_named_is_replaced(
    store: FakeStore, quarantine: Quarantine
) -> None:
    fill(quarantine)
    (key,) = (key for key, data in store.objects.items() if b"bad id anna" in data)
    store.objects[f"{key.rpartition('/')[0]}/{'0' * 16}-3.jsonl"] = store.objects.pop(key)
    assert quarantine.erase(Anna())[1] == Found(4, 1)
    assert not any(b"anna" in data for data in store.objects.values())
    assert len(list(quarantine.entries())) == 4


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_it_is_the_same_on_every_store(where: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    uri, access = str(tmp_path / "aside"), StoreAccess()
    if where == "s3":
        bucket: Bucket = request.getfixturevalue("bucket")
        uri, access = f"{bucket.uri}/aside", StoreAccess(endpoint_url=bucket.endpoint_url)
    store, prefix = open_store(uri, access=access, must_exist=False)
    quarantine = Quarantine(store, prefix)
    fill(quarantine)
    assert quarantine.erase(Anna()) == (Found(3, 2), Found(4, 1))
    for page in store.pages(prefix):
        for stored in page.objects:
            with store.open(stored.key) as stream:
                assert b"anna" not in stream.read()
    assert quarantine.depth() == 4
