"""Reading ahead: small files are fetched before the worker comes to them, so that it never waits for a store.

Each file of an object store costs a round trip, and one of 40 records takes less time to decode than that.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import BinaryIO, Final, TypeAlias

from braze_etl.model import FileRef
from braze_etl.storage.store import Page, Store

_FileId: TypeAlias = tuple[str, str]
"""Key and etag."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What may lie in memory, fetched or on its way, and of files up to which size (bytes).

    16 threads are as many as a store has connections; a file of 40 records is about 20,000 bytes.
    """

    threads: int = 16
    files: int = 48
    bytes: int = 8_000_000
    largest: int = 1_000_000


_LIMITS = Limits()
NOTHING_AHEAD: Final = Limits(threads=1, largest=0)
"""For a folder: its files are there at once."""


class ReadAhead:
    """A `Store` that has expected small files ready when they are opened, in the order that was announced.

    Any thread expects, one at a time opens. A larger file, a part of one, and what was not announced is read
    from *store* itself; so is a file whose content changed, for the error that tells. A file that was passed
    over is forgotten as soon as a later one is opened.
    """

    def __init__(self, store: Store, limits: Limits = _LIMITS) -> None:
        self._store = store
        self._limits = limits
        self._threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="read-ahead")
        self._lock = threading.Lock()
        self._expected: deque[FileRef] = deque()
        self._begun: OrderedDict[_FileId, tuple[Future[bytes], int]] = OrderedDict()
        self._bytes = 0

    @property
    def uri(self) -> str:
        """See `Store.uri`."""
        return self._store.uri

    def expect(self, files: Iterable[FileRef]) -> None:
        """These will be opened next, after what was announced before."""
        with self._lock:
            self._expected.extend(filter(self._is_small, files))
            self._begin()

    def open(
        self, key: str, *, offset: int = 0, length: int | None = None, etag: str = "", size: int | None = None
    ) -> BinaryIO:
        """See `Store.open`; raises what fetching the file raised."""
        fetched = self._take((key, etag)) if not offset and length is None else None
        if fetched is None:
            return self._store.open(key, offset=offset, length=length, etag=etag, size=size)
        return io.BytesIO(fetched.result())

    def pages(self, prefix: str = "", *, start_after: str = "", delimiter: str = "") -> Iterator[Page]:
        """See `Store.pages`."""
        return self._store.pages(prefix, start_after=start_after, delimiter=delimiter)

    def put(self, key: str, data: bytes) -> None:
        """See `Store.put`."""
        self._store.put(key, data)

    def lifetime(self, prefix: str = "") -> timedelta | None:
        """See `Store.lifetime`."""
        return self._store.lifetime(prefix)

    def check_access(self, prefix: str = "", room: int = 0) -> None:
        """See `Store.check_access`."""
        self._store.check_access(prefix, room)

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`."""
        self._store.delete(keys)

    def close(self) -> None:
        """Fetch nothing more; what is on its way is not waited for."""
        with self._lock:
            self._expected.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _is_small(self, ref: FileRef) -> bool:
        return 0 < ref.size <= self._limits.largest

    def _take(self, wanted: _FileId) -> Future[bytes] | None:
        """Give what was begun for that file, and begin others in its place."""
        with self._lock:
            if wanted not in self._begun:
                return None
            id_: _FileId | None = None
            while id_ != wanted:
                id_, (future, size) = self._begun.popitem(last=False)
                self._bytes -= size
                if id_ != wanted:
                    future.cancel()
            self._begin()
        return future

    def _begin(self) -> None:
        """Begin with what is expected next, as far as the limits allow; the caller holds the lock."""
        while self._expected and self._has_room(self._expected[0].size):
            ref = self._expected.popleft()
            id_ = (ref.key, ref.etag)
            if id_ in self._begun:
                continue
            with suppress(RuntimeError):  # a system that has no thread left: this file is not read ahead
                self._begun[id_] = (self._threads.submit(self._fetch, ref), ref.size)
                self._bytes += ref.size

    def _has_room(self, size: int) -> bool:
        return len(self._begun) < self._limits.files and self._bytes + size <= self._limits.bytes

    def _fetch(self, ref: FileRef) -> bytes:
        with self._store.open(ref.key, etag=ref.etag, size=ref.size or None) as stream:
            return stream.read()
