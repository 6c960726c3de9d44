from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from braze_etl.errors import AccessDeniedError, StoreError
from braze_etl.storage.s3 import S3Store
from braze_etl.storage.settings import StoreAccess
from tests.front import Asked, Front, Reply, refusal
from tests.serving import serving

NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)


def test_a_store_travels_to_another_process_with_or_without_a_client(bucket: Any) -> None:
    store = S3Store(bucket.name, StoreAccess(endpoint_url=bucket.endpoint_url))
    fresh = pickle.loads(pickle.dumps(store))
    fresh.put("key", b"x")
    used = pickle.loads(pickle.dumps(fresh))
    assert used.open("key").read() == b"x"


def test_a_missing_bucket_is_told_with_its_remedy(s3_server: str) -> None:
    store = S3Store("no-such-bucket", StoreAccess(endpoint_url=s3_server))
    with pytest.raises(StoreError, match="there is no bucket no-such-bucket") as caught:
        list(store.pages())
    assert "URI" in caught.value.remedy
    with pytest.raises(StoreError, match="there is no bucket"):
        store.open("key")


def test_settings_that_make_no_client_are_told(s3_server: str) -> None:
    for access in (StoreAccess(endpoint_url="not a url"), StoreAccess(region="us east/1")):
        with pytest.raises(StoreError, match="settings for s3://bucket"):
            list(S3Store("bucket", access).pages())


def test_a_role_is_assumed_for_the_store(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", bucket.endpoint_url)
    access = StoreAccess(
        endpoint_url=bucket.endpoint_url,
        region="us-east-1",
        role_arn="arn:aws:iam::123456789012:role/reader",
        external_id="secret-handshake",
    )
    store = S3Store(bucket.name, access)
    store.put("key", b"x")
    assert store.open("key").read() == b"x"
    credentials = store._client._request_signer._credentials  # type: ignore[attr-defined] # no public way to see it
    assert credentials.method == "braze-etl-role"


def test_a_role_without_credentials_is_told(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    access = StoreAccess(bucket.endpoint_url, "us-east-1", "arn:aws:iam::123456789012:role/reader")
    with pytest.raises(StoreError, match="no usable credentials"):
        list(S3Store(bucket.name, access).pages())


RULES: dict[str, tuple[list[dict[str, Any]], int | None]] = {
    "none": ([], None),
    "one for all": ([{"Filter": {"Prefix": ""}, "Expiration": {"Days": 90}}], 90),
    "the shortest of several": (
        [
            {"Filter": {"Prefix": "currents/"}, "Expiration": {"Days": 30}},
            {"Filter": {"Prefix": "currents/dataexport/"}, "Expiration": {"Days": 14}},
        ],
        14,
    ),
    "for another folder": ([{"Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 3}}], None),
    "switched off": (
        [{"Filter": {"Prefix": ""}, "Expiration": {"Days": 3}, "Status": "Disabled"}],
        None,
    ),
    "for some tag": (
        [{"Filter": {"Tag": {"Key": "tmp", "Value": "1"}}, "Expiration": {"Days": 3}}],
        None,
    ),
    "to an archive, where nothing is read at once": (
        [{"Filter": {"Prefix": ""}, "Transitions": [{"Days": 3, "StorageClass": "GLACIER"}]}],
        3,
    ),
    "to a cheaper class that is read at once": (
        [{"Filter": {"Prefix": ""}, "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}]}],
        None,
    ),
    "on a day, and from then on at once": (
        [{"Filter": {"Prefix": ""}, "Expiration": {"Date": datetime(2030, 1, 1, tzinfo=UTC)}}],
        0,
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_how_long_objects_live_is_read_from_the_lifecycle_rules(bucket: Any, name: str) -> None:
    rules, days = RULES[name]
    if rules:
        client: Any = boto3.client("s3", endpoint_url=bucket.endpoint_url)
        client.put_bucket_lifecycle_configuration(
            Bucket=bucket.name,
            LifecycleConfiguration={"Rules": [{"Status": "Enabled", **rule} for rule in rules]},
        )
    store = S3Store(bucket.name, StoreAccess(endpoint_url=bucket.endpoint_url))
    assert store.lifetime("currents/") == (None if days is None else timedelta(days=days))


def test_rules_that_can_not_be_read_are_told_from_none(s3_server: str) -> None:
    with pytest.raises(StoreError, match="no-such-bucket"):
        S3Store("no-such-bucket", StoreAccess(endpoint_url=s3_server)).lifetime()


def test_a_listing_that_is_denied_names_the_prefix(bucket: Any) -> None:
    store = S3Store(bucket.name, StoreAccess(bucket.endpoint_url, "us-east-1"))
    with Stubber(store._client) as server:
        server.add_client_error("list_objects_v2", "AccessDenied", http_status_code=403)
        with pytest.raises(StoreError, match=f"s3:ListBucket on s3://{bucket.name}/currents/") as caught:
            next(iter(store.pages("currents/")))
    assert caught.value.remedy.startswith("allow s3:ListBucket")


def test_a_denied_object_is_told_with_the_rights_alone(bucket: Any) -> None:
    store = S3Store(bucket.name, StoreAccess(bucket.endpoint_url, "us-east-1"))
    with Stubber(store._client) as server:
        server.add_client_error("get_object", "AccessDenied", http_status_code=403)
        with pytest.raises(AccessDeniedError) as caught:
            store.open("head.json")
    # A ledger's object is read like any other: nothing in it could be replayed.
    assert caught.value.remedy.endswith("(and kms:Decrypt if it is encrypted with a KMS key)")


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE", "GLACIER_IR", "STANDARD_IA"])
def test_a_listing_tells_which_objects_have_to_be_restored(bucket: Any, storage_class: Any) -> None:
    client = boto3.client("s3", endpoint_url=bucket.endpoint_url)
    client.put_object(Bucket=bucket.name, Key="key", Body=b"x", StorageClass=storage_class)
    store = S3Store(bucket.name, StoreAccess(endpoint_url=bucket.endpoint_url))
    ((item,),) = (page.objects for page in store.pages())
    assert item.archived is (storage_class in {"GLACIER", "DEEP_ARCHIVE"})


@pytest.mark.parametrize(
    ("status", "archived"),
    [
        ({"IsRestoreInProgress": True}, True),
        ({"IsRestoreInProgress": False, "RestoreExpiryDate": datetime(2026, 10, 9, tzinfo=UTC)}, False),
    ],
)
def test_a_restored_copy_can_be_read_and_one_on_its_way_not_yet(
    status: dict[str, Any], archived: bool
) -> None:
    store = S3Store("acme", StoreAccess("http://127.0.0.1:9", "us-east-1"))
    item = {"Key": "key", "ETag": '"e"', "Size": 1, "LastModified": NOON, "StorageClass": "GLACIER"}
    with Stubber(store._client) as server:  # the server of the tests does not tell of restores
        facts = {"Name": "acme", "IsTruncated": False, "Contents": [{**item, "RestoreStatus": status}]}
        server.add_response("list_objects_v2", facts)
        ((listed,),) = (page.objects for page in store.pages())
    assert listed.archived is archived


def test_an_archived_object_is_its_own_trouble(bucket: Any) -> None:
    client = boto3.client("s3", endpoint_url=bucket.endpoint_url)
    client.put_object(Bucket=bucket.name, Key="cold", Body=b"x", StorageClass="GLACIER")
    store = S3Store(bucket.name, StoreAccess(endpoint_url=bucket.endpoint_url))
    with pytest.raises(Exception, match="archived") as caught:
        store.open("cold")
    assert "restore" in getattr(caught.value, "remedy", "")


def test_a_store_that_may_not_be_written_to_is_told_before_it_is_needed(bucket: Any) -> None:
    store = S3Store(bucket.name, StoreAccess(endpoint_url=bucket.endpoint_url))
    with Stubber(store._client) as server:
        server.add_client_error("put_object", "AccessDenied", http_status_code=403)
        with pytest.raises(StoreError, match="access denied: s3:PutObject"):
            store.check_access("quarantine/")


def test_a_deletion_that_is_refused_names_the_object_and_the_right(bucket: Any) -> None:
    store = S3Store(bucket.name, StoreAccess(endpoint_url=bucket.endpoint_url))
    keys = [f"quarantine/{number}" for number in range(40)]
    with serving(Refusing(bucket.endpoint_url)) as front:
        denied = S3Store(bucket.name, StoreAccess(endpoint_url=front.url))
        for key in keys:
            store.put(key, b"x")
        with pytest.raises(StoreError, match=f"s3:DeleteObject on {bucket.uri}/quarantine/13") as caught:
            denied.delete(keys)
    assert caught.value.remedy.startswith("allow s3:DeleteObject")
    assert "quarantine/13" in [each.key for each in next(store.pages()).objects]


class Refusing(Front):
    """Lets all be deleted but one."""

    def answer(self, asked: Asked) -> Reply:
        if asked.method == "DELETE" and asked.target.endswith("/13"):
            return refusal(403, "AccessDenied")
        return self.pass_on(asked)


def test_only_amazon_is_asked_what_only_amazon_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optional attributes of a listing; the endpoint may also come from the environment."""
    for access, environ, asked in (
        (StoreAccess(region="eu-west-1"), {}, True),
        (StoreAccess("https://bucket.vpce-1a2b.s3.eu-west-1.vpce.amazonaws.com", "eu-west-1"), {}, True),
        (StoreAccess("https://ams3.digitaloceanspaces.com", "eu-west-1"), {}, False),
        (StoreAccess("https://amazonaws.com.example.org", "eu-west-1"), {}, False),
        (StoreAccess(region="eu-west-3"), {"AWS_ENDPOINT_URL_S3": "https://minio.acme.example"}, False),
    ):
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        store = S3Store("acme", access)
        more = {"OptionalObjectAttributes": ["RestoreStatus"]} if asked else {}
        whole = {"Prefix": "", "Delimiter": "", "StartAfter": "", "MaxKeys": 1000}
        with Stubber(store._client) as server:
            answer = {"Name": "acme", "IsTruncated": False}
            server.add_response("list_objects_v2", answer, {"Bucket": "acme", **whole, **more})
            assert [page.objects for page in store.pages()] == [()]
