"""The request body: one JSON call for a whole batch, what is mended for it, who is to blame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

from braze_etl.amplitude.settings import DeliverySettings
from braze_etl.delivery.destination import Body, Encoded, Items, Unencodable, faults_of
from braze_etl.errors import DeliveryError
from braze_etl.model import Event

Mend: TypeAlias = Callable[[Event, Counter[str]], None]
"""Mends what JSON or Amplitude can't take of an event, in its place, and counts the repairs by name."""

_NUL = b"\\u0000"


def mend_nothing(event: Event, repairs: Counter[str]) -> None:
    """Leave events as they are."""


def encode(
    items: Items,
    settings: DeliverySettings,
    *,
    gzip: bool,
    limit: int,
    mend: Mend = mend_nothing,
) -> Encoded:
    """Write the body of a request for *items* (amplitude.md, 1.1), of *limit* bytes at most.

    Only if there is a NUL in it, or JSON can't carry it, is each event mended. So that costs nothing else.

    Raises `DeliveryError` when every event is fine but the request is not: the key can't be written as JSON.
    """
    envelope = {
        "api_key": settings.api_key.get_secret_value(),
        "events": None,
        "options": {"min_id_length": settings.min_id_length},
    }
    repairs: Counter[str] = Counter()
    raw = items.json(envelope, "events")
    if not raw or _NUL in raw:
        for event in items:
            mend(event, repairs)
        raw = items.json(envelope, "events")
    if not raw:
        return _blame(items)
    return Body.of(raw, items, gzip=gzip, limit=limit, repairs=repairs)


def _blame(items: Items) -> Unencodable:
    faults = faults_of(items)
    if not faults:
        raise DeliveryError(
            "The request can't be written as JSON, though each of its events can.",
            remedy="Check the characters of `amplitude.api_key`.",
        )
    return Unencodable(faults)
