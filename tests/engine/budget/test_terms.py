from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from braze_etl.engine.budget import Terms
from braze_etl.flows.currents_to_amplitude.settings import Settings


def terms(**sections: Any) -> Terms:
    plain: dict[str, Any] = {"source": {"uri": "export"}, "amplitude": {"region": "US"}}
    settings = Settings.model_validate({**plain, **sections})
    return settings.terms


def test_without_a_bound_nothing_is_enforced() -> None:
    assert not terms(budget={"stop": ["*"]}).enforced
    assert not terms().configured
    assert terms(cost={"per_million": 10}).configured


def test_a_bound_without_types_only_warns() -> None:
    chosen = terms(budget={"per_month": "10M"})
    assert (chosen.bounds.per_month, chosen.bounded, chosen.enforced) == (10_000_000, True, False)
    assert not chosen.stops("users.messages.email.Open")


def test_excludes_win_over_includes() -> None:
    chosen = terms(budget={"per_day": "500k", "stop": ["users.messages.*", "!*.Click"]})
    assert chosen.stops("users.messages.email.Open")
    assert not chosen.stops("users.messages.email.Click")
    assert not chosen.stops("users.behaviors.Purchase")


def test_a_group_can_be_excluded() -> None:
    chosen = terms(budget={"per_day": 1, "stop": ["*", "!engagement"]})
    assert not chosen.stops("users.messages.email.Open")
    assert chosen.stops("users.behaviors.Purchase")


@pytest.mark.parametrize(
    ("per_million", "events", "price"),
    [
        (12.5, 1_000_000, "12.50"),
        ("0.1", 3_000_000, "0.30"),
        (12.5, 400, "0.01"),
        (12.5, 399, "0.00"),
        (0, 5, "0.00"),
    ],
)
def test_prices_are_decimal_and_rounded_to_a_hundredth(per_million: Any, events: int, price: str) -> None:
    assert terms(cost={"per_million": per_million}).price(events) == Decimal(price)


def test_without_a_price_nothing_has_one() -> None:
    assert terms().price(1_000_000) is None
