"""Are key and host right? Asked without an event, before the first real batch."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import orjson

from braze_etl.amplitude.replies import decide
from braze_etl.amplitude.settings import DeliverySettings
from braze_etl.clock import Clock
from braze_etl.delivery.batches import RequestCounts
from braze_etl.delivery.destination import (
    Accepted,
    Cause,
    Decision,
    Partial,
    Refused,
    RetryAfter,
    Stop,
    StopKind,
)
from braze_etl.delivery.http import HttpTransport, NoReply, Reply, Transport, kind_of
from braze_etl.model import Event


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
    failure: str = ""
    """The kind of failure; empty when all is fine, and for throttling, which is none."""

    @property
    def counts(self) -> RequestCounts:
        """The probe as a request, where it failed; a good one is none of those that bring events."""
        if not self.failure:
            return RequestCounts()
        kinds, failures = Counter({self.failure: 1}), {self.failure: self.words}
        return RequestCounts(sent=1, failed=1, by_status=kinds, failures=failures)


def probe(transport: Transport, settings: DeliverySettings) -> Finding:
    """Post a request with an empty list of events, and read what the answer says of key and endpoint.

    Amplitude wants at least one event (amplitude.md, 1.1), so a right key gets a documented refusal of the
    *request*: that counts as fine, as does a 200. No reply, throttling and server errors leave it unclear:
    a run would try again. Nothing is ingested.
    """
    body = {"api_key": settings.api_key.get_secret_value(), "events": []}
    answer = transport.send(orjson.dumps(body), gzip=False)
    return replace(_read(decide(answer, []), kind_of(answer)), date=getattr(answer, "date", None))


def _read(decision: Decision, answered: str) -> Finding:
    match decision:
        case Accepted():
            return Finding(Standing.FINE)
        case Stop(kind=StopKind.REQUEST) | Refused(own_words=True, status=400):
            return Finding(Standing.FINE)
        case Stop(kind=kind, words=words, remedy=remedy):
            return Finding(Standing.REFUSED, words, remedy, kind is StopKind.KEY, failure=answered)
        case RetryAfter(words=words, cause=Cause.THROTTLED):
            return Finding(Standing.UNCLEAR, words)
    return Finding(Standing.UNCLEAR, getattr(decision, "words", ""), failure=answered)


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
        return heard.last, _read_answer(heard.last)


def _read_answer(answer: Reply | NoReply) -> Finding:
    decision: Any = decide(answer, [_USELESS])
    match decision:
        case Stop(kind=kind, words=words, remedy=remedy) if kind is not StopKind.REQUEST:
            return Finding(Standing.REFUSED, words, remedy, key_refused=kind is StopKind.KEY)
        case Partial() | Stop() | Refused(own_words=True, status=400):
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
