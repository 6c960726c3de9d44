from __future__ import annotations

import pytest

from braze_etl.engine.budget import Terms
from braze_etl.engine.settings import BudgetSection
from tests.engine.budget.world import World


@pytest.fixture
def world() -> World:
    """A budget of 25 a day that stops opens of emails."""
    return World(Terms(BudgetSection(per_day=25, stop=("users.messages.email.*",))))
