"""The configuration as types: keys, defaults and bounds of CONTRACT.md, and the JSON Schema for editors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from braze_etl.config.loading import Config, Examine, load
from braze_etl.config.secrets import checked_key, checked_url, leads_away_in_clear
from braze_etl.config.values import Duration, Size, StoreUri
from braze_etl.config.yaml import KeyPath
from braze_etl.engine.settings import BudgetSection, CostSection
from braze_etl.flows.settings import Quarantine, Section, SourceSection, State, Window
from braze_etl.mapping.settings import MappingSection
from braze_etl.monitoring.settings import MetricsSection, NotifySection
from braze_etl.state.ledger import LedgerIdentity

_PATTERNS = Field(default=("*",), description="Globs; `!glob` excludes, and excludes win.")


class Source(SourceSection):
    """Where the Currents files are, and which of them are due."""

    uri: StoreUri = Field(
        description="s3://bucket/prefix (or s3:// and the ARN of an access point), a folder, or file:///folder."
    )
    lookback: Duration = Field(default=timedelta(days=7), description="Listed on every run.")
    settle: Duration = Field(default=timedelta(0), description="Younger objects wait for the next run.")
    reconcile_every: Duration = Field(
        default=timedelta(hours=24), description="Sweep the hours before the look-back for what came late."
    )
    reconcile_for: Duration = Field(
        default=timedelta(minutes=1), description="Most of one run that a sweep may take; the next goes on."
    )
    integrations: tuple[str, ...] = _PATTERNS
    event_types: tuple[str, ...] = _PATTERNS


class Amplitude(Section):
    """The project that the events go to."""

    project: str = Field(default="default", min_length=1, description="A name; the ledger belongs to it.")
    api_key: Annotated[SecretStr, AfterValidator(checked_key)] = Field(
        default=SecretStr(""), description="The project's API key, from the environment."
    )
    region: Literal["US", "EU"] = Field(description="Amplitude's data centre; a key works in one alone.")
    insecure: bool = Field(
        default=False, description="Let `endpoint` be an http:// address that is not this machine."
    )
    endpoint: str | None = Field(default=None, description="Another URL: sandbox, proxy.")
    gzip: Literal["auto"] | bool = Field(
        default="auto", description="Compress requests; auto: at Amplitude's own endpoints."
    )
    max_events: int = Field(default=2000, ge=1, le=2000, description="Events per request.")
    max_bytes: Size = Field(
        default=18_000_000, ge=1_000, le=20_000_000, description="Uncompressed bytes per request."
    )
    concurrency: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = Field(
        default="auto", description="Most requests in flight, over all workers; auto: 16."
    )
    min_id_length: int = Field(
        default=5, ge=1, le=1024, description="Amplitude refuses shorter ids; sent along with each request."
    )
    timeout: Duration = Field(default=timedelta(seconds=20), description="Of one request.")
    give_up_after: Duration = Field(default=timedelta(minutes=10), description="Of nothing but failures.")
    rate: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Most events a second, over all workers; null: no bound of our own."
    )

    @field_validator("endpoint")
    @classmethod
    def _is_url(cls, value: str | None, others: ValidationInfo) -> str | None:
        if value is None:
            return None
        if leads_away_in_clear(checked_url(value)) and not others.data.get("insecure"):
            raise ValueError(
                "key and events would travel in the clear to another machine; write https://, or set"
                " amplitude.insecure: true where the way there is your own"
            )
        return value

    @field_validator("timeout", "give_up_after")
    @classmethod
    def _positive(cls, value: timedelta) -> timedelta:
        if value <= timedelta(0):
            raise ValueError("must be longer than 0s")
        return value


class Settings(Section):
    """One pipeline: a source, an Amplitude project, and the ledger between them."""

    pipeline: str = Field(default="default", min_length=1, description="A name for logs, reports and state.")
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
        return LedgerIdentity(self.pipeline, self.amplitude.project, self.amplitude.region)


_STAND_INS: Final[Mapping[KeyPath, str]] = {("amplitude", "region"): "US"}


def load_config(
    path: Path, environ: Mapping[str, str] = os.environ, *, examine: Examine[Settings] = lambda _: ()
) -> Config[Settings]:
    """Read and check the configuration of this flow; see `loading.load`."""
    return load(path, Settings, environ, examine=examine, stand_ins=_STAND_INS)
