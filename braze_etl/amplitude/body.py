"""The request body: one JSON call for a whole batch, what is mended for it, who is to blame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson
from isal import igzip

from braze_etl.amplitude.settings import DeliverySettings
from braze_etl.errors import DeliveryError
from braze_etl.model import Event

Mend: TypeAlias = Callable[[Event, Counter[str]], None]
"""Mends what JSON or Amplitude can't take of an event, in its place, and counts the repairs by name."""

_GZIP_LEVEL = 1
_NUL = b"\\u0000"
_STRICT = orjson.OPT_STRICT_INTEGER
"""Integers beyond 2^53, which a reader of JSON may round, are no JSON."""


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes to post; `raw_size` is their size before compression, `repairs` counts what was mended."""

    wire: bytes
    raw_size: int
    gzip: bool
    repairs: Counter[str] = field(default_factory=Counter, compare=False)


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


def mend_nothing(event: Event, repairs: Counter[str]) -> None:
    """Leave events as they are."""


def encode(
    events: Sequence[Event],
    settings: DeliverySettings,
    *,
    gzip: bool,
    mend: Mend = mend_nothing,
    limit: int | None = None,
) -> Encoded:
    """Write the body of a request for *events* (amplitude.md, 1.1), of *limit* bytes at most.

    Only if there is a NUL in it, or JSON can't carry it, is each event mended. So that costs nothing else.

    Raises `DeliveryError` when every event is fine but the request is not: the key can't be written as JSON.
    """
    envelope = {
        "api_key": settings.api_key.get_secret_value(),
        "events": events,
        "options": {"min_id_length": settings.min_id_length},
    }
    repairs: Counter[str] = Counter()
    raw = _written(envelope)
    if not raw or _NUL in raw:
        for event in events:
            mend(event, repairs)
        raw = _written(envelope)
    if not raw:
        return _blame(events)
    limit = settings.body_limit if limit is None else limit
    if len(raw) > limit:
        return Oversize(len(raw), limit)
    return Body(igzip.compress(raw, _GZIP_LEVEL) if gzip else raw, len(raw), gzip, repairs)


def _written(envelope: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(envelope, option=_STRICT)
    except orjson.JSONEncodeError:
        return b""


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
        orjson.dumps({"events": [event]}, option=_STRICT)
    except orjson.JSONEncodeError as error:
        return f"not JSON: {error}"
    return ""
