from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from braze_etl.clock import ManualClock
from braze_etl.errors import StoreError
from braze_etl.model import SetAside
from braze_etl.quarantine import payloads as _payloads
from braze_etl.quarantine.entry import EVERYTHING, Entry
from braze_etl.quarantine.quarantine import Quarantine
from tests.quarantine.conftest import NOON, PREFIX, FakeStore, aside

DAY = timedelta(days=1)
TTL = timedelta(days=30)


def kept(number: int) -> SetAside:
    return replace(aside(number), payload={"id": f"record-{number}", "external_user_id": "anna"})


def entry(number: int) -> Entry:
    return Entry.of(aside(number), "run-1", NOON)


def payload(quarantine: Quarantine, number: int, **later: Any) -> Any:
    return quarantine.payload(entry(number), NOON + timedelta(**later))


def test_a_payload_is_kept_beside_its_entry_and_never_in_it(store: FakeStore, quarantine: Quarantine) -> None:
    quarantine.file("run-1", NOON, [kept(1), aside(2)])
    assert payload(quarantine, 1) == {"id": "record-1", "external_user_id": "anna"}
    assert payload(quarantine, 2) is None
    assert quarantine.depth() == 2
    entries = [data for key, data in store.objects.items() if "payloads" not in key]
    assert len(entries) == 1
    assert b"anna" not in entries[0]
    assert "anna" not in repr(kept(1))


def test_without_payloads_nothing_of_them_is_stored(store: FakeStore, quarantine: Quarantine) -> None:
    quarantine.file("run-1", NOON, [aside(1)])
    assert not any("payloads" in key for key in store.objects)


def test_an_expired_payload_is_never_shown_and_is_removed_with_its_day(
    store: FakeStore, quarantine: Quarantine
) -> None:
    clock = ManualClock(NOON)
    quarantine.file("run-1", clock.now(), [kept(1)])
    clock.advance(TTL.total_seconds() - 1)
    assert quarantine.payload(entry(1), clock.now())
    assert quarantine.expire_payloads(clock.now()) == 0
    clock.advance(1)
    assert quarantine.payload(entry(1), clock.now()) is None
    clock.advance(DAY.total_seconds())
    assert quarantine.payloads([entry(1).id], [NOON.date()], clock.now()) == {}
    assert quarantine.expire_payloads(clock.now()) == 1
    assert not any("payloads" in key for key in store.objects)
    assert [each.id for each in quarantine.entries()] == [entry(1).id]


def test_expiry_looks_into_nothing(store: FakeStore, quarantine: Quarantine) -> None:
    for day in range(3):
        quarantine.file("run-1", NOON + day * DAY, [kept(day)])
    before = store.reads
    assert quarantine.expire_payloads(NOON + TTL + 2 * DAY) == 2
    assert store.reads == before


def test_the_time_to_live_is_the_projects_own(store: FakeStore) -> None:
    short = Quarantine(store, PREFIX, payload_ttl=timedelta(hours=1))
    short.file("run-1", NOON, [kept(1)])
    assert payload(short, 1, minutes=59)
    assert payload(short, 1, minutes=60) is None


def test_a_payload_goes_with_its_entry(store: FakeStore, quarantine: Quarantine) -> None:
    quarantine.file("run-1", NOON, [kept(1), kept(2)])
    quarantine.remove([entry(1).id])
    assert payload(quarantine, 1) is None
    assert payload(quarantine, 2)
    quarantine.remove(EVERYTHING)
    assert store.objects == {}


def test_payloads_are_looked_up_by_id_and_day(quarantine: Quarantine) -> None:
    quarantine.file("run-1", NOON, [kept(1), kept(2)])
    quarantine.file("run-1", NOON + DAY, [kept(3)])
    ids = [entry(number).id for number in (1, 3, 4)]
    found = quarantine.payloads(ids, [NOON.date(), (NOON + DAY).date()], NOON)
    assert {id_: record["id"] for id_, record in found.items()} == {ids[0]: "record-1", ids[1]: "record-3"}
    assert list(quarantine.payloads(ids, [NOON.date()], NOON)) == ids[:1]


@pytest.mark.parametrize("writes", range(3))
def test_filing_that_broke_off_is_made_good_by_filing_again(
    store: FakeStore, quarantine: Quarantine, writes: int
) -> None:
    store.breaks_after = writes
    try:
        quarantine.file("run-1", NOON, [kept(1)])
    except StoreError:
        store.breaks_after = 10
        assert Quarantine(store, PREFIX).file("run-1", NOON, [kept(1)]) == 1
    assert payload(quarantine, 1)
    assert len(store.objects) == 2


@pytest.mark.parametrize("writes", range(4))
def test_a_removal_that_broke_off_leaves_no_payload_behind(
    store: FakeStore, quarantine: Quarantine, writes: int
) -> None:
    quarantine.file("run-1", NOON, [kept(1), kept(2)])
    store.breaks_after = writes
    with pytest.raises(StoreError):
        quarantine.remove([entry(1).id])
    store.breaks_after = 100
    quarantine.remove([entry(1).id])
    assert payload(quarantine, 1) is None
    assert payload(quarantine, 2)
    assert quarantine.depth() == 1


def test_many_payloads_are_split_over_several_objects(
    store: FakeStore, quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_payloads, "OBJECT_PAYLOADS", 10)
    quarantine.file("run-1", NOON, [kept(number) for number in range(25)])
    assert sum("payloads" in key for key in store.objects) == 3
    assert all(payload(quarantine, number) for number in range(25))


def test_a_number_that_json_has_none_for_is_kept_as_null(quarantine: Quarantine) -> None:
    quarantine.file("run-1", NOON, [replace(aside(1), payload={"price": float("nan")})])
    assert payload(quarantine, 1) == {"price": None}
