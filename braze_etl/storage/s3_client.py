"""Make a boto3 client for one S3 store, with a role assumed for it where one is asked for."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import NoCredentialsError

from braze_etl.deadline import Exchange, check_current, watched_pools
from braze_etl.storage.settings import StoreAccess

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ONE_AT_A_TIME = threading.Lock()
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws")


def make_client(access: StoreAccess, max_pool_connections: int) -> S3Client:
    """Return the process's client for that access, made at the first call, which takes a tenth of a second.

    It has a session of its own: clients may be shared by threads, sessions may not.
    """
    with _ONE_AT_A_TIME:
        return _client_for(access, max_pool_connections)


@cache
def _client_for(access: StoreAccess, max_pool_connections: int) -> S3Client:
    client = boto3.Session(botocore_session=session_for(access)).client(
        "s3",
        region_name=access.region,
        endpoint_url=access.endpoint_url,
        config=Config(
            retries={"mode": "standard", "total_max_attempts": 5},
            max_pool_connections=max_pool_connections,
            connect_timeout=10,
            read_timeout=30,
            # S3-compatible servers often lack the newer checksums; AWS does without them, too.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    client.meta.events.register_last("before-call.s3", _ask_nothing_first)
    client.meta.events.register("after-call.s3", clock_of(access).receive_time)
    client.meta.events.register_last("before-parameter-build.s3", _ask_for_a_region_once)
    if access.requester_pays:
        client.meta.events.register("before-call.s3", _pay)
    if access.kms_key_id is not None:
        key = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": access.kms_key_id}
        client.meta.events.register("provide-client-params.s3.PutObject", partial(_add, key))
    return client


class ServerClock:
    """The time that a server has told with its last answer, and how long ago that was."""

    def __init__(self) -> None:
        self._told: tuple[datetime, float] | None = None

    def receive_time(self, parsed: dict[str, Any], **_event: object) -> None:
        """Take the header Date of an answer, whatever else it says."""
        headers = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        with suppress(ValueError):
            told = parsedate_to_datetime(headers.get("date", ""))
            self._told = told if told.tzinfo else told.replace(tzinfo=UTC), time.monotonic()

    def now(self) -> datetime | None:
        """What the server would say now; None where it has not told, or its words could not be read."""
        if self._told is None:
            return None
        told, at = self._told
        return told + timedelta(seconds=time.monotonic() - at)


@cache
def clock_of(access: StoreAccess) -> ServerClock:  # noqa: ARG001 - what it is cached by
    """The clock of the server that clients with that access talk to."""
    return ServerClock()


def is_aws(client: S3Client) -> bool:
    """Whether Amazon's own servers answer: by the endpoint, which the environment may have set, too."""
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    return host.endswith(_AMAZON)


class _Session(botocore.session.Session):
    """A session whose clients, also those that fetch credentials, serve exchanges (see `deadline`)."""

    def create_client(self, *args: Any, **more: Any) -> Any:
        client: Any = super().create_client(*args, **more)
        # There is no public way to hand a session of urllib3 in.
        pools = client._endpoint.http_session._pool_classes_by_scheme  # noqa: SLF001
        pools.update(watched_pools(pools))
        client.meta.events.register_first("needs-retry", lambda **_: check_current())
        return client


def session_for(access: StoreAccess) -> botocore.session.Session:
    """Return a new session with the credentials of the environment, or of the role that is asked for."""
    session = _Session()
    return session if access.role_arn is None else _with_role(session, access)


def _ask_nothing_first(params: dict[str, Any], **_event: object) -> None:
    # boto3 asks whether it may send a body (Expect: 100-continue) and waits a second for the answer. Not all
    # servers and proxies give one, and what is written here is small.
    params["headers"].pop("Expect", None)


def _ask_for_a_region_once(model: Any, context: dict[str, Any], **_event: object) -> None:
    # Redirected, botocore asks for the bucket's region by HeadBucket; redirected there, too, it would ask
    # anew, until the stack is full.
    if model.name == "HeadBucket":
        context["s3_redirect"]["redirected"] = True


def _pay(params: dict[str, Any], **_event: object) -> None:
    params["headers"]["x-amz-request-payer"] = "requester"


def _add(more: dict[str, str], params: dict[str, object], **_event: object) -> None:
    params.update(more)


if hasattr(os, "register_at_fork"):
    # Connections must not be shared with a forked child.
    os.register_at_fork(after_in_child=_client_for.cache_clear)


def _with_role(session: botocore.session.Session, access: StoreAccess) -> botocore.session.Session:
    role_session = _Session()
    resolver = CredentialResolver([_RoleProvider(session, access)])
    role_session.register_component("credential_provider", resolver)
    return role_session


class _RoleProvider(CredentialProvider):
    METHOD = "braze-etl-role"
    CANONICAL_NAME = None

    def __init__(self, source: botocore.session.Session, access: StoreAccess) -> None:
        super().__init__()
        self._source = source
        self._access = access

    def load(self) -> DeferredRefreshableCredentials:
        """Credentials that are asked of STS at first use and again before they expire."""
        credentials = self._source.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        extra = {"RoleSessionName": "braze-etl"}
        if self._access.external_id is not None:
            extra["ExternalId"] = self._access.external_id
        assert self._access.role_arn is not None
        fetcher = AssumeRoleCredentialFetcher(
            client_creator=partial(self._source.create_client, region_name=self._access.region),
            source_credentials=credentials,
            role_arn=self._access.role_arn,
            extra_args=extra,
        )
        return DeferredRefreshableCredentials(method=self.METHOD, refresh_using=fetcher.fetch_credentials)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose the credentials are, and where they come from.

    `name` is the ARN where AWS told it (`confirmed`), else the beginning of the access key's id; `method` is
    boto3's word: `env`, `assume-role-with-web-identity`, `iam-role`.
    """

    name: str
    method: str
    confirmed: bool


def find_caller(bucket: str, access: StoreAccess) -> Caller:
    """Ask AWS STS whose the credentials for that bucket are; everybody has the right to (GetCallerIdentity).

    Another server than AWS's (`endpoint_url`) has no STS that is known: there, nobody is asked, unless
    `AWS_ENDPOINT_URL_STS` names one. Raises `StoreError`.
    """
    from botocore.exceptions import NoCredentialsError

    from braze_etl.storage.s3_errors import MOST, Request, explained

    session = session_for(access)
    with explained(Request("sts:GetCallerIdentity", bucket), Exchange(most=MOST)):
        credentials = session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        method = str(credentials.method)
        if access.endpoint_url and not os.environ.get("AWS_ENDPOINT_URL_STS"):
            key = str(credentials.get_frozen_credentials().access_key)
            return Caller(f"{key[:4]}...", method, confirmed=False)
        # Even the global endpoint of STS needs some region's name to sign with.
        region = access.region or session.get_config_variable("region") or "us-east-1"
        client: Any = session.create_client("sts", region_name=region)
        return Caller(client.get_caller_identity()["Arn"], method, confirmed=True)
