from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from tests.commands.doctor.conftest import MakeSite, in_s3, look, upload
from tests.deploy.gatekeeper import gatekeeper
from tests.deploy.policies import Grant
from tests.s3_server import Bucket
from tests.workplace import Workplace

OPENS = ("users.messages.email.Open",)
SOURCE = ("source.list", "source.lifecycle")


def rule(bucket: Bucket, prefix: str, **action: Any) -> None:
    """Give the bucket a rule that deletes or archives objects."""
    client: Any = boto3.client("s3", endpoint_url=bucket.endpoint_url)
    made = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": prefix}, **action}
    client.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration={"Rules": [made]})


@pytest.fixture
def in_bucket(workplace: Workplace, make_site: MakeSite, bucket: Bucket) -> dict[str, str]:
    """The section of a source in S3."""
    workplace.export(events=20, event_types=OPENS)
    return upload(workplace, bucket)


@pytest.mark.parametrize(("days", "status"), [(1, "fail"), (10, "warn"), (90, "ok")])
def test_a_rule_that_deletes_files_too_early_is_told(
    make_site: MakeSite, bucket: Bucket, in_bucket: dict[str, str], days: int, status: str
) -> None:
    rule(bucket, "currents/", Expiration={"Days": days})
    site = make_site(source=in_bucket, quarantine={"payload": False})
    assert look(site, *SOURCE).status == status


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ({"Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}, "after 1d"),
        ({"Expiration": {"Date": datetime(2030, 1, 1, tzinfo=UTC)}}, "on a fixed day"),
    ],
)
def test_files_that_are_archived_or_go_on_a_day_are_no_better(
    make_site: MakeSite, bucket: Bucket, in_bucket: dict[str, str], action: dict[str, Any], words: str
) -> None:
    rule(bucket, "currents/", **action)
    found = look(make_site(source=in_bucket), *SOURCE)
    assert (found.status, words in found.seen) == ("fail", True)


def test_without_a_rule_nothing_goes(make_site: MakeSite, bucket: Bucket, in_bucket: dict[str, str]) -> None:
    site = make_site(source=in_bucket, **in_s3(bucket))
    assert look(site, *SOURCE).status == "ok"
    assert look(site, "state.lifecycle").status == "ok"
    assert look(site, "quarantine.lifecycle").status == "ok"


def test_a_rule_that_deletes_the_ledger_fails(make_site: MakeSite, bucket: Bucket) -> None:
    rule(bucket, "ledger/", Expiration={"Days": 30})
    found = look(make_site(**in_s3(bucket)), "state.lifecycle")
    assert (found.status, "after 30d" in found.seen) == ("fail", True)


def test_a_rule_that_deletes_what_was_set_aside_is_a_warning(make_site: MakeSite, bucket: Bucket) -> None:
    rule(bucket, "quarantine/", Expiration={"Days": 30})
    site = make_site(**in_s3(bucket))
    found = look(site, "quarantine.lifecycle")
    assert (found.status, "after 30d" in found.seen) == ("warn", True)
    assert look(site, "state.lifecycle").status == "ok"


@pytest.mark.parametrize("name", ["state", "quarantine"])
def test_where_the_rules_may_not_be_read_nothing_is_said_to_be_well(
    make_site: MakeSite, bucket: Bucket, name: str
) -> None:
    rule(bucket, "", Expiration={"Days": 1})
    given = [Grant("s3:ListBucket", f"arn:aws:s3:::{bucket.name}")]
    with gatekeeper(bucket.endpoint_url, given) as gate:
        site = make_site(**in_s3(Bucket(bucket.name, bucket.uri, gate.url)))
        found = look(site, f"{name}.lifecycle")
    assert (found.status, "s3:GetLifecycleConfiguration" in found.seen) == ("skipped", True)


def test_a_disk_has_no_rules(make_site: MakeSite) -> None:
    assert look(make_site(), "state.lifecycle").status == "skipped"
