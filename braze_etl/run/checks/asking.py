"""Asking Amplitude about key and region, without anything that could be ingested."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Final

import orjson

from braze_etl.clock import Clock
from braze_etl.delivery import (
    DeliverySettings,
    Finding,
    HttpTransport,
    NoReply,
    Refused,
    Reply,
    Sort,
    Standing,
    Stop,
    StopKind,
    decide,
    probe,
)
from braze_etl.model import Event

_USELESS: Final[Event] = {}
"""An event that lacks all it needs: whoever looks at it refuses the whole request (amplitude.md, 1.3)."""


def ask(settings: DeliverySettings, clock: Clock) -> tuple[Reply | NoReply, Finding]:
    """Ask twice, and give the last answer with what both say.

    First as a run does, without an event. A server that misses the event before it looks at the key says
    nothing of the key then: so a second request has an event that nobody can take.
    """
    with closing(HttpTransport(settings, clock)) as transport:
        heard = _Hearing(transport)
        first = probe(heard, settings)
        if first.standing is not Standing.FINE:
            return heard.last, first
        body = {"api_key": settings.api_key.get_secret_value(), "events": [_USELESS]}
        heard.send(orjson.dumps(body), gzip=False)
        return heard.last, _read(heard.last)


def _read(answer: Reply | NoReply) -> Finding:
    decision: Any = decide(answer, [_USELESS])
    match decision:
        case Stop(kind=kind, words=words, remedy=remedy) if kind is not StopKind.REQUEST:
            return Finding(Standing.REFUSED, words, remedy, key_refused=kind is StopKind.KEY)
        case Sort() | Stop() | Refused(own_words=True, status=400):
            return Finding(Standing.FINE)
    return Finding(Standing.UNCLEAR, getattr(decision, "words", "") or "an answer that was not expected")


class _Hearing:
    """Passes on, and remembers the last answer."""

    last: Reply | NoReply

    def __init__(self, transport: HttpTransport) -> None:
        self._transport = transport

    def send(self, body: bytes, *, gzip: bool) -> Reply | NoReply:
        self.last = self._transport.send(body, gzip=gzip)
        return self.last
