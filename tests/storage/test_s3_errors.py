from __future__ import annotations

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
from braze_etl.storage._s3_errors import Request, explain

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
        ("PermanentRedirect", LIST, StoreError, "another region"),
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
    ],
)
def test_the_trouble_of_one_object_is_not_that_of_the_store(
    code: str, status: int, kind: type[Exception]
) -> None:
    """A key of its own that was disabled, say: as the oldest file it would end every run."""
    words: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    assert type(explain(ClientError(words, "GetObject"), GET)) is kind


def test_a_refused_role_is_told_apart_from_a_refused_object() -> None:
    error = explain(_answer("AccessDenied", "AssumeRole"), GET)
    assert type(error) is StoreError
    assert "role" in error.message
    assert "external_id" in error.remedy


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
