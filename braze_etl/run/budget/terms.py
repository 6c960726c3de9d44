"""The terms of a budget, from the `budget` and `cost` sections of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, Self

from braze_etl.config import Settings
from braze_etl.currents import Selection
from braze_etl.transform import expand_types

_CENT: Final = Decimal("0.01")
_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Terms:
    """Bounds in events (None: no bound), the part of one that warns, the types that stop, and the price."""

    per_month: int | None = None
    per_day: int | None = None
    warn_at: float = 0.8
    stop: tuple[str, ...] = ()
    per_million: Decimal | None = None
    currency: str = "USD"

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The terms that are configured; groups in `stop` give way to their globs."""
        budget, cost = settings.budget, settings.cost
        return cls(
            per_month=budget.per_month,
            per_day=budget.per_day,
            warn_at=budget.warn_at,
            stop=expand_types(budget.stop),
            per_million=cost.per_million,
            currency=cost.currency,
        )

    @property
    def bounded(self) -> bool:
        """Whether there is any bound."""
        return self.per_month is not None or self.per_day is not None

    @property
    def enforced(self) -> bool:
        """Whether a bound is more than a warning."""
        return self.bounded and bool(self.stop)

    @property
    def configured(self) -> bool:
        """Whether anybody wants to know what is spent."""
        return self.bounded or self.per_million is not None

    def stops(self, event_type: str) -> bool:
        """Whether that type is held beyond a bound."""
        return Selection(event_types=self.stop).matches_event_type(event_type)

    def price(self, events: int) -> Decimal | None:
        """What so many events cost, rounded to a hundredth; None without a price."""
        if self.per_million is None:
            return None
        return (self.per_million * events / _MILLION).quantize(_CENT, ROUND_HALF_UP)
