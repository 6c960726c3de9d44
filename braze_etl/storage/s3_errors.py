"""What an S3 error means for the job: whose trouble it is, in words, with the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from braze_etl.deadline import CutOffError, Exchange
from braze_etl.errors import (
    AbandonedError,
    AccessDeniedError,
    BrazeEtlError,
    FileUnavailableError,
    SourceGoneError,
    StoreError,
    TooSlowError,
)

PATIENCE: Final = 90.0
"""Seconds for one call with all its attempts, however the store spends them."""
MOST: Final = 64_000_000
"""Bytes of an answer that is no file: a page of a listing has less than 5 MB."""
_SLOWEST: Final = 2_000
"""Bytes a second that are allowed for on top, where much is sent."""
TOO_SLOW: Final = (
    "see whether the store, and what stands before it, answers in time; the next run tries again"
)
"""The remedy for it."""
_LOOK = "see what stands between this machine and the store (a proxy, a login page), and endpoint_url"


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked of S3: the IAM action, and on which object (or, without a key, bucket)."""

    action: str
    bucket: str
    key: str = ""

    @property
    def target(self) -> str:
        """The bucket or object as a URI."""
        return f"s3://{self.bucket}/{self.key}" if self.key else f"s3://{self.bucket}"

    @property
    def reads_object(self) -> bool:
        """Whether one object was to be read: then some errors are that object's alone."""
        return self.action == "s3:GetObject"


@contextmanager
def explained(request: Request, exchange: Exchange, *, sent: int = 0) -> Iterator[None]:
    """Give *exchange* its time for *request*, with so many bytes to send, and tell errors in our words."""
    try:
        with exchange.within(PATIENCE + sent / _SLOWEST):
            yield
    except CutOffError as cut:
        raise explain_cut(cut, request) from cut
    except CAUGHT as error:
        raise explain(error, request) from error


def explain_cut(cut: CutOffError, request: Request) -> BrazeEtlError:
    """Return the error to raise for an exchange that was cut off."""
    words = f"{request.action} on {request.target} was given up: {cut.words}"
    if cut.stopped:
        return AbandonedError(words, remedy=TOO_SLOW)
    return (
        TooSlowError(words, remedy=TOO_SLOW) if request.reads_object else StoreError(words, remedy=TOO_SLOW)
    )


def explain(error: Exception, request: Request) -> BrazeEtlError:
    """Return the error to raise for what boto3 raised."""
    if isinstance(error, ClientError):
        return _explain_answer(error, request)
    return _explain_failure(error, request)


def _explain_answer(error: ClientError, request: Request) -> BrazeEtlError:
    code = _code(error)
    if error.operation_name in _TRUST:
        return _explain_sts(error, request)
    if _PAYS in error.response.get("Error", {}).get("Message", "").lower():
        return StoreError(
            f"access denied: {request.action} on {request.target}: its bucket makes its readers pay",
            remedy="set source.requester_pays: true, if the account of this job is to be charged",
        )
    if request.reads_object and code in _OBJECT_TROUBLE:
        kind, words, remedy = _OBJECT_TROUBLE[code]
        return kind(_fill(words, request), remedy=_fill(remedy, request))
    for codes, words, remedy in _STORE_TROUBLE:
        if code in codes:
            return StoreError(_fill(words, request), remedy=_fill(remedy, request, _region(error)))
    if request.reads_object:
        return FileUnavailableError(
            f"{request.target} can't be read: {_words(error)}",
            remedy="look at this object's encryption and class of storage, and at the health of the store",
        )
    if code.isdigit():  # boto3 makes one of the status, where the body is none of S3's; of a 200, a 500
        words, remedy = f"what answered for {request.target} is not S3", _LOOK
    else:
        words = f"S3 refused {request.action} on {request.target}"
        remedy = "look the code up in the documentation of the store; the next run tries again"
    return StoreError(f"{words}: {_words(error)}", remedy=remedy)


def _explain_sts(error: ClientError, request: Request) -> StoreError:
    """STS gave no credentials: the trouble is a role's or a token's, whatever was to be asked of S3."""
    answer = error.response.get("Error", {})
    code, message = _code(error), answer.get("Message", "")
    remedy = _TOKEN.get(code, _TRUST[error.operation_name])
    if any(words in message for words in _CLOCK_OF_STS):
        remedy = "set the clock of this machine (NTP)"
    return StoreError(
        f"STS refused {error.operation_name} for {request.target}: {_words(error)}", remedy=remedy
    )


def _explain_failure(error: Exception, request: Request) -> BrazeEtlError:
    for kinds, words, remedy in _FAILURES:
        if isinstance(error, kinds):
            return StoreError(f"{_fill(words, request)} ({error})", remedy=remedy)
    return StoreError(
        f"{request.action} on {request.target} failed: {error}",
        remedy="check the settings of this store; the next run tries again",
    )


def _fill(words: str, request: Request, region: str = "") -> str:
    return words.format(action=request.action, bucket=request.bucket, target=request.target, region=region)


def _region(error: ClientError) -> str:
    """The region that a bucket lies in, where the answer tells it."""
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    told: Any = {**error.response.get("Error", {})}
    return headers.get("x-amz-bucket-region") or told.get("Region") or "the bucket's own"


def _code(error: ClientError) -> str:
    """What S3 calls the error; of a page that is none of S3's, the status."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "no code")
    return error.response.get("Error", {}).get("Code") or str(status)


def _words(error: ClientError) -> str:
    return f"{_code(error)}: {error.response.get('Error', {}).get('Message') or 'no message'}"


_GONE = (
    SourceGoneError,
    "{target} is no longer there",
    "it was deleted after the listing; put it back to replay it",
)
_REPLACED = (SourceGoneError, "{target} was replaced since it was listed", "the next run reads it anew")
_DENIED = (
    AccessDeniedError,
    "access denied: {action} on {target}",
    "allow {action} on it (and kms:Decrypt if it is encrypted with a KMS key)",
)
_ARCHIVED = (
    FileUnavailableError,
    "{target} is archived and can't be read at once",
    "restore it from its storage class (s3:RestoreObject); the next run after that reads it",
)
_OBJECT_TROUBLE: dict[str, tuple[type[BrazeEtlError], str, str]] = {
    "NoSuchKey": _GONE,
    "NoSuchVersion": _GONE,
    "404": _GONE,
    "PreconditionFailed": _REPLACED,
    "412": _REPLACED,
    "AccessDenied": _DENIED,
    "403": _DENIED,
    "AllAccessDisabled": _DENIED,
    "Forbidden": _DENIED,
    "InvalidObjectState": _ARCHIVED,
}

_PAYS = "requester pays"
_TRUST: dict[str, str] = {
    "AssumeRole": "let the trust policy of the role (role_arn) name the credentials of this job, and the"
    " external_id if it asks for one; and allow them sts:AssumeRole on it",
    "AssumeRoleWithWebIdentity": "let the trust policy of the role (AWS_ROLE_ARN) name the cluster's identity"
    " provider, and the service account (sub) and audience (aud) of the token",
    "AssumeRoleWithSAML": "see the trust policy of the role",
}
_STALE = (
    "renew what the role is asked for with: the token in AWS_WEB_IDENTITY_TOKEN_FILE, or the credentials of "
    "this job; the trust policy is not at fault"
)
_WRONG_KEY = "renew the credentials of this job, with which the role is asked for: they are wrong"
_TOKEN: dict[str, str] = {
    "ExpiredToken": _STALE,
    "ExpiredTokenException": _STALE,
    "InvalidClientTokenId": _WRONG_KEY,
    "SignatureDoesNotMatch": _WRONG_KEY,
    "IDPCommunicationError": "nothing to repair if the identity provider is up: the next run tries again",
}
_CLOCK_OF_STS = ("Signature expired", "Signature not yet current")

_STORE_TROUBLE: tuple[tuple[frozenset[str], str, str], ...] = (
    (
        frozenset({"NoSuchBucket"}),
        "there is no bucket {bucket}",
        "correct the URI, or the endpoint_url if the bucket is not on AWS",
    ),
    (
        frozenset({"AccessDenied", "AllAccessDisabled", "Forbidden", "403"}),
        "access denied: {action} on {target}",
        (
            "allow {action} on this bucket to the credentials of this job, or set role_arn to a role that "
            "has it; if the bucket makes its readers pay, set source.requester_pays"
        ),
    ),
    (
        frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}),
        "the credentials for {target} have expired",
        "renew them; a job that goes on for good needs a role (of the machine, the pod, or role_arn)",
    ),
    (
        frozenset(
            {
                *("InvalidAccessKeyId", "SignatureDoesNotMatch"),
                *("InvalidToken", "InvalidClientTokenId", "UnrecognizedClientException"),
            }
        ),
        "the credentials for {target} are not accepted",
        "renew them: they are wrong, or for another endpoint",
    ),
    (
        frozenset({"InvalidBucketName"}),
        "{bucket} can't be the name of a bucket",
        "correct the URI: s3://bucket/prefix, with a name of small letters, digits, dots and hyphens",
    ),
    (
        frozenset(
            {"PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
        ),
        "the bucket {bucket} lies in another region than the one asked",
        "set region to {region}",
    ),
    (
        frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"}),
        "S3 refused {target}: the clock of this machine is off by minutes",
        "set the clock (NTP)",
    ),
    (
        frozenset(
            {
                "SlowDown",
                "Throttling",
                "ThrottlingException",
                "RequestLimitExceeded",
                "503",
                "ServiceUnavailable",
            }
        ),
        "S3 kept answering that {target} is too busy",
        "nothing to repair: the next run tries again; fewer workers ask less",
    ),
)

_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.ProfileNotFound,
    # AWS_WEB_IDENTITY_TOKEN_FILE, or a credential_process: no other file is opened here.
    *(FileNotFoundError, PermissionError),
)
_NO_CONNECTION = (
    boto.EndpointConnectionError,
    boto.ConnectionError,
    boto.HTTPClientError,
)
_WRONG_SETTING = (boto.ParamValidationError, boto.NoRegionError, boto.InvalidRegionError, ValueError)
_FAILURES: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
    (
        _NO_CREDENTIALS,
        "there are no usable credentials for {target}",
        "give the job AWS credentials: a role of its machine or pod, AWS_PROFILE, or an access key in AWS_*",
    ),
    (
        _NO_CONNECTION,
        "the server of {target} can't be reached",
        "check the network, the proxy, and endpoint_url or region",
    ),
    (
        (ResponseParserError,),
        "what answered for {target} is not S3",
        _LOOK,
    ),
    (
        _WRONG_SETTING,
        "the settings for {target} can't be used",
        "correct the bucket name, region or endpoint_url",
    ),
    (
        (OSError,),
        "the connection to {target} broke",
        "check the network and the proxy; the next run tries again",
    ),
)

CAUGHT = (BotoCoreError, ClientError, ResponseParserError, ValueError, OSError)
"""What boto3 raises; ValueError for an endpoint that is no URL, OSError for a file of credentials."""
