"""A store in memory that can break off, and things to be set aside."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import BinaryIO

import pytest

from braze_etl.errors import AccessDeniedError, SourceGoneError, StoreError
from braze_etl.model import Position, Reason, SetAside
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.storage.store import Page, StoredObject

NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)
EMAIL_OPEN = "users.messages.email.Open"
PREFIX = "q/"


def aside(
    record: int | None,
    *,
    key: str = "currents/a.avro",
    etag: str = "e1",
    block: int = 512,
    reason: Reason = Reason.REJECTED,
    event_type: str = EMAIL_OPEN,
    detail: str = "in Amplitude's words",
) -> SetAside:
    return SetAside(Position(key, etag, block, record), event_type, reason, detail)


@dataclass
class FakeStore:
    """Objects in a dictionary. `breaks_after` counts writes and deletions down to a `StoreError`."""

    uri: str = "fake://store"
    objects: dict[str, bytes] = field(default_factory=dict)
    breaks_after: int = 1_000_000
    denied: str = ""
    puts: int = 0
    reads: int = 0

    def pages(self, prefix: str = "", *, start_after: str = "", delimiter: str = "") -> Iterator[Page]:
        for key in sorted(key for key in self.objects if key.startswith(prefix)):
            yield Page((StoredObject(key, "", len(self.objects[key]), NOON),), ())

    def open(
        self, key: str, *, offset: int = 0, length: int | None = None, etag: str = "", size: int | None = None
    ) -> BinaryIO:
        self.reads += 1
        if key not in self.objects:
            raise SourceGoneError(f"{key} is gone")
        return io.BytesIO(self.objects[key])

    def put(self, key: str, data: bytes) -> None:
        self._count_down()
        self.puts += 1
        self.objects[key] = data

    def check_access(self, prefix: str = "", room: int = 0) -> None:
        if self.denied:
            raise AccessDeniedError(f"{prefix}{self.denied} may not be read")

    def lifetime(self, prefix: str = "") -> None:
        return None

    def delete(self, keys: Iterable[str]) -> None:
        self._count_down()
        for key in keys:
            self.objects.pop(key, None)

    def _count_down(self) -> None:
        if self.breaks_after == 0:
            raise StoreError("the store is away")
        self.breaks_after -= 1


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def quarantine(store: FakeStore) -> Quarantine:
    return Quarantine(store, PREFIX)
