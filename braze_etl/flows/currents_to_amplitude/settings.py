"""The configuration as types: keys, defaults and bounds of CONTRACT.md, and the JSON Schema for editors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from braze_etl.clock import duration_text
from braze_etl.config.loading import Config, Examine, load
from braze_etl.config.secrets import checked_key, checked_url, leads_away_in_clear
from braze_etl.config.values import Duration, Hour, LedgerUri, Share, Size, StoreUri
from braze_etl.config.yaml import KeyPath
from braze_etl.engine.settings import BudgetSection, CostSection
from braze_etl.mapping.settings import MappingSection
from braze_etl.monitoring.settings import MetricsSection, NotifySection

_PATTERNS = Field(default=("*",), description="Globs; `!glob` excludes, and excludes win.")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StoreSection(_Section):
    """How an object store is reached; for `state` and `quarantine` null means the source's."""

    endpoint_url: str | None = Field(default=None, description="An S3-compatible server.")
    region: str | None = Field(default=None, description="Of the bucket; null: as the AWS client finds it.")
    role_arn: str | None = Field(default=None, description="A role to assume for this store.")
    external_id: str | None = Field(default=None, description="Goes with role_arn.")

    @field_validator("endpoint_url")
    @classmethod
    def _has_no_password(cls, value: str | None) -> str | None:
        if value and "@" in value.partition("://")[2].partition("/")[0]:
            raise ValueError("it holds a password, which errors would show; give keys as AWS tools take them")
        return value


class WrittenStoreSection(StoreSection):
    """A store that the job writes to."""

    kms_key_id: str | None = Field(
        default=None, description="KMS key (id or ARN) for what is written; null: the bucket's default."
    )


class Source(StoreSection):
    """Where the Currents files are, and which of them are due."""

    uri: StoreUri = Field(
        description="s3://bucket/prefix (or s3:// and the ARN of an access point), a folder, or file:///folder."
    )
    start_at: Hour | None = Field(
        default=None, description="First UTC hour that is due; fixed in the ledger at its creation."
    )
    lookback: Duration = Field(default=timedelta(days=7), description="Listed on every run.")
    settle: Duration = Field(default=timedelta(0), description="Younger objects wait for the next run.")
    reconcile_every: Duration = Field(
        default=timedelta(hours=24), description="Sweep the hours before the look-back for what came late."
    )
    reconcile_for: Duration = Field(
        default=timedelta(minutes=1), description="Most of one run that a sweep may take; the next goes on."
    )
    requester_pays: bool = Field(
        default=False, description="The bucket makes its readers pay: charge the account of this job."
    )
    integrations: tuple[str, ...] = _PATTERNS
    event_types: tuple[str, ...] = _PATTERNS


class Window(_Section):
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


class Amplitude(_Section):
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


class State(WrittenStoreSection):
    """Where the ledger is kept."""

    uri: LedgerUri = Field(
        default="sqlite:///state/braze-etl.db",
        description="Relative; four slashes for an absolute path, or s3://bucket/prefix.",
    )
    create: Literal["auto", "never"] = Field(
        default="auto", description="never: a missing ledger is an error, and not a new beginning."
    )


class Quarantine(WrittenStoreSection):
    """Where what was set aside is kept."""

    uri: StoreUri = Field(default="state/quarantine", description="A folder or s3://bucket/prefix.")
    stop_at: Share | None = Field(
        default=0.2,
        description="Share of the records of a run, of 1,000 at least, that may be set aside. Beyond it "
        "nothing is sent until `run --allow-quarantine`. null, or 100%: no bound.",
    )
    payload: Literal["auto"] | bool = Field(
        default="auto",
        description="Keep the records themselves, which are personal data, beside the entries. "
        "auto: where the source is known to delete its files before payload_ttl.",
    )
    payload_ttl: Duration = Field(
        default=timedelta(days=30), description="Kept records are removed after this long."
    )

    @field_validator("payload_ttl")
    @classmethod
    def _positive(cls, value: timedelta) -> timedelta:
        if value <= timedelta(0):
            raise ValueError("must be longer than 0s; to keep nothing, set payload to false")
        return value


class Settings(_Section):
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


_STAND_INS: Final[Mapping[KeyPath, str]] = {("amplitude", "region"): "US"}


def load_config(
    path: Path, environ: Mapping[str, str] = os.environ, *, examine: Examine[Settings] = lambda _: ()
) -> Config[Settings]:
    """Read and check the configuration of this flow; see `loading.load`."""
    return load(path, Settings, environ, examine=examine, stand_ins=_STAND_INS)
