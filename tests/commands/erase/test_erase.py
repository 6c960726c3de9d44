from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from braze_etl.clock import ManualClock
from braze_etl.commands.erase.erase import erase
from braze_etl.errors import ConfigError, LeaseHeldError
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.currents_to_amplitude.verification.expected import ERASED_NOTE, mark_of
from braze_etl.flows.pipeline import open_quarantine, open_state
from braze_etl.mapping.id_cache import IdCache, cache_folder
from braze_etl.mapping.lookup import AS_THEY_COME, LookupColumns, open_lookup
from braze_etl.model import Position, Reason, SetAside
from braze_etl.state.ledger import LeaseOwner, RunRecord
from braze_etl.storage.settings import StoreAccess
from tests.s3_server import Bucket

NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def configured(**sections: Any) -> Settings:
    plain = {"source": {"uri": "export"}, "amplitude": {"region": "US"}}
    return Settings.model_validate({**plain, **sections})


def in_bucket(bucket: Bucket) -> Settings:
    return configured(
        source={"uri": "export", "endpoint_url": bucket.endpoint_url},
        state={"uri": f"{bucket.uri}/state"},
        quarantine={"uri": f"{bucket.uri}/aside"},
    )


def kept(number: int, detail: str = "", **record: object) -> SetAside:
    payload = {"id": f"r{number}", "external_user_id": None, **record}
    return SetAside(Position("a", "e", 1, number), "Open", Reason.REJECTED, detail, payload)


def fill(settings: Settings, clock: ManualClock) -> None:
    """Store a person everywhere that one can come to lie."""
    records = [
        kept(0, "HTTP 400: bad user anna-1", external_user_id="anna-1"),
        kept(1, device_id="anna-1"),
        kept(2, external_user_id="bert-2"),
    ]
    open_quarantine(settings).file("run-1", NOW, records)
    report = {"error": {"type": "DeliveryError", "message": "the last one: no anna-1", "remedy": "Look."}}
    with closing(open_state(settings, clock)) as ledger:
        ledger.finish_run(RunRecord("run-1", "run", NOW, NOW, 1, {"pipeline": "anna-1", **report}))
        ledger.finish_run(RunRecord("run-2", "run", NOW, NOW, 0, {"events": {}}))
        ledger.put_note("another", {"of": "anna-1"})


def found(receipt: dict[str, Any]) -> int:
    done = "found" if receipt["dry_run"] else "removed"
    return sum(each[done] for each in receipt["places"].values())


@pytest.mark.parametrize("place", ["here", "bucket"])
def test_a_person_is_removed_from_every_place_and_the_books_stay(
    place: str, request: pytest.FixtureRequest, clock: ManualClock
) -> None:
    settings = configured() if place == "here" else in_bucket(request.getfixturevalue("bucket"))
    fill(settings, clock)
    receipt = erase(settings, "anna-1", clock)
    assert receipt["places"] == {
        "run_reports": {"looked_at": 2, "removed": 1},
        "quarantine_records": {"looked_at": 3, "removed": 2},
        "quarantine_details": {"looked_at": 3, "removed": 1},
        "lookup_copies": {"looked_at": 0, "removed": 0},
    }
    quarantine = open_quarantine(settings)
    entries = list(quarantine.entries())
    assert [entry.detail for entry in entries] == ["HTTP 400: bad user [erased]", "", ""]
    assert [quarantine.payload(entry, NOW) is None for entry in entries] == [True, True, False]
    with closing(open_state(settings, clock)) as ledger:
        second, first = ledger.runs(10)
        assert first.report["error"]["message"] == "the last one: no [erased]"
        assert first.report["pipeline"] == "anna-1"  # a name that somebody chose is no person
        assert second.report == {"events": {}}
        assert mark_of("", "anna-1") in ledger.get_note(ERASED_NOTE)["ids"]
        assert ledger.holder() is None
    assert found(erase(settings, "anna-1", clock)) == 0


def test_the_receipt_names_nobody_and_says_what_is_left_to_do(clock: ManualClock) -> None:
    settings = configured(mapping={"privacy": {"salt": "pepper"}})
    fill(settings, clock)
    facts = erase(settings, "anna-1", clock)
    digest = sha256(b"pepperanna-1").hexdigest()
    assert (facts["id_sha256"], facts["salted"], facts["suppressed"]) == (digest, True, False)
    assert facts["erased_at"] == "2026-10-05T12:00:00Z"
    assert facts["places"]["quarantine_records"] == {"looked_at": 3, "removed": 2}
    assert "anna-1" not in str(facts)
    left = {each["place"]: each["remedy"] for each in facts["beyond_reach"]}
    assert f"add sha256:{digest} to a list" in left["the source export"]
    assert "User Privacy API" in left["the Amplitude project default"]
    assert "/users/delete" in left["Braze"]


def test_whoever_is_suppressed_is_found_and_need_not_be_added(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "list.txt").write_text("anna-1\n")
    mapping = {"privacy": {"suppress": "list.txt"}, "identity": {"user_prefix": "shop:"}}
    settings = configured(mapping=mapping)
    fill(settings, clock)
    receipt = erase(settings, "shop:anna-1", clock)
    assert receipt["places"]["quarantine_records"]["removed"] == 1
    assert not receipt["suppressed"]
    receipt = erase(settings, "anna-1", clock)
    assert receipt["suppressed"]
    assert "until then" not in receipt["beyond_reach"][0]["remedy"]


def test_a_rehearsal_changes_nothing_and_needs_no_lease(clock: ManualClock) -> None:
    settings = configured()
    fill(settings, clock)
    with closing(open_state(settings, clock)) as ledger, ledger.lease(LeaseOwner("r1", "host", 1, "run")):
        receipt = erase(settings, "anna-1", clock, dry_run=True)
    assert found(receipt) == 4
    assert receipt["places"]["run_reports"] == {"looked_at": 2, "found": 1}
    assert found(erase(settings, "anna-1", clock)) == 4


def test_nothing_is_erased_while_a_run_is_at_work(clock: ManualClock) -> None:
    settings = configured()
    fill(settings, clock)
    with (
        closing(open_state(settings, clock)) as ledger,
        ledger.lease(LeaseOwner("r1", "host", 1, "run")),
        pytest.raises(LeaseHeldError, match="r1"),
    ):
        erase(settings, "anna-1", clock)
    assert found(erase(settings, "anna-1", clock)) == 4


def test_no_ledger_is_made_for_it(tmp_path: Path, clock: ManualClock) -> None:
    settings = configured()
    open_quarantine(settings).file("run-1", NOW, [kept(1, external_user_id="anna-1")])
    receipt = erase(settings, "anna-1", clock)
    assert receipt["places"]["quarantine_records"] == {"looked_at": 1, "removed": 1}
    assert "run_reports" not in receipt["places"]
    assert not (tmp_path / "state" / "braze-etl.db").exists()


def test_a_list_that_is_missing_stops_it_before_anything_is_touched(clock: ManualClock) -> None:
    fill(configured(), clock)
    with pytest.raises(ConfigError, match="no suppress list"):
        erase(configured(mapping={"privacy": {"suppress": "absent.txt"}}), "anna-1", clock)
    assert found(erase(configured(), "anna-1", clock)) == 4


def test_a_copy_of_the_look_up_table_goes_when_it_holds_the_person(
    tmp_path: Path, clock: ManualClock
) -> None:
    (tmp_path / "ids.csv").write_text("anna-1,amp-1\nbert-2,amp-2\n")
    settings = configured(mapping={"identity": {"lookup": {"uri": "ids.csv"}}})
    fill(settings, clock)
    for columns in (AS_THEY_COME, LookupColumns("table of before", "anna-1", "amp-1")):
        with open_lookup("ids.csv", StoreAccess(), columns) as table:
            assert table.find("bert-2") == "amp-2"
    assert erase(settings, "nobody", clock)["places"]["lookup_copies"] == {"looked_at": 2, "removed": 0}
    assert erase(settings, "bert-2", clock, dry_run=True)["places"]["lookup_copies"] == {
        "looked_at": 2,
        "found": 2,
    }
    # Known in Amplitude by the value, the person is found in records by the key.
    receipt = erase(settings, "amp-2", clock)
    assert receipt["places"]["lookup_copies"] == {"looked_at": 2, "removed": 2}
    assert receipt["places"]["quarantine_records"] == {"looked_at": 3, "removed": 1}
    assert not list(cache_folder().glob("*.sqlite"))
    assert IdCache(cache_folder()).folder == tmp_path / "cache" / "braze_etl"
    assert any("look-up table ids.csv" in each["place"] for each in receipt["beyond_reach"])
