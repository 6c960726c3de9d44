"""The `metrics` and `notify` sections: who is told how the job does."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, SecretStr, field_validator

from braze_etl.config.secrets import checked_url
from braze_etl.config.values import Duration, Section

Topic: TypeAlias = Literal["failed", "at_risk", "quarantined", "stale", "missing", "budget", "drift"]
"""What the webhook may be told of."""


def _address(value: SecretStr) -> SecretStr:
    try:
        checked_url(value.get_secret_value())
    except ValueError:  # whose words name the value: an address is a secret
        raise ValueError("no URL; it begins with https:// or http://, and a host follows") from None
    return value


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than 0s")
    return value


Address: TypeAlias = Annotated[SecretStr, AfterValidator(_address)]
Positive: TypeAlias = Annotated[Duration, AfterValidator(_positive)]
_TIMEOUT = timedelta(seconds=10)


class PushgatewaySection(Section):
    """Where metrics are pushed to at the end of a pass, under the grouping key `job` and `pipeline`."""

    url: Address | None = Field(default=None, description="Without /metrics; user:password@ may stand in it.")
    job: str = Field(default="braze_etl", min_length=1, description="The label `job`.")
    timeout: Positive = Field(default=_TIMEOUT, description="To connect, and again to answer.")


class MetricsSection(Section):
    """Metrics in Prometheus' format."""

    textfile: Path | None = Field(
        default=None, description="A file <name>.prom in the node exporter's textfile folder."
    )
    pushgateway: PushgatewaySection = PushgatewaySection()

    @field_validator("textfile")
    @classmethod
    def _is_read(cls, value: Path | None) -> Path | None:
        if value is not None and value.suffix != ".prom" and "${" not in str(value):
            raise ValueError(f"{str(value)!r} does not end in .prom: the node exporter reads no other file")
        return value


class NotifySection(Section):
    """A webhook and a dead man's switch, for those who have no Prometheus."""

    webhook: Address | None = Field(
        default=None, description="Gets a POST with JSON, `text` in it, as Slack and others take it."
    )
    on: tuple[Topic, ...] = Field(
        default=("failed", "at_risk", "quarantined", "stale", "missing"),
        description="What the webhook is told of.",
    )
    repeat_every: Positive = Field(
        default=timedelta(hours=24), description="What lasts, or comes again and again, is told so often."
    )
    dead_man: Address | None = Field(
        default=None, description="Asked for with GET after every successful `run`; alarms when it is not."
    )
    timeout: Positive = Field(default=_TIMEOUT, description="To connect, and again to answer.")
