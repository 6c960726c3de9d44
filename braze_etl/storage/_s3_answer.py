"""Whether what a GET or a PUT brought back is S3's answer to what was asked: a proxy's page is no file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from braze_etl.errors import FileUnavailableError, SourceGoneError, StoreError
from braze_etl.storage._s3_body import Body
from braze_etl.storage._s3_listing import has_etag, listed_as, unquoted

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_LOOK: Final = "see what stands between this machine and the store; the next run tries again"


class Got(NamedTuple):
    """The body of an object or of a part of it, how many bytes that is, and of which content."""

    body: Body
    length: int
    etag: str


@dataclass(frozen=True, slots=True)
class Part:
    """What is asked of one object: *length* bytes (None: all) from *offset*, as it was listed.

    `etag` and `size` are those of the listing, where one is known.
    """

    name: str
    offset: int = 0
    length: int | None = None
    etag: str = ""
    size: int | None = None

    @property
    def range(self) -> str:
        """The header Range; empty for the whole."""
        if not self.offset and self.length is None:
            return ""
        return f"bytes={self.offset}-" + ("" if self.length is None else str(self.offset + self.length - 1))

    def rest(self, at: int, left: int, etag: str) -> Part:
        """What is left of it when the connection broke off at that byte; of the same content."""
        return replace(self, offset=at, length=left, etag=self.etag or etag)

    def accept(self, answer: GetObjectOutputTypeDef) -> Got:
        """Take an answer that brings what was asked for.

        `SourceGoneError` for another content, `FileUnavailableError` for what is none of S3's, or not this
        part; its body is closed then.
        """
        try:
            return Got(answer["Body"], self._length(answer), self._etag(answer))
        except (SourceGoneError, FileUnavailableError):
            answer["Body"].close()
            raise

    def _etag(self, answer: GetObjectOutputTypeDef) -> str:
        etag = unquoted(answer.get("ETag", ""))
        if not self.etag:
            return etag
        if has_etag(self.etag):
            if not etag:
                raise self._strange("came without its ETag: what answered is not S3")
            if etag != self.etag:
                raise self._replaced()
        elif "LastModified" not in answer:
            raise self._strange("came without its time (Last-Modified): what answered is not S3")
        elif self.size is not None and listed_as(self.size, answer["LastModified"]) != self.etag:
            raise self._replaced()
        return self.etag

    def _length(self, answer: GetObjectOutputTypeDef) -> int:
        """How many bytes come. An answer in chunks does not say: of that, as many as expected are read."""
        start, total = self._placed(answer)
        if start != self.offset:
            raise self._strange(f"was asked for from byte {self.offset}, and came from byte {start}")
        if self.size is not None and total not in (None, self.size):
            raise self._strange(f"was listed with {self.size} bytes, and came with {total}")
        expected = self._expected()
        length = answer.get("ContentLength", expected)
        if length is None:
            raise self._strange("came without its length")
        if length != expected and (self.size is not None or length > (self.length or length)):
            raise self._strange(f"was asked for {expected} bytes, and came with {length}")
        return length

    def _placed(self, answer: GetObjectOutputTypeDef) -> tuple[int, int | None]:
        """Where in the object the body begins, and how many bytes the whole has, where the answer says it."""
        if found := _RANGE.match(answer.get("ContentRange", "")):
            return int(found[1]), None if found[2] == "*" else int(found[2])
        if answer["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.OK:
            return 0, answer.get("ContentLength")  # the whole, whatever part was asked for
        return self.offset, None

    def _expected(self) -> int | None:
        if self.size is None:
            return self.length
        left = self.size - self.offset
        return left if self.length is None else min(left, self.length)

    def _replaced(self) -> SourceGoneError:
        return SourceGoneError(
            f"{self.name} was replaced since it was listed", remedy="the next run reads it anew"
        )

    def _strange(self, words: str) -> FileUnavailableError:
        return FileUnavailableError(f"{self.name} {words}", remedy=_LOOK)


def check_written(answer: Mapping[str, Any], name: str) -> None:
    """Believe that an object was written; a proxy's page in answer to a PUT is `StoreError`.

    S3 answers with the ETag of what it wrote, and with no body; there are servers that leave out the former.
    """
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    if not answer.get("ETag") and headers.get("content-length", "0") != "0":
        raise StoreError(f"{name} was not written: what answered is not S3", remedy=_LOOK)


def stated(answer: Mapping[str, Any], fact: str, name: str) -> Any:
    """A fact that an answer about an object has to have, such as its ETag; `StoreError` without it."""
    value = answer.get(fact)
    if not value:
        raise StoreError(f"what answered for {name} is not S3: it says no {fact}", remedy=_LOOK)
    return value
