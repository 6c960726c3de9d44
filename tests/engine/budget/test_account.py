from __future__ import annotations

from decimal import Decimal

import pytest

from braze_etl.engine.budget import Account, Spent, Terms
from braze_etl.engine.settings import BudgetSection, CostSection

TERMS = Terms(BudgetSection(per_month=1000, per_day=100), CostSection(per_million=Decimal("12.50")))


def account(month_events: int, day_events: int, terms: Terms = TERMS) -> Account:
    return Account(terms, Spent("2026-12", month_events, "2026-12-31", day_events))


def test_machines_are_told_what_is_spent_and_left_of_each_bound_and_when_it_ends() -> None:
    facts = account(900, 10).as_dict(run=400_000)
    assert facts["month"] == {
        "period": "2026-12",
        "spent": 900,
        "limit": 1000,
        "left": 100,
        "warned": True,
        "ends_at": "2027-01-01T00:00:00Z",
    }
    assert (facts["day"]["left"], facts["day"]["warned"]) == (90, False)
    assert facts["day"]["ends_at"] == "2027-01-01T00:00:00Z"
    assert facts["cost"] == {
        "currency": "USD",
        "per_million": "12.50",
        "run": "5.00",
        "month": "0.01",
        "day": "0.00",
    }


def test_people_are_told_the_same_in_a_line_each() -> None:
    facts = dict(account(800_000, 120).facts())
    assert facts["budget, day"] == (
        "120 of 100 events in 2026-12-31 (120%), nothing left until 2027-01-01T00:00:00Z"
    )
    assert facts["cost"] == "0.00 USD in 2026-12-31, 10.00 USD in 2026-12"


def test_without_a_price_there_is_no_word_of_money() -> None:
    plain = account(1, 1, Terms(BudgetSection(per_month=10)))
    assert "cost" not in plain.as_dict()
    assert list(plain.facts()) == [("budget, month", "1 of 10 events in 2026-12 (10%), 9 left")]


@pytest.mark.parametrize(("spent", "warned"), [(799, False), (800, True), (1000, True)])
def test_a_bound_warns_from_its_share_on(spent: int, warned: bool) -> None:
    month, _ = account(spent, 0).lines
    assert month.warned is warned


def test_the_narrower_bound_says_how_much_is_left() -> None:
    assert account(990, 10).left == 10
    assert account(10, 90).left == 10
    assert account(10, 10, Terms()).left is None
