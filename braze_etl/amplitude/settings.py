"""The `amplitude` section: where events go, within which limits, and where they can be read.

Sources: amplitude.md, sections 0 and 1.2; amplitude-read.md.
"""

from __future__ import annotations

from datetime import UTC, timedelta, tzinfo
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit, urlunsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from braze_etl.clock import Clock
from braze_etl.config.secrets import checked_key, checked_url, leads_away_in_clear
from braze_etl.config.values import Duration, Section, Size
from braze_etl.delivery.destination import Limits, Names
from braze_etl.delivery.http import HttpTransport
from braze_etl.errors import UsageError

_HOSTS = {"US": "api2.amplitude.com", "EU": "api.eu.amplitude.com"}
_READ_HOSTS = {"US": "amplitude.com", "EU": "analytics.eu.amplitude.com"}
_BATCH = "/batch"
_HTTP_V2 = "/2/httpapi"
_BATCH_BYTES = 20_000_000
_HTTP_V2_BYTES = 1_000_000
_MOST_IN_FLIGHT = 16
"""With `concurrency: auto`: 50,000 events/s at 200 ms a request take about 6 (performance.md)."""
_LEAST_RATE = 500.0
"""Events a second over all processes: the smallest plans allow 1,000 (performance.md)."""

WINDOW = 30.0
"""Seconds: what Amplitude takes of a project, user or device is an average over them (amplitude.md, 1.2)."""

NAMES = Names(
    service="Amplitude",
    item="event",
    key="`amplitude.api_key`",
    endpoint="`amplitude.endpoint`",
    address="`amplitude.region` and `amplitude.endpoint`",
)


def endpoint_url(region: str, endpoint: str | None = None) -> str:
    """The URL that batches are posted to.

    Args:
        region: `US` or `EU`; `UsageError` for anything else.
        endpoint: another base URL (sandbox, proxy). `/batch` is added unless its path ends in `/batch` or
            `/2/httpapi`: both take the same body (amplitude.md, 1.1).
    """
    if endpoint is None:
        if region not in _HOSTS:
            raise UsageError(
                f"{region!r} is no Amplitude region.", remedy="Set `amplitude.region` to US or EU."
            )
        return f"https://{_HOSTS[region]}{_BATCH}"
    parts = urlsplit(endpoint)
    path = parts.path.rstrip("/")
    if not path.endswith((_BATCH, _HTTP_V2)):
        path += _BATCH
    return urlunsplit(parts._replace(path=path))


def gzip_default(url: str) -> bool:
    """Whether bodies are compressed when the configuration leaves it to us.

    Only for Amplitude's own hosts: the official SDKs do the same, and a proxy may not take it
    (amplitude.md, 1.6).
    """
    return urlsplit(url).hostname in _HOSTS.values()


_SECRET_OR_NULL: Final = {
    "anyOf": [{"type": "string", "format": "password", "writeOnly": True}, {"type": "null"}]
}


def _or_none(value: object) -> object:
    """Null is no key: what `${NAME:-}` becomes where the variable is not set."""
    return "" if value is None else value


def _checked_zone(name: str) -> str:
    _zone(name)
    return name


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC  # also where there is no data of zones
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        raise ValueError(f"{name!r} is no time zone; write one such as Europe/Berlin, or UTC") from None


class Amplitude(Section):
    """The project that the events go to."""

    project: str = Field(default="default", min_length=1, description="A name; the ledger belongs to it.")
    api_key: Annotated[SecretStr, AfterValidator(checked_key)] = Field(
        default=SecretStr(""), description="The project's API key, from the environment."
    )
    region: Literal["US", "EU"] = Field(description="Amplitude's data centre; a key works in one alone.")
    insecure: bool = Field(
        default=False,
        description="Let `endpoint` and `read_endpoint` be http:// addresses that are not this machine.",
    )
    endpoint: str | None = Field(default=None, repr=False, description="Another URL: sandbox, proxy.")
    secret_key: Annotated[
        SecretStr, AfterValidator(checked_key), BeforeValidator(_or_none), WithJsonSchema(_SECRET_OR_NULL)
    ] = Field(
        default=SecretStr(""), description="The project's secret key; what reads from Amplitude needs it."
    )
    read_endpoint: str | None = Field(
        default=None,
        repr=False,
        description="Another URL for what reads: sandbox, proxy. The paths of Amplitude's APIs are added.",
    )
    time_zone: Annotated[str, AfterValidator(_checked_zone)] = Field(
        default="UTC", description="The project's, as its charts have it; for `verify --counts`."
    )
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

    @field_validator("endpoint", "read_endpoint")
    @classmethod
    def _is_url(cls, value: str | None, others: ValidationInfo) -> str | None:
        if value is None:
            return None
        if leads_away_in_clear(checked_url(value)) and not others.data.get("insecure"):
            raise ValueError(
                "keys and events would travel in the clear to another machine; write https://, or set"
                " amplitude.insecure: true where the way there is your own"
            )
        return value

    @field_validator("timeout", "give_up_after")
    @classmethod
    def _positive(cls, value: timedelta) -> timedelta:
        if value <= timedelta(0):
            raise ValueError("must be longer than 0s")
        return value

    @property
    def url(self) -> str:
        """The URL that batches are posted to."""
        return endpoint_url(self.region, self.endpoint)

    def read_url(self, path: str) -> str:
        """The URL of an API for reading, whose *path* begins with a slash."""
        parts = urlsplit(self.read_endpoint or f"https://{_READ_HOSTS[self.region]}")
        return urlunsplit(parts._replace(path=parts.path.rstrip("/") + path))

    @property
    def zone(self) -> tzinfo:
        """The time zone of the project's charts."""
        return _zone(self.time_zone)

    @property
    def compresses(self) -> bool:
        """Whether bodies are compressed."""
        return gzip_default(self.url) if self.gzip == "auto" else self.gzip

    @property
    def in_flight(self) -> int:
        """Most requests in flight, over all processes."""
        return _MOST_IN_FLIGHT if self.concurrency == "auto" else self.concurrency

    @property
    def limits(self) -> Limits:
        """The limits of all processes together: as configured, but never more than the endpoint takes."""
        http_v2 = urlsplit(self.url).path.rstrip("/").endswith(_HTTP_V2)
        return Limits(
            items=self.max_events,
            bytes=min(self.max_bytes, _HTTP_V2_BYTES if http_v2 else _BATCH_BYTES),
            gzip=self.compresses,
            concurrency=self.in_flight,
            rate=self.rate,
            least_rate=_LEAST_RATE,
            window=WINDOW,
            give_up_after=self.give_up_after.total_seconds(),
        )

    def connect(self, clock: Clock, *, gives_way: bool = False) -> HttpTransport:
        """The wire to Amplitude; to be closed. `gives_way` is that of `HttpTransport`."""
        secret, timeout = self.api_key.get_secret_value(), self.timeout.total_seconds()
        return HttpTransport(self.url, clock, timeout=timeout, secret=secret, gives_way=gives_way)
