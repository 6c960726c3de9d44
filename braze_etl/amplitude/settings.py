"""Where to send and within which limits (amplitude.md, sections 0 and 1.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from braze_etl.errors import UsageError

_HOSTS = {"US": "api2.amplitude.com", "EU": "api.eu.amplitude.com"}
_BATCH = "/batch"
_HTTP_V2 = "/2/httpapi"
_BATCH_BYTES = 20_000_000
_HTTP_V2_BYTES = 1_000_000
_EVENTS = 2000


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


def shown_url(url: str) -> str:
    """The URL without user, password and query, fit for logs and error texts."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """All that delivery needs to know. Bytes are uncompressed, durations are seconds.

    `concurrency` bounds the requests in flight of one sender; None leaves the bound to it. `rate` is in
    events per second, None for no bound of our own. `processes` are at work in as many processes.
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
    def event_limit(self) -> int:
        """Events in one request: what is configured, but never more than Amplitude takes."""
        return max(1, min(self.max_events, _EVENTS))

    @property
    def body_limit(self) -> int:
        """Bytes of one request: what is configured, but never more than the endpoint takes."""
        http_v2 = urlsplit(self.url).path.rstrip("/").endswith(_HTTP_V2)
        return min(self.max_bytes, _HTTP_V2_BYTES if http_v2 else _BATCH_BYTES)
