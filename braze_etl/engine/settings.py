"""The `budget` and `cost` sections: how many events may be sent, and what they cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from braze_etl.config.values import Count, Share

Bound = Annotated[Count, Field(gt=0)]


class BudgetSection(BaseModel):
    """How many events a project may be sent in a UTC calendar month and day, and what ends when they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_month: Bound | None = Field(default=None, description="Events of all types in a calendar month.")
    per_day: Bound | None = Field(default=None, description="Events of all types in a calendar day.")
    warn_at: Share = Field(default=0.8, description="Warn when this much of a bound is spent.")
    stop: tuple[str, ...] = Field(
        default=(),
        description="Event types (globs, `!glob` excludes; or the groups engagement, behavior) that are held "
        "instead of being sent beyond a bound. None: a bound only warns.",
    )
    first_run_events: Bound | None = Field(
        default=None,
        description="A first run that would send more than about this many events has to be confirmed.",
    )


class CostSection(BaseModel):
    """What events cost, for plans and reports; it bounds nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_million: Annotated[Decimal, Field(ge=0)] | None = Field(
        default=None, description="Price of a million events."
    )
    currency: str = Field(default="USD", pattern="^[A-Z]{3}$", description="Three letters (ISO 4217).")
