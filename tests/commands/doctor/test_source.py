from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from braze_etl.clock import ManualClock
from braze_etl.commands.doctor.site import Site
from tests.commands.doctor.conftest import MakeSite, look, upload
from tests.deploy.gatekeeper import gatekeeper
from tests.deploy.policies import Grant
from tests.s3_server import Bucket
from tests.workplace import Workplace

OPENS = ("users.messages.email.Open",)
START = datetime(2026, 10, 1, tzinfo=UTC)
READ = ("source.list", "source.read")


@pytest.fixture
def at_the_time(make_site: MakeSite, workplace: Workplace) -> Site:
    """A site a while after three hours of opens were written."""
    workplace.export(events=200, start=START, event_types=OPENS)
    return make_site(clock=ManualClock(START + timedelta(hours=4)))


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


def test_a_right_that_is_missing_for_one_event_type_fails(
    make_site: MakeSite, workplace: Workplace, bucket: Bucket
) -> None:
    workplace.export(events=200, start=START, event_types=(*OPENS, "users.messages.email.Click"))
    section, everything = upload(workplace, bucket), f"arn:aws:s3:::{bucket.name}"
    given = [Grant("s3:ListBucket", everything), Grant("s3:GetObject", f"{everything}/*Open/*")]
    with gatekeeper(bucket.endpoint_url, given) as gate:
        source = {**section, "endpoint_url": gate.url}
        found = look(make_site(source=source, clock=ManualClock(START + timedelta(hours=4))), *READ)
    assert (found.status, found.seen.startswith("1 of 2 recent files could not be read")) == ("fail", True)
    assert found.remedy.startswith("Allow s3:GetObject on it (and kms:Decrypt")


def test_an_hour_that_has_not_ended_is_told_as_that(make_site: MakeSite, workplace: Workplace) -> None:
    workplace.export(events=50, start=START, hours=1, event_types=OPENS)
    site = make_site(clock=ManualClock(START + timedelta(minutes=30)))
    assert "which has not ended yet" in look(site, "source.list", "source.fresh").seen
    later = make_site(clock=ManualClock(START + timedelta(minutes=63)))
    assert "which ended 3 minutes ago" in look(later, "source.list", "source.fresh").seen


def test_a_file_that_nobody_can_read_fails(at_the_time: Site, workplace: Workplace) -> None:
    for path in workplace.files():
        path.write_bytes(b"no Avro")
    assert look(at_the_time, *READ).status == "fail"


def test_connectors_that_write_the_same_types_are_told(make_site: MakeSite, workplace: Workplace) -> None:
    clock = ManualClock(START + timedelta(hours=4))
    workplace.export(events=50, start=START, event_types=OPENS)
    assert look(make_site(clock=clock), "source.list", "source.connectors").status == "ok"
    workplace.export(events=50, start=START, event_types=OPENS, integrations=2)
    found = look(make_site(clock=clock), "source.list", "source.connectors")
    assert (found.status, OPENS[0] in found.seen) == ("warn", True)


def test_connectors_are_compared_however_many_event_types_there_are(
    make_site: MakeSite, workplace: Workplace
) -> None:
    workplace.export(events=400, start=START, hours=1, integrations=2)
    site = make_site(clock=ManualClock(START + timedelta(hours=4)))
    assert len(site.folders) > 80
    assert look(site, "source.list", "source.connectors").status == "warn"


def test_a_connector_that_was_made_anew_is_alone(make_site: MakeSite, workplace: Workplace) -> None:
    workplace.export(events=50, start=START, event_types=OPENS)
    (one,) = workplace.source.iterdir()
    two = one.with_name(one.name[:-1] + "x")
    one.rename(two)
    for path in two.rglob("*.avro"):
        path.rename(path.with_name(path.name.replace(one.name, two.name)))
    workplace.export(events=50, start=START + timedelta(days=3), event_types=OPENS)
    site = make_site(clock=ManualClock(START + timedelta(days=3, hours=4)))
    found = look(site, "source.list", "source.connectors")
    assert (found.status, len(site.doubles)) == ("ok", 1)


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
    mapping = {"unknown_types": "hold", "choose": {"include": list(OPENS)}}
    unlisted = look(make_site(mapping=mapping), "source.list", "mapping.sends")
    assert (unlisted.status, "does not know: users.messages.pigeon.Coo" in unlisted.seen) == ("warn", True)
    source = {"uri": "export", "event_types": ["*", "!users.messages.pigeon.*"]}
    assert look(make_site(mapping=mapping, source=source), "source.list", "mapping.sends").status == "ok"


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
