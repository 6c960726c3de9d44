"""Are key and host right? Asked without an event, before the first real batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

import orjson

from braze_etl.delivery.client import Transport
from braze_etl.delivery.decision import Accepted, Decision, Refused, Stop, StopKind
from braze_etl.delivery.protocol import decide
from braze_etl.delivery.settings import DeliverySettings


class Standing(StrEnum):
    """What a probe learned."""

    FINE = "fine"
    REFUSED = "refused"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a probe, in words; with `REFUSED` comes a remedy, and a run would end at once."""

    standing: Standing
    words: str = ""
    remedy: str = ""
    key_refused: bool = False
    date: datetime | None = None
    """The time by the server, where there was an answer."""


def probe(transport: Transport, settings: DeliverySettings) -> Finding:
    """Post a request with an empty list of events, and read what the answer says of key and endpoint.

    Amplitude wants at least one event (amplitude.md, 1.1), so a right key gets a documented refusal of the
    *request*: that counts as fine, as does a 200. No reply, throttling and server errors leave it unclear:
    a run would try again. Nothing is ingested.
    """
    body = {"api_key": settings.api_key.get_secret_value(), "events": []}
    answer = transport.send(orjson.dumps(body), gzip=False)
    return replace(_read(decide(answer, [])), date=getattr(answer, "date", None))


def _read(decision: Decision) -> Finding:
    match decision:
        case Accepted():
            return Finding(Standing.FINE)
        case Stop(kind=StopKind.REQUEST) | Refused(own_words=True, status=400):
            return Finding(Standing.FINE)
        case Stop(kind=kind, words=words, remedy=remedy):
            return Finding(Standing.REFUSED, words, remedy, key_refused=kind is StopKind.KEY)
    return Finding(Standing.UNCLEAR, getattr(decision, "words", ""))
