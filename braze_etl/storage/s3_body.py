"""The body of a GET that outlives its connection: a break is resumed from the byte that was reached.

A big file over a slow line may take long, so its time goes by progress: each piece has its own.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from botocore.exceptions import BotoCoreError
from urllib3.exceptions import HTTPError

from braze_etl.clock import Clock, SystemClock
from braze_etl.deadline import CutOffError, Exchange
from braze_etl.errors import FileUnavailableError, SourceGoneError, StoreError, TooSlowError
from braze_etl.storage.s3_errors import PATIENCE, TOO_SLOW, Request, explain_cut
from braze_etl.storage.s3_listing import has_etag, listed_as, unquoted

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

MAX_RESUMES = 8
"""Breaks that one body may have."""
PIECE: Final = 1 << 16
PIECE_SECONDS: Final = 45.0
"""The longest for so many bytes: a line of 1.5 kB a second is fast enough."""
_CLOCK: Final = SystemClock()


class Body(Protocol):
    """What a GET returns: botocore's StreamingBody, as far as it is used."""

    def read(self, amt: int | None = None, /) -> bytes: ...
    def close(self) -> None: ...


class PacedBody:
    """A body of which each piece has to come in time; else `TimeoutError`, at a stop `AbandonedError`."""

    def __init__(self, body: Body, exchange: Exchange, request: Request) -> None:
        self._body = body
        self._exchange = exchange
        self._request = request

    def read(self, amt: int | None = None, /) -> bytes:
        """Read up to *amt* bytes, `PIECE` at the most."""
        try:
            with self._exchange.within(PIECE_SECONDS):
                return self._body.read(PIECE if amt is None else min(amt, PIECE))
        except CutOffError as cut:
            if cut.stopped:
                raise explain_cut(cut, self._request) from cut
            raise TimeoutError(cut.words) from cut

    def close(self) -> None:
        self._body.close()


class ResumingBody(io.RawIOBase):
    """The *length* bytes of an object from *offset*; *get* asks for a range (offset, length) again.

    *get* has to make sure that the object is still the same one. `FileUnavailableError` after `MAX_RESUMES`
    breaks, `TooSlowError` when `PATIENCE` seconds were lost with them, and whatever *get* raises.
    """

    def __init__(
        self,
        body: Body,
        *,
        offset: int,
        length: int,
        get: Callable[[int, int], Body],
        name: str,
        clock: Clock = _CLOCK,
    ) -> None:
        super().__init__()
        self._body = body
        self._offset = offset
        self._left = length
        self._get = get
        self._name = name
        self._clock = clock
        self._resumes = 0
        self._lost = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self._left)
        if wanted == 0:
            return 0
        data = self._read(wanted)
        while not data:
            self._resume()
            data = self._read(wanted)
        view[: len(data)] = data
        self._offset += len(data)
        self._left -= len(data)
        return len(data)

    def close(self) -> None:
        self._body.close()
        super().close()

    def _read(self, wanted: int) -> bytes:
        """Read some bytes; none at all means that the connection is of no more use."""
        began = self._clock.monotonic()
        try:
            return self._body.read(wanted)
        except (BotoCoreError, HTTPError, OSError):
            self._lost += self._clock.monotonic() - began
            return b""

    def _resume(self) -> None:
        self._body.close()
        self._resumes += 1
        if self._lost >= PATIENCE:
            raise TooSlowError(
                f"{self._lost:.0f} s were lost with waiting for more of {self._name}",
                remedy=TOO_SLOW,
            )
        if self._resumes > MAX_RESUMES:
            raise FileUnavailableError(
                f"the connection broke off {self._resumes} times while {self._name} was read",
                remedy="check the network between this machine and the store; the next run tries again",
            )
        self._body = self._get(self._offset, self._left)


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
