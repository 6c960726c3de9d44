from __future__ import annotations

from decimal import Decimal

import pytest

from braze_etl.engine.budget import Account, Spending, Spent, Terms
from braze_etl.engine.settings import BudgetSection, CostSection
from braze_etl.errors import UsageError

TERMS = Terms(
    BudgetSection(per_month=1000, per_day=100, stop=("opens",)), CostSection(per_million=Decimal(10))
)


def spending(terms: Terms = TERMS, **to_send: int) -> Spending:
    return Spending.of(Account(terms, Spent("2026-11", 800, "2026-11-24", 40)), to_send)


def test_a_plan_says_by_how_much_each_bound_is_overrun_and_how_much_is_held() -> None:
    facts = spending(opens=50, purchases=250).as_dict()
    assert (facts["to_send"], facts["over"], facts["held"]) == (300, {"month": 100, "day": 240}, 50)
    assert facts["cost"]["to_send"] == "0.00"


def test_what_fits_is_neither_refused_nor_held() -> None:
    fits = spending(opens=60)
    fits.refuse_overrun()
    assert (fits.over, fits.held) == ({}, 0)


def test_a_refusal_says_by_how_much_in_which_bound_and_what_to_do() -> None:
    with pytest.raises(UsageError) as refused:
        spending(opens=1500).refuse_overrun()
    assert "about 1,500 events (an estimate)" in refused.value.message
    assert "1,300 more than the 200 that budget.per_month leaves in 2026-11" in refused.value.message
    assert "1,440 more than the 60 that budget.per_day leaves in 2026-11-24" in refused.value.message
    assert "--over-budget" in refused.value.remedy
    assert "2026-12-01T00:00:00Z" in refused.value.remedy


def test_without_a_bound_nothing_is_too_much() -> None:
    free = spending(Terms(cost=CostSection(per_million=Decimal(10))), opens=5_000_000)
    free.refuse_overrun()
    assert dict(free.facts())["this costs"] == "50.00 USD"
