"""The `window`, `budget` and `cost` sections: what a run is measured against, and what it may send."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from braze_etl.clock import duration_text
from braze_etl.config.values import Count, Duration, Section, Share

Bound = Annotated[Count, Field(gt=0)]


class Window(Section):
    """What the job is measured against."""

    objective: Duration = Field(
        default=timedelta(hours=48), description="No undelivered file older than this."
    )
    warn_at: Duration = Field(default=timedelta(hours=24), description="`status` exits 5 from this age on.")
    source_stale_after: Duration = Field(
        default=timedelta(hours=24),
        description="`status` exits 5 when the newest hour of the source is older; topic `stale`.",
    )

    @field_validator("warn_at")
    @classmethod
    def _comes_first(cls, value: timedelta, others: ValidationInfo) -> timedelta:
        objective = others.data.get("objective")
        if objective is not None and value > objective:
            raise ValueError(f"it is above window.objective ({duration_text(objective)}): too late to warn")
        return value


class BudgetSection(Section):
    """How many events a project may be sent in a UTC calendar month and day, and what ends when they are."""

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


class CostSection(Section):
    """What events cost, for plans and reports; it bounds nothing."""

    per_million: Annotated[Decimal, Field(ge=0)] | None = Field(
        default=None, description="Price of a million events."
    )
    currency: str = Field(default="USD", pattern="^[A-Z]{3}$", description="Three letters (ISO 4217).")
