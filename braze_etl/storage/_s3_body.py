"""The body of a GET that outlives its connection: a break is resumed from the byte that was reached."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from botocore.exceptions import BotoCoreError
from urllib3.exceptions import HTTPError

from braze_etl.errors import FileUnavailableError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_RESUMES = 8
"""Breaks that one body may have."""


class Body(Protocol):
    """What a GET returns: botocore's StreamingBody, as far as it is used."""

    def read(self, amt: int | None = None, /) -> bytes: ...
    def close(self) -> None: ...


class ResumingBody(io.RawIOBase):
    """The *length* bytes of an object from *offset*; *get* asks for a range (offset, length) again.

    *get* has to make sure that the object is still the same one. `FileUnavailableError` after `MAX_RESUMES`
    breaks, and whatever *get* raises.
    """

    def __init__(
        self, body: Body, *, offset: int, length: int, get: Callable[[int, int], Body], name: str
    ) -> None:
        super().__init__()
        self._body = body
        self._offset = offset
        self._left = length
        self._get = get
        self._name = name
        self._resumes = 0

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
        try:
            return self._body.read(wanted)
        except (BotoCoreError, HTTPError, OSError):
            return b""

    def _resume(self) -> None:
        self._body.close()
        self._resumes += 1
        if self._resumes > MAX_RESUMES:
            raise FileUnavailableError(
                f"the connection broke off {self._resumes} times while {self._name} was read",
                remedy="check the network between this machine and the store; the next run tries again",
            )
        self._body = self._get(self._offset, self._left)
