"""Amplitude's Batch API, and its HTTP V2 API, as a destination."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from braze_etl.amplitude.body import Mend, encode, mend_nothing
from braze_etl.amplitude.probe import probe
from braze_etl.amplitude.replies import decide, throttle_keys
from braze_etl.amplitude.settings import NAMES, DeliverySettings
from braze_etl.clock import Clock
from braze_etl.delivery.destination import Body, Decision, Encoded, Item, Items, Names, Probe, ThrottleKey
from braze_etl.delivery.http import HttpTransport, NoReply, Reply, Transport, shown_url


class Amplitude:
    """Takes events; *mend* is called for those that can't be sent as they are (see `encode`)."""

    names: Final[Names] = NAMES
    repeatable_for: Final = timedelta(days=7)
    """So long Amplitude keeps one of several events with an insert_id (amplitude.md, 1.5)."""

    def __init__(self, settings: DeliverySettings, mend: Mend = mend_nothing) -> None:
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
