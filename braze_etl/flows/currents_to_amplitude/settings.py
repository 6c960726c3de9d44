"""The configuration as types: keys, defaults and bounds of CONTRACT.md, and the JSON Schema for editors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from braze_etl.amplitude.settings import Amplitude
from braze_etl.braze.currents.settings import Source
from braze_etl.config.loading import Config, Examine, load
from braze_etl.config.values import Section
from braze_etl.config.yaml import KeyPath, dotted
from braze_etl.engine.budget import Terms
from braze_etl.engine.executors.cores import usable_cores
from braze_etl.engine.executors.workers import (
    ADDRESS_PATTERN,
    AUTO,
    MOST_PROCESSES,
    Workers,
    parse_workers,
    scheduler_of,
)
from braze_etl.engine.settings import BudgetSection, CostSection, Window
from braze_etl.mapping.groups import expand_types
from braze_etl.mapping.settings import MappingSection
from braze_etl.monitoring.settings import MetricsSection, NotifySection
from braze_etl.state.ledger import LedgerIdentity
from braze_etl.storage.settings import Quarantine, State

_WORKERS: Final = WithJsonSchema(
    {
        "anyOf": [
            {"const": AUTO, "type": "string"},
            {"maximum": MOST_PROCESSES, "minimum": 1, "type": "integer"},
            {"pattern": ADDRESS_PATTERN, "type": "string", "examples": ["dask://scheduler:8786"]},
        ]
    }
)
_SHARED: Final = ("s3://", "file://", "${")


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
    workers: Annotated[Workers, BeforeValidator(parse_workers), _WORKERS] = Field(
        default=AUTO,
        description="Processes; auto: one a core. Or the Dask scheduler that knows other machines, as "
        "dask://host:8786, or dask+tls://host:8786 with certificates.",
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

    def processes(self, asked: Workers | None = None) -> int:
        """How many workers: as asked, as configured, or one for each core that may be used (see `cores`).

        Of other machines, the most that may be at work; how many there are, their executor knows.
        """
        wanted, most = asked or self.workers, self.amplitude.in_flight
        if isinstance(wanted, int):
            return min(wanted, most)
        return min(usable_cores(), most) if wanted == AUTO else most

    def beyond_reach(self, asked: Workers | None = None) -> Iterator[tuple[KeyPath, str]]:
        """The places that other machines read or write, and that no other machine has; none without these.

        Each comes with its path in the configuration, and why it won't do.
        """
        if scheduler_of(asked or self.workers) is None:
            return
        privacy, lookup = self.mapping.privacy, self.mapping.identity.lookup
        places: dict[KeyPath, str | None] = {
            ("source", "uri"): self.source.uri,
            ("quarantine", "uri"): self.quarantine.uri,
            ("mapping", "privacy", "suppress"): privacy.suppress,
            ("mapping", "identity", "lookup", "uri"): lookup.uri if lookup else None,
        }
        for path, uri in places.items():
            if uri is not None and not uri.lower().startswith(_SHARED):
                yield path, f"{dotted(path)}: {uri} is a place of this machine alone, and {_WHY}"


_WHY: Final = (
    "workers names other machines, which must reach it: write s3://bucket/prefix, or file:///absolute/path "
    "for a folder that all of them have"
)
_STAND_INS: Final[Mapping[KeyPath, str]] = {("amplitude", "region"): "US"}


def load_config(
    source: Path | Mapping[str, Any],
    environ: Mapping[str, str] = os.environ,
    *,
    examine: Examine[Settings] = lambda _: (),
) -> Config[Settings]:
    """Read and check the configuration of this flow; see `loading.load`."""

    def examined(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
        return chain(settings.beyond_reach(), examine(settings))

    return load(source, Settings, environ, examine=examined, stand_ins=_STAND_INS)
