"""A bucket in memory that honours conditions, counts, breaks off, and has a clock of its own."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import BinaryIO

from braze_etl.errors import SourceGoneError, StoreError
from braze_etl.storage.store import Page, StoredObject, Version

START = datetime(2026, 10, 5, 12, tzinfo=UTC)


@dataclass
class MemoryBucket:
    """`requests` are (method, key, bytes); those after number `breaks_at` fail.

    With `applies_broken` a failing write has been done when it fails. `ignores` names conditions that are not
    honoured; `retries_lost_answers` writes twice, as a client whose first answer was lost.
    """

    uri: str = "s3://bucket"
    objects: dict[str, tuple[bytes, datetime]] = field(default_factory=dict)
    now: datetime = START
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    breaks_at: int | None = None
    applies_broken: bool = False
    ignores: frozenset[str] = frozenset()
    retries_lost_answers: bool = False
    bare_etags: bool = False
    before_write: Callable[[str], None] = lambda _: None

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def pages(self, prefix: str = "", *, start_after: str = "", delimiter: str = "") -> Iterator[Page]:
        self._ask("LIST", prefix)
        found = (
            StoredObject(key, _etag(data), len(data), modified)
            for key, (data, modified) in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        yield Page(tuple(found), ())

    def open(
        self, key: str, *, offset: int = 0, length: int | None = None, etag: str = "", size: int | None = None
    ) -> BinaryIO:
        self._ask("GET", key, len(self.objects.get(key, (b"", START))[0]))
        if key not in self.objects:
            raise SourceGoneError(f"{key} is gone")
        return io.BytesIO(self.objects[key][0])

    def check_access(self, prefix: str = "", room: int = 0) -> None:
        """All is within reach."""

    def lifetime(self, prefix: str = "") -> timedelta | None:
        return None

    def put(self, key: str, data: bytes) -> None:
        self._write(key, data)

    def delete(self, keys: Iterable[str]) -> None:
        gone = list(keys)
        if gone:
            self._ask("DELETE", gone[0])
        for key in gone:
            self.objects.pop(key, None)

    def read(self, key: str) -> Version | None:
        self._ask("GET", key, len(self.objects.get(key, (b"", START))[0]))
        if key not in self.objects:
            return None
        data, modified = self.objects[key]
        return Version(data, _etag(data), modified, self.now.replace(microsecond=0))

    def create(self, key: str, data: bytes) -> str | None:
        return self._conditionally(key, data, "If-None-Match", lambda: key not in self.objects)

    def replace(self, key: str, data: bytes, etag: str) -> str | None:
        def holds() -> bool:
            return key in self.objects and _etag(self.objects[key][0]) == etag

        return self._conditionally(key, data, "If-Match", holds)

    def _conditionally(self, key: str, data: bytes, condition: str, holds: Callable[[], bool]) -> str | None:
        self.before_write(key)
        for _ in range(2 if self.retries_lost_answers else 1):
            if not holds() and condition not in self.ignores:
                return None
            self._write(key, data)
        return _etag(data)

    def _write(self, key: str, data: bytes) -> None:
        def write() -> None:
            self.objects[key] = data, self.now.replace(microsecond=0)

        self._ask("PUT", key, len(data), write if self.applies_broken else None)
        write()

    def _ask(self, method: str, key: str, size: int = 0, first: Callable[[], None] | None = None) -> None:
        self.requests.append((method, key, size))
        if self.breaks_at is not None and len(self.requests) > self.breaks_at:
            if first:
                first()
            raise StoreError("the store is away", remedy="wait")


def _etag(data: bytes) -> str:
    return f'"{md5(data).hexdigest()}"'
