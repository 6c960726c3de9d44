"""Are key and host right? Asked without an event, before the first real batch."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any, Final

import orjson

from braze_etl.amplitude.replies import decide
from braze_etl.amplitude.settings import Amplitude
from braze_etl.clock import Clock
from braze_etl.delivery.destination import (
    Accepted,
    Body,
    Cause,
    Decision,
    DictItems,
    Item,
    Partial,
    Probe,
    Refused,
    RetryAfter,
    Standing,
    Stop,
    StopKind,
)
from braze_etl.delivery.http import NoReply, Reply, Transport, kind_of


def probe(transport: Transport, settings: Amplitude) -> Probe:
    """Post a request with an empty list of events, and read what the answer says of key and endpoint.

    Amplitude wants at least one event (amplitude.md, 1.1), so a right key gets a documented refusal of the
    *request*: that counts as fine, as does a 200. No reply, throttling and server errors leave it unclear:
    a run would try again. Nothing is ingested.
    """
    return _probe(transport, settings)[1]


def _probe(transport: Transport, settings: Amplitude) -> tuple[Reply | NoReply, Probe]:
    answer, decision = post(transport, settings)
    return answer, replace(_read(decision, kind_of(answer)), date=getattr(answer, "date", None))


def post(transport: Transport, settings: Amplitude, *events: Item) -> tuple[Reply | NoReply, Decision]:
    """Post *events* as they are; give the answer, and what it means."""
    raw = orjson.dumps({"api_key": settings.api_key.get_secret_value(), "events": events})
    answer = transport.send(raw, gzip=False)
    return answer, decide(answer, Body(raw, len(raw), gzip=False, items=DictItems(list(events))))


def _read(decision: Decision, answered: str) -> Probe:
    match decision:
        case Accepted():
            return Probe(Standing.FINE)
        case Stop(kind=StopKind.REQUEST) | Refused(own_words=True, status=400):
            return Probe(Standing.FINE)
        case Stop(kind=kind, words=words, remedy=remedy):
            return Probe(Standing.REFUSED, words, remedy, kind is StopKind.KEY, failure=answered)
        case RetryAfter(words=words, cause=Cause.THROTTLED):
            return Probe(Standing.UNCLEAR, words)
    return Probe(Standing.UNCLEAR, getattr(decision, "words", ""), failure=answered)


_USELESS: Final[Item] = {}
"""An event that lacks all it needs: whoever looks at it refuses the whole request (amplitude.md, 1.3)."""


def ask(settings: Amplitude, clock: Clock) -> tuple[Reply | NoReply, Probe]:
    """Ask twice, and give the last answer with what both say.

    First as a run does, without an event. A server that misses the event before it looks at the key says
    nothing of the key then: so a second request has an event that nobody can take.
    """
    with closing(settings.connect(clock)) as transport:
        answer, first = _probe(transport, settings)
        if first.standing is not Standing.FINE:
            return answer, first
        answer, decision = post(transport, settings, _USELESS)
        return answer, _read_refusal(decision)


def _read_refusal(decision: Any) -> Probe:
    match decision:
        case Stop(kind=kind, words=words, remedy=remedy) if kind is not StopKind.REQUEST:
            return Probe(Standing.REFUSED, words, remedy, key_refused=kind is StopKind.KEY)
        case Partial() | Stop() | Refused(own_words=True, status=400):
            return Probe(Standing.FINE)
    return Probe(Standing.UNCLEAR, getattr(decision, "words", "") or "an answer that was not expected")
