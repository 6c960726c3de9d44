from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from braze_etl.flows.currents_to_amplitude.settings import Settings


def settings(**sections: Any) -> Settings:
    plain: dict[str, Any] = {"source": {"uri": "export"}, "amplitude": {"region": "US"}}
    return Settings.model_validate({**plain, **sections})


def test_by_default_nothing_is_bounded_and_nothing_costs() -> None:
    budget, cost = settings().budget, settings().cost
    assert (budget.per_month, budget.per_day, budget.stop, budget.first_run_events) == (None, None, (), None)
    assert (budget.warn_at, cost.per_million, cost.currency) == (0.8, None, "USD")


def test_bounds_are_written_as_people_write_them() -> None:
    budget = settings(budget={"per_month": "10M", "per_day": "500k", "warn_at": "75%"}).budget
    assert (budget.per_month, budget.per_day, budget.warn_at) == (10_000_000, 500_000, 0.75)


def test_prices_are_exact() -> None:
    assert settings(cost={"per_million": 0.1}).cost.per_million == Decimal("0.1")


@pytest.mark.parametrize(
    "sections",
    [
        {"budget": {"per_day": 0}},
        {"budget": {"per_month": "-1"}},
        {"budget": {"per_month": True}},
        {"budget": {"warn_at": "0%"}},
        {"budget": {"first_run_events": "many"}},
        {"cost": {"per_million": -1}},
        {"cost": {"currency": "dollars"}},
    ],
)
def test_what_makes_no_sense_is_refused(sections: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**sections)
