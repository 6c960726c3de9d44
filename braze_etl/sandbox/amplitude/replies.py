"""The replies of amplitude.md, 1.3, word for word where it gives words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer before it goes on the wire: HTTP status, JSON body, headers beyond the usual ones."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RawReply:
    """An answer whose body is no JSON: a file, or a redirect with none."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal(status: int, error: str, **more: Any) -> Reply:
    """Build any refusal: its status stands in the body as `code` too."""
    return Reply(status, {"code": status, "error": error, **more})


def accepted(events: int, payload_bytes: int, now: float) -> Reply:
    """Build the 200; *now* in seconds since the epoch."""
    body = {
        "code": 200,
        "events_ingested": events,
        "payload_size_bytes": payload_bytes,
        "server_upload_time": int(now * 1000),
    }
    return Reply(200, body)


def missing_field(name: str) -> Reply:
    """A field of the request itself is missing."""
    return refusal(400, "Request missing required field", missing_field=name)


def silenced(devices: list[str], events: list[int], eps_threshold: int) -> Reply:
    """Devices that Amplitude has blocked, and the indices of their events."""
    return refusal(
        400,
        "Events silenced for device_id",
        eps_threshold=eps_threshold,
        silenced_devices=devices,
        silenced_events=events,
        throttled_devices={},
        throttled_events=[],
        exceeded_daily_quota_devices={},
    )


def read_refusal(status: int, kind: str, details: str) -> Reply:
    """Build a refusal of the APIs for reading, in the form that was seen (amplitude-read.md)."""
    return Reply(status, {"error": {"http_code": status, "type": kind, "metadata": {"details": details}}})


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
    export_bytes: int = 4_000_000_000
    """Of one export; more is refused."""
    reads_at_once: int = 5
    user_reads_an_hour: int = 360
    segmentation_cost: int = 1_000
    """In five minutes (amplitude-read.md, 4.1)."""
    cohort_requests: int = 60
    """In ten minutes (amplitude-read.md, 1.4)."""
    cohort_requests_a_month: int = 500
    inline_members: int = 1_000
    """Of a cohort whose file comes at once; that of a larger one lies behind a link. Not documented."""

    @property
    def endpoints(self) -> dict[str, EndpointLimits]:
        """The limits by the path of the endpoint."""
        return {"/batch": self.batch, "/2/httpapi": self.httpapi}
