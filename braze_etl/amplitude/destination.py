"""Amplitude's Batch API, and its HTTP V2 API, as a destination: how events become a body."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Final, TypeAlias

from braze_etl.amplitude.probe import probe
from braze_etl.amplitude.replies import decide, throttle_keys
from braze_etl.amplitude.settings import NAMES, Amplitude
from braze_etl.clock import Clock
from braze_etl.delivery.destination import (
    Body,
    Decision,
    Encoded,
    Item,
    Items,
    Names,
    Probe,
    ThrottleKey,
    Unencodable,
    faults_of,
)
from braze_etl.delivery.http import HttpTransport, NoReply, Reply, Transport, shown_url
from braze_etl.errors import DeliveryError
from braze_etl.model import Event

Mend: TypeAlias = Callable[[Event, Counter[str]], None]
"""Mends what JSON or Amplitude can't take of an event, in its place, and counts the repairs by name."""

_NUL = b"\\u0000"


def mend_nothing(event: Event, repairs: Counter[str]) -> None:
    """Leave events as they are."""


class BatchApi:
    """Takes events; *mend* is called for those that can't be sent as they are (see `encode`)."""

    names: Final[Names] = NAMES
    repeatable_for: Final = timedelta(days=7)
    """So long Amplitude keeps one of several events with an insert_id (amplitude.md, 1.5)."""

    def __init__(self, settings: Amplitude, mend: Mend = mend_nothing) -> None:
        self._settings = settings
        self._mend = mend
        self.limits = settings.limits
        self.address = shown_url(settings.url)

    def connect(self, clock: Clock, *, gives_way: bool = False) -> HttpTransport:
        return self._settings.connect(clock, gives_way=gives_way)

    def encode(self, items: Items, *, gzip: bool, limit: int) -> Encoded:
        return encode(items, self._settings, gzip=gzip, limit=limit, mend=self._mend)

    def decide(self, answer: Reply | NoReply, body: Body) -> Decision:
        return decide(answer, body)

    def throttle_keys(self, item: Item) -> list[ThrottleKey]:
        return throttle_keys(item)

    def probe(self, transport: Transport) -> Probe:
        return probe(transport, self._settings)


def encode(
    items: Items,
    settings: Amplitude,
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
