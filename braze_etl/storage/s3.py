"""S3, and servers that speak its protocol, as an object store."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, Final

from botocore.exceptions import ClientError

from braze_etl.deadline import Exchange
from braze_etl.errors import StoreError
from braze_etl.storage.s3_body import Body, Got, PacedBody, Part, ResumingBody, check_written, stated
from braze_etl.storage.s3_client import is_aws, make_client
from braze_etl.storage.s3_errors import MOST, Request, explained
from braze_etl.storage.s3_listing import Asked, follow, has_etag, in_order, shortest_lifetime, unquoted
from braze_etl.storage.settings import StoreAccess
from braze_etl.storage.store import Page, Version

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import (
        GetObjectOutputTypeDef,
        GetObjectRequestTypeDef,
        ListObjectsV2OutputTypeDef,
        ListObjectsV2RequestTypeDef,
    )

_NO_ACCESS = StoreAccess()
_BUFFER = 1 << 16
_PROBE = "probe/access"
_PAGE_SIZE = 1000  # the protocol's limit for a listing
_DELETE_AT_ONCE = 1000
_OTHER_ETAG = frozenset({"PreconditionFailed", "412"})


class S3Store:
    """One bucket. The client is made at first use, one in each process: a store may be sent to a worker.

    It may be shared by threads; `max_pool_connections` is how many of them can wait for S3 at once. A call
    has `PATIENCE` seconds with all its attempts. With `gives_way` it is given up, with `AbandonedError`, as
    soon as the run has to stop: what is read from the source is read again by the next run.
    """

    def __init__(
        self,
        bucket: str,
        access: StoreAccess = _NO_ACCESS,
        *,
        max_pool_connections: int = 16,
        gives_way: bool = False,
    ) -> None:
        self._bucket = bucket
        self._access = access
        self._connections = max_pool_connections
        self._gives_way = gives_way
        self._gives_to_bare_etags = False
        self._out_of_order = False

    def __repr__(self) -> str:
        return f"S3Store({self._bucket!r}, {self._access!r})"

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_client"}

    @property
    def uri(self) -> str:
        """`s3://bucket`."""
        return f"s3://{self._bucket}"

    def pages(self, prefix: str = "", *, start_after: str = "", delimiter: str = "") -> Iterator[Page]:
        """See `Store.pages`; one ListObjectsV2 request a page of up to 1,000."""
        asked = Asked(self._bucket, prefix, start_after, delimiter)
        answers = follow(partial(self._list, asked), asked)
        for page in in_order(answers, asked, whole=self._out_of_order):
            self._out_of_order |= not page.in_order
            yield page

    def open(
        self, key: str, *, offset: int = 0, length: int | None = None, etag: str = "", size: int | None = None
    ) -> BinaryIO:
        """See `Store.open`; a stream that breaks off is resumed where it was, while the object is the same.

        An object that the store does not give is `FileUnavailableError`, so that others go on.
        """
        if length == 0 or (size is not None and offset >= size):
            return io.BytesIO()
        wanted = Part(f"{self.uri}/{key}", offset, length, etag, size)
        first = self._get(key, wanted)

        def resume(at: int, left: int) -> Body:
            return self._get(key, wanted.rest(at, left, first.etag)).body

        body = ResumingBody(first.body, offset=offset, length=first.length, get=resume, name=wanted.name)
        return io.BufferedReader(body, _BUFFER)

    def put(self, key: str, data: bytes) -> None:
        """See `Store.put`."""
        with self._explained("s3:PutObject", key, sent=len(data)):
            answer = self._client.put_object(Bucket=self._bucket, Key=key, Body=data)
        check_written(answer, f"{self.uri}/{key}")

    def lifetime(self, prefix: str = "") -> timedelta | None:
        """See `Store.lifetime`; read from the bucket's lifecycle rules."""
        with self._explained("s3:GetLifecycleConfiguration"):
            return shortest_lifetime(self._client, self._bucket, prefix)

    def check_access(self, prefix: str = "", room: int = 0) -> None:  # noqa: ARG002 - there is always room
        """See `Store.check_access`."""
        key = f"{prefix}{_PROBE}"
        self.put(key, b"")
        self._get(key, Part(f"{self.uri}/{key}")).body.close()
        self.delete([key])

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`; a request a key, many at once.

        DeleteObjects would take 1,000 keys, but wants a checksum of its body, and servers do not agree on
        which: some refuse it without Content-MD5, which boto3 no longer sends, others know no newer one.
        """
        rest = iter(keys)
        while batch := list(islice(rest, _DELETE_AT_ONCE)):
            threads = min(len(batch), self._connections)
            if threads == 1:
                self._delete(batch[0])
                continue
            with ThreadPoolExecutor(threads) as pool:
                for _ in pool.map(self._delete, batch):
                    pass

    def _delete(self, key: str) -> None:
        with self._explained("s3:DeleteObject", key):
            try:
                self._client.delete_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in ("NoSuchKey", "404"):
                    raise

    @cached_property
    def _client(self) -> S3Client:
        return make_client(self._access, self._connections)

    def _explained(self, action: str, key: str = "", *, sent: int = 0) -> AbstractContextManager[None]:
        return explained(Request(action, self._bucket, key), self._exchange(), sent=sent)

    def _exchange(self, *, streams: bool = False) -> Exchange:
        return Exchange(gives_way=self._gives_way, most=MOST, streams=streams)

    def _list(self, asked: Asked, token: str) -> ListObjectsV2OutputTypeDef:
        request: ListObjectsV2RequestTypeDef = {
            "Bucket": self._bucket,
            "Prefix": asked.prefix,
            "Delimiter": asked.delimiter,
            "StartAfter": asked.start_after,
            "MaxKeys": _PAGE_SIZE,
        }
        if token:
            request["ContinuationToken"] = token
        with self._explained("s3:ListBucket", asked.prefix):
            if is_aws(self._client):  # others refuse a header that they do not know
                request["OptionalObjectAttributes"] = ["RestoreStatus"]
            return self._client.list_objects_v2(**request)

    def _get(self, key: str, wanted: Part) -> Got:
        asked: GetObjectRequestTypeDef = {"Bucket": self._bucket, "Key": key}
        if wanted.range:
            asked["Range"] = wanted.range
        if has_etag(wanted.etag):
            asked["IfMatch"] = f'"{wanted.etag}"'
        request, exchange = Request("s3:GetObject", self._bucket, key), self._exchange(streams=True)
        with explained(request, exchange):
            try:
                answer = self._give(asked)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") != "InvalidRange" or wanted.size is not None:
                    raise
                return Got(io.BytesIO(), 0, wanted.etag)  # at or behind the end: no bytes, as with a file
        got = wanted.accept(answer)
        return got._replace(body=PacedBody(got.body, exchange, request))

    def _give(self, asked: GetObjectRequestTypeDef) -> GetObjectOutputTypeDef:
        """GET; where the ETag is refused, without its quotes as well (see `probe.try_etags`)."""
        if "IfMatch" not in asked:
            return self._client.get_object(**asked)
        etag = asked["IfMatch"].strip('"')
        bare: GetObjectRequestTypeDef = {**asked, "IfMatch": etag}
        if self._gives_to_bare_etags:
            return self._client.get_object(**bare)
        try:
            return self._client.get_object(**asked)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in _OTHER_ETAG:
                raise
            with suppress(ClientError):
                answer = self._client.get_object(**bare)
                if unquoted(answer.get("ETag", "")) == etag:
                    self._gives_to_bare_etags = True
                    return answer
                answer["Body"].close()  # the other form is no condition to this store
            raise


_LOST: Final = frozenset(
    {
        *("PreconditionFailed", "412"),
        # Another write to the same key was under way (409).
        *("ConditionalRequestConflict", "OperationAborted", "409"),
        # If-Match on an object that was deleted.
        *("NoSuchKey", "404"),
    }
)
_GONE: Final = frozenset({"NoSuchKey", "404"})


class S3ConditionalStore(S3Store):
    """A bucket whose objects can be written under conditions; see `ConditionalStore`."""

    bare_etags = False

    def read(self, key: str) -> Version | None:
        """See `ConditionalStore.read`."""
        with self._explained("s3:GetObject", key):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=key)
                data = answer["Body"].read()
            except ClientError as error:
                if _code(error) in _GONE:
                    return None
                raise
        etag, modified = (stated(answer, fact, f"{self.uri}/{key}") for fact in ("ETag", "LastModified"))
        read_at = self._server_time(answer["ResponseMetadata"]["HTTPHeaders"])
        return Version(data, unquoted(etag), modified, read_at)

    def create(self, key: str, data: bytes) -> str | None:
        """See `ConditionalStore.create`."""
        with self._explained("s3:PutObject", key):
            try:
                answer = self._client.put_object(Bucket=self._bucket, Key=key, Body=data, IfNoneMatch="*")
            except ClientError as error:
                if _is_lost(error):
                    return None
                raise
        return unquoted(stated(answer, "ETag", f"{self.uri}/{key}"))

    def replace(self, key: str, data: bytes, etag: str) -> str | None:
        """See `ConditionalStore.replace`."""
        match = etag if self.bare_etags else f'"{etag}"'
        with self._explained("s3:PutObject", key):
            try:
                answer = self._client.put_object(Bucket=self._bucket, Key=key, Body=data, IfMatch=match)
            except ClientError as error:
                if _is_lost(error):
                    return None
                raise
        return unquoted(stated(answer, "ETag", f"{self.uri}/{key}"))

    def _server_time(self, headers: Mapping[str, str]) -> datetime:
        try:
            return parsedate_to_datetime(headers["date"])
        except (KeyError, ValueError) as error:
            raise StoreError(
                f"the server of {self.uri} answers without its time (the header Date)",
                remedy="see what stands between this machine and the store: S3 itself always sends it",
            ) from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _is_lost(error: ClientError) -> bool:
    return _code(error) in _LOST
