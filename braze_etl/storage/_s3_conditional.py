"""Conditional writes on S3."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from botocore.exceptions import ClientError

from braze_etl.errors import StoreError
from braze_etl.storage._s3_answer import stated
from braze_etl.storage._s3_listing import unquoted
from braze_etl.storage.conditional import Version
from braze_etl.storage.s3 import S3Store

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
