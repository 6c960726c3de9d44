from __future__ import annotations

import pytest

from braze_etl.errors import StoreError
from braze_etl.storage.s3_client import find_caller
from braze_etl.storage.settings import StoreAccess
from tests.s3_server import Bucket


def test_sts_tells_whose_the_credentials_are(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", bucket.endpoint_url)
    caller = find_caller(bucket.name, StoreAccess(endpoint_url=bucket.endpoint_url))
    assert caller.confirmed
    assert caller.name.startswith("arn:aws:sts::")
    assert caller.method == "env"


def test_a_role_that_is_assumed_is_the_caller(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", bucket.endpoint_url)
    access = StoreAccess(role_arn="arn:aws:iam::123456789012:role/reader", region="us-east-1")
    assert ":assumed-role/reader/braze-etl" in find_caller(bucket.name, access).name


def test_of_another_server_only_the_beginning_of_the_key_is_told(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_STS", raising=False)
    caller = find_caller(bucket.name, StoreAccess(endpoint_url=bucket.endpoint_url))
    assert (caller.confirmed, caller.name) == (False, "test...")


@pytest.mark.usefixtures("s3_server")
def test_without_credentials_the_error_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "none")
    with pytest.raises(StoreError, match="no usable credentials"):
        find_caller("acme", StoreAccess())
