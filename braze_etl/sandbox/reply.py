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
