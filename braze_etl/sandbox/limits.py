"""The numbers of amplitude.md (1.2, 1.4, 1.5), so that a test can make them small."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EndpointLimits:
    """What differs between the endpoints (amplitude.md, 1.2).

    `max_bytes` counts the uncompressed body; megabytes are powers of ten (not documented). `eps` is the rate
    of one user_id or one device_id, averaged over `Limits.rate_window`. `project_eps`, events per second of
    the whole project on this endpoint, is 100,000 for /batch and 50,000 for /2/httpapi on large plans; None
    is no limit.
    """

    max_bytes: int
    eps: int
    project_eps: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Every limit of a project; times in seconds, sizes in bytes, strings in characters."""

    batch: EndpointLimits = EndpointLimits(max_bytes=20_000_000, eps=1000)
    httpapi: EndpointLimits = EndpointLimits(max_bytes=1_000_000, eps=30)
    max_events: int = 2000
    rate_window: int = 30
    daily_quota: int = 500_000
    """Events of one user_id or device_id in 24 hours; held against every id here, not only flagged ones."""
    min_id_length: int = 5
    max_string: int = 1024
    max_depth: int = 40
    max_group_types: int = 5
    max_groups: int = 10
    dedup_window: int = 7 * 86_400

    @property
    def endpoints(self) -> dict[str, EndpointLimits]:
        """The limits by the path of the endpoint."""
        return {"/batch": self.batch, "/2/httpapi": self.httpapi}
