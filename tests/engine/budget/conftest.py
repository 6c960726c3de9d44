from __future__ import annotations

import pytest

from braze_etl.engine.budget import Terms
from tests.engine.budget.world import World


@pytest.fixture
def world() -> World:
    """A budget of 25 a day that stops opens of emails."""
    return World(Terms(per_day=25, stop=("users.messages.email.*",)))
