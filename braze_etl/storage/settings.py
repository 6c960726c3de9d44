"""How a store is reached: the sections of the configuration that name one, and what is made of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator

from braze_etl.config.values import Duration, Hour, LedgerUri, Section, Share, StoreUri


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """What S3 needs besides a URI; a folder needs none of it.

    `role_arn` is assumed through STS with the credentials of the environment, and with `external_id` if set.
    What is written is encrypted with the KMS key `kms_key_id`, or as the bucket has it by default. With
    `requester_pays`, the account of this job is charged for what it asks of the bucket.
    """

    endpoint_url: str | None = None
    region: str | None = None
    role_arn: str | None = None
    external_id: str | None = None
    kms_key_id: str | None = None
    requester_pays: bool = False


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

    def access(self, source: StoreSection | None = None) -> StoreAccess:
        """How to reach this store: by its own values, or those of *source* where they are null."""
        source = source or self
        return StoreAccess(
            endpoint_url=self.endpoint_url or source.endpoint_url,
            region=self.region or source.region,
            role_arn=self.role_arn or source.role_arn,
            external_id=self.external_id or source.external_id,
        )


class WrittenStoreSection(StoreSection):
    """A store that the job writes to."""

    kms_key_id: str | None = Field(
        default=None, description="KMS key (id or ARN) for what is written; null: the bucket's default."
    )

    def access(self, source: StoreSection | None = None) -> StoreAccess:
        return replace(super().access(source), kms_key_id=self.kms_key_id)


class SourceSection(StoreSection):
    """A store that a flow reads from, and what of it is due first."""

    uri: StoreUri
    start_at: Hour | None = Field(
        default=None, description="First UTC hour that is due; fixed in the ledger at its creation."
    )
    requester_pays: bool = Field(
        default=False, description="The bucket makes its readers pay: charge the account of this job."
    )

    def access(self, source: StoreSection | None = None) -> StoreAccess:
        return replace(super().access(source), requester_pays=self.requester_pays)


class State(WrittenStoreSection):
    """Where the ledger is kept."""

    uri: LedgerUri = Field(
        default="sqlite:///state/braze-etl.db",
        description="Relative; four slashes for an absolute path, or s3://bucket/prefix.",
    )
    create: Literal["auto", "never"] = Field(
        default="auto", description="never: a missing ledger is an error, and not a new beginning."
    )
    keep: Duration = Field(
        default=timedelta(days=400),
        description="A row of each done file is kept until its hour is that old, and out of reach of the "
        "look-back by 7 days; then it is counted by day alone.",
    )

    @field_validator("keep")
    @classmethod
    def _long_enough(cls, value: timedelta) -> timedelta:
        if value < timedelta(days=30):
            raise ValueError("must be 30d or longer: what is no longer known one by one is never sent again")
        return value


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
