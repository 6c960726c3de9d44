from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)

from braze_etl.errors import AccessDeniedError, FileUnavailableError, SourceGoneError, StoreError
from braze_etl.storage.s3 import S3Store
from braze_etl.storage.s3_errors import Request, explain
from braze_etl.storage.settings import StoreAccess
from tests.front import Asked, Front, Reply, refusal
from tests.serving import serving

GET = Request("s3:GetObject", "bucket", "key")
LIST = Request("s3:ListBucket", "bucket")


def _answer(code: str, operation: str = "GetObject") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "words of the server"}}, operation)


@pytest.mark.parametrize(
    ("code", "request_", "kind", "words"),
    [
        ("NoSuchKey", GET, SourceGoneError, "s3://bucket/key is no longer there"),
        ("404", GET, SourceGoneError, "no longer there"),
        ("PreconditionFailed", GET, SourceGoneError, "replaced"),
        ("AccessDenied", GET, AccessDeniedError, "access denied"),
        ("InvalidObjectState", GET, FileUnavailableError, "archived"),
        ("NoSuchBucket", GET, StoreError, "no bucket bucket"),
        ("NoSuchBucket", LIST, StoreError, "no bucket bucket"),
        ("AccessDenied", LIST, StoreError, "s3:ListBucket on s3://bucket"),
        ("InvalidAccessKeyId", GET, StoreError, "credentials"),
        ("ExpiredToken", GET, StoreError, "credentials"),
        ("ExpiredToken", LIST, StoreError, "credentials for s3://bucket have expired"),
        ("PermanentRedirect", LIST, StoreError, "another region"),
        ("InvalidBucketName", GET, StoreError, "bucket can't be the name of a bucket"),
        ("RequestTimeTooSkewed", LIST, StoreError, "clock"),
        ("SlowDown", GET, StoreError, "too busy"),
        ("SomethingNew", GET, FileUnavailableError, "SomethingNew: words of the server"),
        ("SomethingNew", LIST, StoreError, "SomethingNew: words of the server"),
    ],
)
def test_an_answer_says_whose_trouble_it_is(
    code: str, request_: Request, kind: type[Exception], words: str
) -> None:
    error = explain(_answer(code), request_)
    assert type(error) is kind
    assert words in error.message
    assert error.remedy


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("KMS.DisabledException", 400, FileUnavailableError),
        ("InvalidRequest", 400, FileUnavailableError),
        ("InternalError", 500, FileUnavailableError),
        ("SlowDown", 503, StoreError),
        ("ExpiredToken", 400, StoreError),
        ("", 403, AccessDeniedError),  # a page in the way, with no code of S3's in it
        ("", 404, SourceGoneError),
        ("", 503, StoreError),
        ("", 402, FileUnavailableError),
    ],
)
def test_the_trouble_of_one_object_is_not_that_of_the_store(
    code: str, status: int, kind: type[Exception]
) -> None:
    """A key of its own that was disabled, say: as the oldest file it would end every run."""
    words: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = explain(ClientError(words, "GetObject"), GET)
    assert type(error) is kind
    assert ": :" not in error.message


def test_a_refused_role_is_told_apart_from_a_refused_object() -> None:
    error = explain(_answer("AccessDenied", "AssumeRole"), GET)
    assert type(error) is StoreError
    assert "STS refused AssumeRole for s3://bucket/key" in error.message
    assert "external_id" in error.remedy


def test_a_bucket_elsewhere_is_told_with_its_region() -> None:
    words: Any = {
        "Error": {"Code": "PermanentRedirect"},
        "ResponseMetadata": {"HTTPHeaders": {"x-amz-bucket-region": "eu-central-1"}},
    }
    assert explain(ClientError(words, "ListObjectsV2"), LIST).remedy == "set region to eu-central-1"
    words = {"Error": {"Code": "AuthorizationHeaderMalformed", "Region": "ap-south-1"}}
    assert explain(ClientError(words, "GetObject"), GET).remedy == "set region to ap-south-1"
    assert "the bucket's own" in explain(_answer("301"), LIST).remedy


class Sts(Front):
    """An STS that refuses."""

    code = message = ""

    def answer(self, asked: Asked) -> Reply:
        no = refusal(403, self.code, self.message)
        return replace(no, body=b"<ErrorResponse>%b</ErrorResponse>" % no.body)


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sts]:
    with serving(Sts("http://127.0.0.1:9")) as front:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", front.url)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            monkeypatch.setenv(name, "/nonexistent")
        for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        yield front


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The token of a pod, in the file that the environment names."""
    path = tmp_path / "token"
    path.write_text("a.b.c")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/etl")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(path))
    return path


PROVIDER = "No OpenIDConnect provider found in your account for https://oidc.example"
EARLIER = "Signature expired: 20261128T100000Z is now earlier than 20261128T101500Z"


@pytest.mark.parametrize(
    ("code", "message", "remedy"),
    [
        ("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", "trust policy"),
        ("InvalidIdentityToken", PROVIDER, "trust policy"),
        ("ExpiredTokenException", "Token expired", "renew .*AWS_WEB_IDENTITY_TOKEN_FILE"),
        ("SignatureDoesNotMatch", EARLIER, "set the clock"),
        ("ValidationError", "roleArn is invalid", "trust policy .*AWS_ROLE_ARN"),
    ],
)
@pytest.mark.usefixtures("token")
def test_a_refused_token_of_a_pod_is_told_as_sts_and_its_trust_policy(
    sts: Sts, code: str, message: str, remedy: str
) -> None:
    sts.code, sts.message = code, message
    # A client is made once for each access.
    store = S3Store("bucket", StoreAccess("http://127.0.0.1:9", code.lower()))
    for ask in (lambda: list(store.pages()), lambda: store.open("key")):
        with pytest.raises(
            StoreError, match="STS refused AssumeRoleWithWebIdentity for s3://bucket"
        ) as caught:
            ask()
        assert message in caught.value.message
        assert "s3:ListBucket" not in caught.value.message + caught.value.remedy
        assert re.search(remedy, caught.value.remedy)


@pytest.mark.usefixtures("sts")
def test_a_token_that_is_not_there_is_a_lack_of_credentials(token: Path) -> None:
    token.unlink()
    with pytest.raises(StoreError, match=rf"no usable credentials .*{token}"):
        list(S3Store("bucket", StoreAccess("http://127.0.0.1:9", "no-token")).pages())


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (NoCredentialsError(), "no usable credentials"),
        (EndpointConnectionError(endpoint_url="https://s3.example"), "can't be reached"),
        (ReadTimeoutError(endpoint_url="https://s3.example"), "can't be reached"),
        (ParamValidationError(report="Invalid bucket name"), "settings"),
        (ValueError("Invalid endpoint: x"), "settings"),
    ],
)
def test_a_failure_without_an_answer_is_the_stores(failure: Exception, words: str) -> None:
    error = explain(failure, LIST)
    assert type(error) is StoreError
    assert words in error.message
    assert error.remedy
