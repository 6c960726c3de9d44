from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.monitoring.watching import Watcher, watching


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    """A service that watches."""
    with watching() as found:
        yield found
