"""The configuration as types: keys, defaults and bounds of CONTRACT.md, and the JSON Schema for editors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from braze_etl.amplitude.settings import Amplitude
from braze_etl.braze.currents.settings import Source
from braze_etl.config.loading import Config, Examine, load
from braze_etl.config.values import Section
from braze_etl.config.yaml import KeyPath
from braze_etl.engine.budget import Terms
from braze_etl.engine.executors.cores import usable_cores
from braze_etl.engine.settings import BudgetSection, CostSection, Window
from braze_etl.mapping.groups import expand_types
from braze_etl.mapping.settings import MappingSection
from braze_etl.monitoring.settings import MetricsSection, NotifySection
from braze_etl.state.ledger import LedgerIdentity
from braze_etl.storage.settings import Quarantine, State


class Settings(Section):
    """One pipeline: a source, an Amplitude project, and the ledger between them."""

    pipeline: str = Field(default="default", min_length=1, description="A name for logs, reports and state.")
    flow: Literal["currents_to_amplitude"] = Field(
        default="currents_to_amplitude", description="What is moved; the ledger belongs to it."
    )
    source: Source
    window: Window = Window()
    amplitude: Amplitude
    state: State = State()
    quarantine: Quarantine = Quarantine()
    mapping: MappingSection = MappingSection()
    budget: BudgetSection = BudgetSection()
    cost: CostSection = CostSection()
    metrics: MetricsSection = MetricsSection()
    notify: NotifySection = NotifySection()
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = Field(
        default="auto", description="Processes."
    )
    decoder: Literal["auto", "fastavro"] = Field(
        default="auto",
        description="fastavro: without the generated decoder; slower, and the outcomes are equal.",
    )

    @property
    def identity(self) -> LedgerIdentity:
        """Whom the ledger belongs to."""
        return LedgerIdentity(self.pipeline, self.amplitude.project, self.amplitude.region, self.flow)

    @property
    def terms(self) -> Terms:
        """What may be sent, and what it costs; groups of event types in `budget.stop` give way to globs."""
        bounds = self.budget.model_copy(update={"stop": expand_types(self.budget.stop)})
        return Terms(bounds, self.cost)

    def processes(self, asked: int | None = None) -> int:
        """How many workers: as asked, as configured, or one for each core that may be used (see `cores`)."""
        wanted = asked or self.workers
        return min(usable_cores() if wanted == "auto" else wanted, self.amplitude.in_flight)


_STAND_INS: Final[Mapping[KeyPath, str]] = {("amplitude", "region"): "US"}


def load_config(
    source: Path | Mapping[str, Any],
    environ: Mapping[str, str] = os.environ,
    *,
    examine: Examine[Settings] = lambda _: (),
) -> Config[Settings]:
    """Read and check the configuration of this flow; see `loading.load`."""
    return load(source, Settings, environ, examine=examine, stand_ins=_STAND_INS)
