"""From body bytes to a request whose envelope is sound, or to the refusal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from braze_etl.sandbox.limits import EndpointLimits, Limits
from braze_etl.sandbox.reply import Reply, missing_field, refusal


@dataclass(frozen=True, slots=True)
class Request:
    """A request body with its envelope checked; the events are as they came."""

    api_key: Any
    events: list[dict[str, Any]]
    min_id_length: int
    client_upload_time: Any
    size: int


def read_request(body: bytes, endpoint: EndpointLimits, limits: Limits) -> Request | Reply:
    """Check size, JSON and the required keys (amplitude.md, 1.1-1.3), in this order.

    Not documented: what a body is told that is no object, an `events` that is no list, and a bad option; a
    single event that is no object refuses the request without an index list.
    """
    if len(body) > endpoint.max_bytes:
        return refusal(413, "Payload too large")
    if not body:
        return refusal(400, "Missing request body")
    try:
        envelope = orjson.loads(body)
    except orjson.JSONDecodeError:
        return refusal(400, "Invalid JSON request body")
    return _open(envelope, len(body), limits)


def _open(envelope: Any, size: int, limits: Limits) -> Request | Reply:
    if type(envelope) is not dict:
        return refusal(400, "Invalid JSON request body")
    if not envelope.get("api_key"):
        return missing_field("api_key")
    refused = _events_refusal(envelope.get("events"), limits.max_events)
    if refused is not None:
        return refused
    shortest = _min_id_length(envelope.get("options"), limits.min_id_length)
    if shortest is None:
        return refusal(400, "Invalid options: min_id_length must be an integer of at least 1")
    uploaded = envelope.get("client_upload_time")
    return Request(envelope["api_key"], envelope["events"], shortest, uploaded, size)


def _events_refusal(events: Any, most: int) -> Reply | None:
    if events is None or events == []:
        return missing_field("events")
    if type(events) is not list:
        return refusal(400, "Invalid JSON request body")
    if len(events) > most:
        return refusal(413, "Payload too large")
    if any(type(event) is not dict for event in events):
        return refusal(400, "Invalid event JSON")
    return None


def _min_id_length(options: Any, default: int) -> int | None:
    if options is None:
        return default
    if type(options) is not dict:
        return None
    length = options.get("min_id_length", default)
    return length if type(length) is int and length >= 1 else None
