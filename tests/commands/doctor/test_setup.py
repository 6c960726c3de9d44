from __future__ import annotations

import pytest

from tests.commands.doctor.conftest import Bare, MakeSite, look
from tests.workplace import Workplace


def test_a_valid_configuration_is_fine_and_a_failing_mapping_test_is_not(make_site: MakeSite) -> None:
    record = {"event_type": "users.messages.email.Open", "record": {}}
    assert look(make_site(), "config").status == "ok"
    mapping = {"tests": [{**record, "event": {"event_type": "Other"}}]}
    found = look(make_site(mapping=mapping), "config")
    assert found.status == "fail"
    assert "1 of 1 tests" in found.seen


def test_variables_that_are_not_set_are_named(make_site: MakeSite) -> None:
    found = look(make_site(amplitude={"api_key": "${AMPLITUDE_API_KEY}"}), "environment")
    assert found.status == "fail"
    assert "AMPLITUDE_API_KEY" in found.seen
    assert look(make_site(amplitude={"api_key": ""}), "environment").status == "fail"
    assert look(make_site(), "environment").status == "ok"


def test_versions_are_told(make_site: MakeSite) -> None:
    assert "boto3" in look(make_site(), "versions").seen


@pytest.mark.parametrize(("free", "status"), [(10**12, "ok"), (5 * 10**8, "warn"), (10**7, "fail")])
def test_a_full_disk_is_told(make_site: MakeSite, free: int, status: str) -> None:
    assert look(make_site(machine=Bare(free=free)), "disk").status == status


@pytest.mark.parametrize(
    ("sign", "kind", "status"),
    [
        ("", "overlay", "ok"),
        ("/.dockerenv is there", "overlay", "warn"),
        ("/.dockerenv is there", "tmpfs", "warn"),
        ("/.dockerenv is there", "ext4", "ok"),
    ],
)
def test_a_ledger_that_a_container_forgets_is_told(
    make_site: MakeSite, sign: str, kind: str, status: str
) -> None:
    found = look(make_site(machine=Bare(sign, kind)), "container")
    assert found.status == status
    if status == "warn":
        assert sign in found.seen
        assert "S3" in found.remedy


def test_a_ledger_in_s3_is_safe_from_that(make_site: MakeSite) -> None:
    site = make_site(machine=Bare("in a pod", "overlay"), state={"uri": "s3://acme/ledger"})
    assert look(site, "container").status == "ok"


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"state": {"uri": "sqlite:///export/state.db"}}, "the state sqlite:///export/state.db lies below"),
        ({"quarantine": {"uri": "export/aside"}}, "the quarantine export/aside lies below the source"),
        (
            {"state": {"uri": "s3://acme/x"}, "quarantine": {"uri": "s3://acme/x/quarantine"}},
            "the quarantine s3://acme/x/quarantine lies below the state",
        ),
    ],
)
def test_places_that_lie_in_each_other_are_told(
    make_site: MakeSite, sections: dict[str, dict[str, str]], words: str
) -> None:
    found = look(make_site(**sections), "places")
    assert (found.status, found.seen.startswith(words)) == ("warn", True)


def test_places_that_lie_apart_are_fine(make_site: MakeSite) -> None:
    assert look(make_site(), "places").status == "ok"
    beside = {"state": {"uri": "s3://acme/x"}, "quarantine": {"uri": "s3://acme/x-quarantine"}}
    assert look(make_site(**beside), "places").status == "ok"


def test_lists_of_people_have_to_be_there(make_site: MakeSite, workplace: Workplace) -> None:
    assert look(make_site(), "mapping.people").status == "skipped"
    mapping = {"privacy": {"suppress": "people.txt"}, "identity": {"lookup": {"uri": "users.csv"}}}
    assert look(make_site(mapping=mapping), "mapping.people").status == "fail"
    (workplace.folder / "people.txt").write_text("anna\n")
    missing = look(make_site(mapping=mapping), "mapping.people")
    assert (missing.status, "users.csv" in missing.seen) == ("fail", True)
    (workplace.folder / "users.csv").write_text("key,value\na,b\n")
    assert look(make_site(mapping=mapping), "mapping.people").status == "ok"


def test_the_folder_of_their_copies_has_to_take_them(
    make_site: MakeSite, workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("braze_etl.commands.doctor.setup.is_writable", lambda _: False)
    (workplace.folder / "people.txt").write_text("anna\n")
    found = look(make_site(mapping={"privacy": {"suppress": "people.txt"}}), "mapping.people")
    assert (found.status, "XDG_CACHE_HOME" in found.remedy) == ("fail", True)
