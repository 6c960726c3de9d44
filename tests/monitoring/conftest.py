from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.monitoring.watching import Watcher, watching


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    """A service that watches."""
    with watching() as found:
        yield found


@pytest.fixture
def configs() -> Path:
    """Where alert rules and dashboard are."""
    return Path(__file__).parents[2] / "configs/monitoring"
