from __future__ import annotations

from datetime import UTC, datetime, timedelta

import boto3
import pytest

from braze_etl.clock import ManualClock
from braze_etl.run.checks import Site
from tests.conftest import Bucket
from tests.run.checks.conftest import MakeSite, expire, look
from tests.workplace import Workplace

OPENS = ("users.messages.email.Open",)
START = datetime(2026, 10, 1, tzinfo=UTC)
READ = ("source.list", "source.read")


@pytest.fixture
def at_the_time(make_site: MakeSite, workplace: Workplace) -> Site:
    """A site a while after three hours of opens were written."""
    workplace.export(events=200, start=START, event_types=OPENS)
    return make_site(clock=ManualClock(START + timedelta(hours=4)))


def upload(place: Workplace, bucket: Bucket) -> dict[str, str]:
    """Put the export into a bucket; the section that names it."""
    client = boto3.client("s3", endpoint_url=bucket.endpoint_url)
    for path in place.files():
        key = f"currents/{path.relative_to(place.source).as_posix()}"
        client.put_object(Bucket=bucket.name, Key=key, Body=path.read_bytes())
    return {"uri": f"{bucket.uri}/currents", "endpoint_url": bucket.endpoint_url}


def test_a_source_that_can_be_read_is_fine(at_the_time: Site) -> None:
    assert look(at_the_time, "source.list").seen.endswith("1 event types")
    assert look(at_the_time, "source.list", "source.fresh").status == "ok"
    found = look(at_the_time, *READ)
    assert found.status == "ok"
    assert "codecs: null" in found.seen


def test_a_source_that_is_not_there_fails_and_skips_what_hangs_on_it(make_site: MakeSite) -> None:
    site = make_site(source={"uri": "nowhere"})
    assert look(site, "source.list").status == "fail"
    assert look(site, *READ).status == "skipped"


def test_a_source_without_event_types_tells_where_to_point(make_site: MakeSite) -> None:
    found = look(make_site(), "source.list")
    assert (found.status, "dataexport." in found.remedy) == ("fail", True)


@pytest.mark.parametrize(("later", "status"), [(4, "ok"), (12, "warn"), (24 * 30, "fail")])
def test_a_bucket_that_braze_no_longer_writes_to_is_told(
    make_site: MakeSite, workplace: Workplace, bucket: Bucket, later: int, status: str
) -> None:
    workplace.export(events=50, start=START, event_types=OPENS)
    site = make_site(source=upload(workplace, bucket), clock=ManualClock(START + timedelta(hours=later)))
    assert look(site, "source.list", "source.fresh").status == status
    assert look(site, *READ).status == "ok"


def test_files_at_fault_are_told_beside_those_that_are_good(at_the_time: Site, workplace: Workplace) -> None:
    (newest,) = workplace.files()[-1:]
    folder = newest.parents[3].with_name("event_type=users.messages.email.Click") / "date=2026-10-01-02"
    folder.mkdir(parents=True)
    (folder / newest.name).write_bytes(newest.read_bytes()[:-5])
    found = look(at_the_time, *READ)
    assert (found.status, "1 files at fault" in found.seen) == ("warn", True)


def test_a_file_that_nobody_can_read_fails(at_the_time: Site, workplace: Workplace) -> None:
    for path in workplace.files():
        path.write_bytes(b"no Avro")
    assert look(at_the_time, *READ).status == "fail"


@pytest.mark.parametrize(("days", "status"), [(1, "fail"), (10, "warn"), (90, "ok")])
def test_a_rule_that_deletes_files_too_early_is_told(
    make_site: MakeSite, workplace: Workplace, bucket: Bucket, days: int, status: str
) -> None:
    workplace.export(events=20, event_types=OPENS)
    expire(bucket, "currents/", days)
    site = make_site(source=upload(workplace, bucket), quarantine={"payload": False})
    assert look(site, "source.list", "source.lifecycle").status == status


def test_without_a_rule_nothing_is_deleted(at_the_time: Site) -> None:
    assert look(at_the_time, "source.list", "source.lifecycle").status == "ok"


def test_connectors_that_write_the_same_types_are_told(make_site: MakeSite, workplace: Workplace) -> None:
    clock = ManualClock(START + timedelta(hours=4))
    workplace.export(events=50, start=START, event_types=OPENS)
    assert look(make_site(clock=clock), "source.list", "source.connectors").status == "ok"
    workplace.export(events=50, start=START, event_types=OPENS, integrations=2)
    found = look(make_site(clock=clock), "source.list", "source.connectors")
    assert (found.status, OPENS[0] in found.seen) == ("warn", True)


def test_a_mapping_that_sends_nothing_fails(make_site: MakeSite, workplace: Workplace) -> None:
    workplace.export(events=20, event_types=OPENS)
    assert look(make_site(), "source.list", "mapping.sends").seen.startswith("1 event types are sent")
    site = make_site(mapping={"choose": {"include": ["users.messages.email.Click"]}})
    found = look(site, "source.list", "mapping.sends")
    assert (found.status, "1 not_selected" in found.seen) == ("fail", True)


def test_types_that_are_held_are_told(make_site: MakeSite, workplace: Workplace) -> None:
    workplace.export(events=20, event_types=OPENS)
    folder = workplace.files()[0].parents[3]
    (folder.parent / "event_type=users.messages.pigeon.Coo").mkdir()
    found = look(make_site(mapping={"unknown_types": "hold"}), "source.list", "mapping.sends")
    assert (found.status, "1 held" in found.seen) == ("warn", True)


def test_the_identity_is_told_by_aws(
    make_site: MakeSite, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", bucket.endpoint_url)
    found = look(make_site(source={"uri": bucket.uri, "endpoint_url": bucket.endpoint_url}), "identity")
    assert found.status == "ok"
    assert "source: arn:aws:sts::" in found.seen


def test_without_credentials_the_identity_fails(make_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
    monkeypatch.setenv("AWS_CONFIG_FILE", "none")
    found = look(make_site(source={"uri": "s3://acme/currents"}), "identity")
    assert (found.status, "credentials" in found.seen) == ("fail", True)


def test_a_folder_has_no_identity(make_site: MakeSite) -> None:
    assert look(make_site(), "identity").status == "skipped"
