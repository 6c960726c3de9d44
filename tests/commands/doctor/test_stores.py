from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.commands.doctor.conftest import MakeSite, in_s3, keys, look
from tests.deploy.gatekeeper import gatekeeper
from tests.deploy.policies import Grant
from tests.front import BareEtags
from tests.s3_server import Bucket
from tests.serving import serving
from tests.workplace import Workplace

STATE = ("state.list", "state.put", "state.get", "state.conditions", "state.delete")
QUARANTINE = ("quarantine.list", "quarantine.put", "quarantine.get", "quarantine.delete")
RIGHTS = {
    "s3:ListBucket": ("state.list", "quarantine.list"),
    "s3:PutObject": ("state.put", "quarantine.put"),
    "s3:GetObject": ("state.get", "quarantine.get"),
    "s3:DeleteObject": ("state.delete", "quarantine.delete"),
}


@contextmanager
def without(bucket: Bucket, right: str) -> Iterator[dict[str, Any]]:
    """Sections for state and quarantine, with all rights but one."""
    given = [
        Grant(action, f"arn:aws:s3:::{bucket.name}{'' if action == 's3:ListBucket' else '/*'}")
        for action in RIGHTS
        if action != right
    ]
    with gatekeeper(bucket.endpoint_url, given) as gate:
        yield in_s3(Bucket(bucket.name, bucket.uri, gate.url))


def test_all_rights_on_s3_are_found_and_nothing_is_left_behind(make_site: MakeSite, bucket: Bucket) -> None:
    site = make_site(**in_s3(bucket))
    for names in (STATE, QUARANTINE):
        assert [look(site, *names[: number + 1]).status for number in range(len(names))] == ["ok"] * len(
            names
        )
    assert keys(bucket) == []


@pytest.mark.parametrize("right", RIGHTS)
def test_a_right_that_is_missing_is_named(make_site: MakeSite, bucket: Bucket, right: str) -> None:
    for check in RIGHTS[right]:
        with without(bucket, right) as sections:
            names = STATE if check.startswith("state") else QUARANTINE
            found = look(make_site(**sections), *names[: names.index(check) + 1])
        assert found.status == "fail"
        assert "denied" in found.seen or right in found.seen or "AccessDenied" in found.seen
        assert found.remedy


def test_a_store_that_ignores_conditions_is_refused(
    make_site: MakeSite, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    from braze_etl.storage.s3 import S3ConditionalStore

    def careless(self: S3ConditionalStore, key: str, data: bytes, *_etag: str) -> str:
        self.put(key, data)
        return '"an etag"'

    site = make_site(**in_s3(bucket))
    monkeypatch.setattr(S3ConditionalStore, "replace", careless)
    assert "ignores If-Match" in look(site, *STATE[:4]).seen
    monkeypatch.setattr(S3ConditionalStore, "create", careless)
    found = look(site, *STATE[:4])
    assert (found.status, "ignores If-None-Match" in found.seen) == ("fail", True)


def test_a_store_that_wants_etags_without_quotes_is_well(make_site: MakeSite, bucket: Bucket) -> None:
    with serving(BareEtags(bucket.endpoint_url)) as front:
        site = make_site(**in_s3(Bucket(bucket.name, bucket.uri, front.url)))
        found = [look(site, *STATE[: number + 1]) for number in range(len(STATE))]
    assert [each.status for each in found] == ["ok"] * len(STATE)
    assert "no quotes" in found[3].seen
    assert keys(bucket) == []


def test_the_clock_of_the_store_is_heard(make_site: MakeSite, bucket: Bucket) -> None:
    site = make_site(**in_s3(bucket))
    look(site, *STATE[:3])
    assert "S3 (state)" in site.server_times


def test_on_a_disk_the_rights_are_looked_at_and_no_folder_is_made(
    make_site: MakeSite, workplace: Workplace
) -> None:
    site = make_site()
    assert "will be made" in look(site, "state.put").seen
    assert look(site, "quarantine.put").status == "ok"
    assert look(site, "state.list").status == "skipped"
    assert not (workplace.folder / "state").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_fails(make_site: MakeSite, workplace: Workplace) -> None:
    (workplace.folder / "state").mkdir(mode=0o500)
    assert look(make_site(), "state.put").status == "fail"


def test_a_folder_without_rights_is_told_for_root_too(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("braze_etl.commands.doctor.stores.is_writable", lambda _: False)
    found = look(make_site(), "quarantine.put")
    assert (found.status, "right to write" in found.remedy) == ("fail", True)


@pytest.mark.parametrize(
    ("check", "left"),
    [
        ("state.put", "state/braze-etl.db"),
        ("state.put", "state/braze-etl.db.lock"),
        ("state.put", "state/braze-etl.db-journal"),
        ("quarantine.put", "state/quarantine/2026-10-02/a.jsonl"),
        ("quarantine.put", "state/quarantine/payloads/2026-10-02/a.jsonl"),
    ],
)
def test_what_another_user_left_behind_is_told(
    make_site: MakeSite, workplace: Workplace, monkeypatch: pytest.MonkeyPatch, check: str, left: str
) -> None:
    path = workplace.folder / left
    path.parent.mkdir(parents=True)
    path.touch()
    owned = path.parent if check == "quarantine.put" else path
    assert look(make_site(), check).status == "ok"
    monkeypatch.setattr(
        "braze_etl.commands.doctor.stores.is_writable", lambda each: each.absolute() != owned.absolute()
    )
    found = look(make_site(), check)
    assert (found.status, "another user" in found.remedy) == ("fail", True)
    assert owned.name in found.seen


def test_a_refused_read_of_the_state_speaks_of_rights_alone(make_site: MakeSite, bucket: Bucket) -> None:
    with without(bucket, "s3:GetObject") as sections:
        found = look(make_site(**sections), "state.list", "state.put", "state.get")
    assert (found.status, "s3:GetObject" in found.remedy, "replay" in found.remedy) == ("fail", True, False)
