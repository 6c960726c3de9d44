"""Are key and host right? Asked without an event, before the first real batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

import orjson

from braze_etl.delivery.client import Transport
from braze_etl.delivery.decision import Accepted, Cause, Decision, Refused, RetryAfter, Stop, StopKind
from braze_etl.delivery.outcome import RequestCounts
from braze_etl.delivery.protocol import decide
from braze_etl.delivery.reply import kind_of
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
