"""The body of a GET that outlives its connection: a break is resumed from the byte that was reached.

A big file over a slow line may take long, so its time goes by progress: each piece has its own.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from botocore.exceptions import BotoCoreError
from urllib3.exceptions import HTTPError

from braze_etl.clock import Clock, SystemClock
from braze_etl.deadline import CutOffError, Exchange
from braze_etl.errors import FileUnavailableError, TooSlowError
from braze_etl.storage._s3_errors import PATIENCE, TOO_SLOW, Request, explain_cut

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

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
