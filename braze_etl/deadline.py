"""A deadline over a whole exchange: whatever a peer sends or leaves out, its connection is cut in time.

A socket's own time-out bounds one silence, and a peer that sends a byte a second is never silent. So each
connection knows the exchange that it serves, and one thread a process looks a few times a second at what is
under way. It shuts the sockets of what has taken too long, and of what has to make way for the end of a run.
They are shut, not closed: whoever waits for one wakes with an error, also in the middle of a TLS handshake.
"""

from __future__ import annotations

import io
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import IntEnum
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from braze_etl.clock import Clock, SystemClock

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from requests import Session

TICK: Final = 0.2
"""Seconds between two looks at what is under way."""
_LOOK_UP: Final = 1.0
"""Seconds after which whoever waits for another attempt asks whether it has to make way."""


class Halt(IntEnum):
    """How far a process is on its way to its end."""

    NONE = 0
    YIELD = 1
    """What can be begun again is given up."""
    ALL = 2
    """Everything is."""


class CutOffError(Exception):
    """An exchange was cut off, and why; with `stopped` because the process has to end, not for its peer."""

    def __init__(self, words: str, *, stopped: bool = False) -> None:
        super().__init__(words)
        self.words = words
        self.stopped = stopped


class Watch:
    """Knows the exchanges under way in a process, and cuts those off whose time is up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._halts: list[Callable[[], Halt]] = []
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a forked child has to: it has none of its parent's threads."""
        self._lock = threading.Lock()
        self._under_way: dict[Exchange, tuple[float, float]] = {}
        self._busy = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def obeying(self, halt: Callable[[], Halt]) -> Iterator[None]:
        """Ask *halt*, from any thread, whether exchanges have to make way.

        Where several are asked, as in a process with two runs, exchanges go on for the run that goes on.
        """
        self._halts = [*self._halts, halt]
        try:
            yield
        finally:
            self._halts = [each for each in self._halts if each is not halt]

    def _halt(self) -> Halt:
        return min((halt() for halt in self._halts), default=Halt.NONE)

    def begin(self, exchange: Exchange, seconds: float) -> None:
        """Give *exchange* so many seconds from now; raises `CutOffError` if it may not begin any more."""
        with self._lock:
            self.allow(exchange)
            self._under_way[exchange] = (self._clock.monotonic() + seconds, seconds)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
            self._busy.set()

    def allow(self, exchange: Exchange) -> None:
        """Raise `CutOffError` if *exchange* has to make way by now, or was cut off."""
        if self._halt() >= exchange.yields_to:
            exchange.cut(_stopped())
        exchange.check()

    def end(self, exchange: Exchange) -> None:
        """*exchange* is over, well or not."""
        with self._lock:
            self._under_way.pop(exchange, None)

    def cut_overdue(self) -> None:
        """Cut off what has to be cut off by now."""
        with self._lock:
            now, halt = self._clock.monotonic(), self._halt()
            for exchange, (ends, seconds) in self._under_way.items():
                if halt >= exchange.yields_to:
                    exchange.cut(_stopped())
                elif now >= ends:
                    exchange.cut(CutOffError(f"it was not over after {seconds:g} s"))
            if not self._under_way:
                self._busy.clear()

    def _run(self) -> None:
        while self._busy.wait():
            self._clock.wait(TICK)
            self.cut_overdue()


WATCH: Final = Watch(SystemClock())
"""That of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WATCH.forget)

_this_thread = threading.local()


class Exchange:
    """One exchange with a peer: a request with its answer, tried again if need be, or piece by piece.

    With `gives_way` it is cut off as soon as its process has to stop, else only at the very end. An answer of
    more than `most` bytes is cut off; with `streams`, one that brings what was asked for has no such bound.
    """

    def __init__(
        self, *, gives_way: bool = False, most: int, streams: bool = False, watch: Watch = WATCH
    ) -> None:
        self.yields_to = Halt.YIELD if gives_way else Halt.ALL
        self._most = most
        self._streams = streams
        self._watch = watch
        self._connections: set[_Watched] = set()
        self._cut: CutOffError | None = None

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Give what this thread does inside so many seconds. Raises `CutOffError` when it was cut off.

        It may be entered again for the next piece. What ended well after the cut is no answer, either: a body
        without a length ends where its connection does.
        """
        self._watch.begin(self, seconds)
        before = _current()
        _this_thread.exchange = self
        try:
            yield
        except Exception:
            self.check()
            raise
        finally:
            _this_thread.exchange = before
            self._watch.end(self)
        self.check()

    def pause(self, clock: Clock, seconds: float) -> None:
        """Wait on *clock* before the next attempt; `CutOffError` as soon as it has to make way."""
        ends = clock.monotonic() + seconds
        self._watch.allow(self)
        while (left := ends - clock.monotonic()) > 0:
            clock.wait(min(left, _LOOK_UP))
            self._watch.allow(self)

    def check(self) -> None:
        """Raise what cut it off, if anything did."""
        if self._cut is not None:
            raise self._cut from None

    def cut(self, why: CutOffError) -> None:
        """Shut its connections; the first reason stands."""
        self._cut = self._cut or why
        for connection in tuple(self._connections):
            connection.shut(self)

    def joined(self, connection: _Watched) -> None:
        """*connection* serves this exchange from now on."""
        self._connections.add(connection)
        if self._cut is not None:
            raise TimeoutError(self._cut.words)

    def bound(self, status: int) -> int | None:
        """How many bytes an answer with that status may have."""
        return None if self._streams and status in range(200, 300) else self._most


def check_current() -> None:
    """Raise `CutOffError` if the exchange that this thread is at work on was cut off: no further attempt."""
    exchange = _current()
    if exchange is not None:
        exchange.check()


def watched_pools(pools: Mapping[str, Any]) -> dict[str, Any]:
    """The classes of connection pools (urllib3) by scheme, with connections that serve exchanges."""
    return {scheme: _watched(pool) for scheme, pool in pools.items()}


def watched_session() -> Session:
    """A session of `requests` with such connections, one to each host; it never tries again."""
    import requests

    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _adapter_class()(pool_connections=1, pool_maxsize=1, max_retries=0))
    return session


def _current() -> Exchange | None:
    return getattr(_this_thread, "exchange", None)


def _stopped() -> CutOffError:
    return CutOffError("the run has to stop", stopped=True)


class _Watched:
    """What a connection of urllib3 gets on top: it joins the exchange of the thread that uses it."""

    _line: _Line | None = None
    _exchange: Exchange | None = None
    _answering = False

    def _new_conn(self) -> socket.socket:
        self._join()
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]  # of urllib3's class, which comes next
        self._hang_up()
        self._line = _Line(sock)
        self._join()  # it may have been cut off meanwhile
        return sock

    def request(self, *args: Any, **more: Any) -> None:
        self._join()
        super().request(*args, **more)  # type: ignore[misc]

    def getresponse(self, *args: Any, **more: Any) -> Any:
        self._answering = True
        try:
            answer = super().getresponse(*args, **more)  # type: ignore[misc]
        finally:
            self._answering = False
        most = None if self._exchange is None else self._exchange.bound(answer.status)
        if most is not None:
            message = getattr(answer, "_fp", answer)  # of http.client, inside of what urllib3 2 makes of it
            if message.fp is not None:
                message.fp = io.BufferedReader(_Bounded(message.fp, most, self._exchange))
        return answer

    def close(self) -> None:
        super().close()  # type: ignore[misc]
        # `getresponse` closes it when its peer is going to, though the answer's body is still to be read.
        if not self._answering:
            self._hang_up()

    def shut(self, exchange: Exchange) -> None:
        """End what *exchange* has here; another one may have taken the connection over."""
        if self._exchange is exchange and self._line is not None:
            self._line.shut()

    def _join(self) -> None:
        self._exchange = _current()
        if self._exchange is not None:
            self._exchange.joined(self)

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


class _Line:
    """A second hold on a socket: it works while TLS is being put over the first, and from any thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = socket.fromfd(sock.fileno(), sock.family, sock.type)
        self._lock = threading.Lock()

    def shut(self) -> None:
        with self._lock, suppress(OSError):  # closed by now, or never connected
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            self._sock.close()


class _Bounded(io.RawIOBase):
    """The bytes of an answer behind its headers, up to a bound: lines and chunks without end, too."""

    def __init__(self, inner: Any, most: int, exchange: Exchange | None) -> None:
        super().__init__()
        self._inner = inner
        self._most = most
        self._left = most
        self._exchange = exchange

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        read: int = self._inner.readinto1(buffer)
        self._left -= read
        if self._left < 0:
            words = f"its answer is longer than {self._most} bytes"
            if self._exchange is not None:
                self._exchange.cut(CutOffError(words))
            raise OSError(words)
        return read

    def close(self) -> None:
        self._inner.close()
        super().close()


@cache
def _watched(pool: Any) -> Any:
    if issubclass(pool.ConnectionCls, _Watched):
        return pool
    connection = type(f"Watched{pool.ConnectionCls.__name__}", (_Watched, pool.ConnectionCls), {})
    return type(f"Watched{pool.__name__}", (pool,), {"ConnectionCls": connection})


@cache
def _adapter_class() -> Any:
    from requests.adapters import HTTPAdapter

    class WatchedAdapter(HTTPAdapter):
        """Makes watched connections, also through a proxy."""

        def init_poolmanager(self, *args: Any, **more: Any) -> None:
            super().init_poolmanager(*args, **more)
            _watch(self.poolmanager)

        def proxy_manager_for(self, *args: Any, **more: Any) -> Any:
            return _watch(super().proxy_manager_for(*args, **more))

    return WatchedAdapter


def _watch(manager: Any) -> Any:
    manager.pool_classes_by_scheme = watched_pools(manager.pool_classes_by_scheme)
    return manager
