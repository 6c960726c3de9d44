from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import pytest

from braze_etl.model import FileRef

NOW = datetime(2026, 10, 3, 12, 30, tzinfo=UTC)
MakeRef: TypeAlias = Callable[..., FileRef]


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def make_ref() -> MakeRef:
    def make(
        name: str, *, hours_ago: int = 1, etag: str = "e1", size: int = 1000, kind: str = "Open"
    ) -> FileRef:
        hour = (NOW - timedelta(hours=hours_ago)).replace(minute=0)
        return FileRef(name, etag, size, NOW, f"users.messages.email.{kind}", hour)

    return make
