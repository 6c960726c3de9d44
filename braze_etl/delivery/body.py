"""The request body: one JSON call for a whole batch, and who is to blame when it fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import orjson
from isal import igzip

from braze_etl.delivery.settings import DeliverySettings
from braze_etl.errors import DeliveryError
from braze_etl.model import Event

_GZIP_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes to post; `raw_size` is their size before compression."""

    wire: bytes
    raw_size: int
    gzip: bool


@dataclass(frozen=True, slots=True)
class Oversize:
    """The JSON is longer than a request may be, by these bytes."""

    size: int
    limit: int


@dataclass(frozen=True, slots=True)
class Unencodable:
    """Events that are no JSON, by their index, with the reason in words."""

    events: dict[int, str]


Encoded: TypeAlias = Body | Oversize | Unencodable


def encode(events: Sequence[Event], settings: DeliverySettings, *, gzip: bool) -> Encoded:
    """Write the body of a request for *events* (amplitude.md, 1.1).

    Raises `DeliveryError` when every event is fine but the request is not: the key can't be written as JSON.
    """
    envelope = {
        "api_key": settings.api_key.get_secret_value(),
        "events": events,
        "options": {"min_id_length": settings.min_id_length},
    }
    try:
        raw = orjson.dumps(envelope)
    except orjson.JSONEncodeError:
        raw = b""
    if not raw:
        return _blame(events)
    if len(raw) > settings.body_limit:
        return Oversize(len(raw), settings.body_limit)
    return Body(igzip.compress(raw, _GZIP_LEVEL) if gzip else raw, len(raw), gzip)


def _blame(events: Sequence[Event]) -> Unencodable:
    faults = {index: words for index, event in enumerate(events) if (words := _fault(event))}
    if not faults:
        raise DeliveryError(
            "The request can't be written as JSON, though each of its events can.",
            remedy="Check the characters of `amplitude.api_key`.",
        )
    return Unencodable(faults)


def _fault(event: Event) -> str:
    # Wrapped as in the request: the nesting that the encoder bears is counted from the outermost level.
    try:
        orjson.dumps({"events": [event]})
    except orjson.JSONEncodeError as error:
        return f"not JSON: {error}"
    return ""
