"""The sections that the configuration of every flow has."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from braze_etl.clock import duration_text
from braze_etl.config.values import Duration, Hour, LedgerUri, Share, StoreUri


class Section(BaseModel):
    """What a section does not know is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StoreSection(Section):
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


class SourceSection(StoreSection):
    """A store that a flow reads from, and what of it is due first."""

    uri: StoreUri
    start_at: Hour | None = Field(
        default=None, description="First UTC hour that is due; fixed in the ledger at its creation."
    )
    requester_pays: bool = Field(
        default=False, description="The bucket makes its readers pay: charge the account of this job."
    )


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
