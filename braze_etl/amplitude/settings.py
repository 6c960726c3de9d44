"""Where to send and within which limits (amplitude.md, sections 0 and 1.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from braze_etl.clock import Clock
from braze_etl.delivery.destination import Limits, Names
from braze_etl.delivery.http import HttpTransport
from braze_etl.errors import UsageError

_HOSTS = {"US": "api2.amplitude.com", "EU": "api.eu.amplitude.com"}
_BATCH = "/batch"
_HTTP_V2 = "/2/httpapi"
_BATCH_BYTES = 20_000_000
_HTTP_V2_BYTES = 1_000_000
_EVENTS = 2000
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """Where and how one of so many `processes` sends events. Bytes are uncompressed, durations are seconds.

    `concurrency` bounds its requests in flight; None leaves the bound to the sender. `rate` is in events per
    second, None for no bound of our own.
    """

    url: str = field(repr=False)
    api_key: SecretStr
    gzip: bool
    max_events: int = _EVENTS
    max_bytes: int = 18_000_000
    concurrency: int | None = None
    min_id_length: int = 5
    timeout: float = 20.0
    give_up_after: float = 600.0
    rate: float | None = None
    processes: int = 1

    @property
    def limits(self) -> Limits:
        """The limits of one process: what is configured, but never more than the endpoint takes."""
        http_v2 = urlsplit(self.url).path.rstrip("/").endswith(_HTTP_V2)
        return Limits(
            items=max(1, min(self.max_events, _EVENTS)),
            bytes=min(self.max_bytes, _HTTP_V2_BYTES if http_v2 else _BATCH_BYTES),
            gzip=self.gzip,
            concurrency=self.concurrency,
            rate=self.rate,
            least_rate=_LEAST_RATE / self.processes,
            window=WINDOW,
            give_up_after=self.give_up_after,
        )

    def connect(self, clock: Clock, *, gives_way: bool = False) -> HttpTransport:
        """The wire to Amplitude; to be closed. `gives_way` is that of `HttpTransport`."""
        secret = self.api_key.get_secret_value()
        return HttpTransport(self.url, clock, timeout=self.timeout, secret=secret, gives_way=gives_way)
