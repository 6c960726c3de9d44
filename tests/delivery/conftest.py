"""A stand-in for the wire, and one delivery of a sender over it: inline, on a clock that only waits move."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from gzip import decompress
from random import Random
from typing import Any, TypeAlias

import orjson

from braze_etl.amplitude.destination import BatchApi
from braze_etl.amplitude.replies import meaning_of
from braze_etl.amplitude.settings import Amplitude
from braze_etl.clock import ManualClock
from braze_etl.delivery.batches import Batch, BatchResult, RequestCounts
from braze_etl.delivery.destination import DictItems
from braze_etl.delivery.http import Kind, NoReply, Reply
from braze_etl.errors import DeliveryError
from braze_etl.model import Event, Reason
from tests.posting import AtOnce, KeepingSender

NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)
KEY = "0123456789abcdef0123456789abcdef"

Answer: TypeAlias = Reply | NoReply
Behaviour: TypeAlias = Callable[[Sequence[Event]], Answer]


def settings(**changes: Any) -> Amplitude:
    """The section with *changes*; durations are in seconds."""
    values: dict[str, Any] = {"endpoint": "http://localhost:8099/batch", "api_key": KEY, "gzip": False}
    for name, value in changes.items():
        values[name] = timedelta(seconds=value) if name in {"timeout", "give_up_after"} else value
    return Amplitude(region="US", **values)


def event(number: int, **changes: Any) -> Event:
    base = {"insert_id": str(number), "user_id": f"user-{number}", "event_type": "opened"}
    return {**base, **changes}


def of_events(events: list[Event], tags: Sequence[int]) -> Batch[int]:
    return Batch(DictItems(events), list(tags))


def batch(size: int, *, first: int = 0, **changes: Any) -> Batch[int]:
    """A batch whose tags are the events' numbers from *first* on, as their `insert_id` is."""
    tags = list(range(first, first + size))
    return of_events([event(number, **changes) for number in tags], tags)


def reply(status: int, *, retry_after: float | None = None, **body: Any) -> Reply:
    return Reply(status, {"code": status, **body}, retry_after=retry_after)


def ok(ingested: int | None = None) -> Reply:
    return reply(200) if ingested is None else reply(200, events_ingested=ingested)


def html(status: int) -> Reply:
    return Reply(status, None, "<html>blocked</html>")


def reset() -> NoReply:
    return NoReply(Kind.RESET, "the connection broke")


def numbers(events: Iterable[Event]) -> list[int]:
    return [int(one["insert_id"]) for one in events]


def poisoned(*bad: int, refusal: Answer | None = None) -> Behaviour:
    """A service that refuses every request with one of *bad* in it, and does not say why."""
    answer = refusal or reply(400, error="Invalid event JSON")
    return lambda events: answer if set(bad) & set(numbers(events)) else ok()


def in_turn(*answers: Answer, then: Behaviour = lambda _events: ok()) -> Behaviour:
    """A service that gives *answers*, one a request, and behaves as *then* after that."""
    script = iter(answers)
    return lambda events: next(script, None) or then(events)


class Wire:
    """A transport that asks a behaviour, and remembers what was sent and what was acknowledged."""

    def __init__(self, behaviour: Behaviour, clock: ManualClock, latency: float = 0.0) -> None:
        self._behaviour = behaviour
        self._clock = clock
        self._latency = latency
        self.requests: list[list[int]] = []
        self.bodies: list[dict[str, Any]] = []
        self.gzipped: list[bool] = []
        self.times: list[float] = []
        self.acknowledged: set[int] = set()

    def send(self, body: bytes, *, gzip: bool) -> Answer:
        self.times.append(self._clock.monotonic())
        self._clock.advance(self._latency)
        content = orjson.loads(decompress(body) if gzip else body)
        sent = numbers(content["events"])
        self.bodies.append(content)
        self.gzipped.append(gzip)
        self.requests.append(sent)
        answer = self._behaviour(content["events"])
        if isinstance(answer, Reply) and meaning_of(answer) == 200:
            self.acknowledged.update(sent)
        return answer


@dataclass
class Delivered:
    """What came of delivering some batches."""

    wire: Wire
    clock: ManualClock
    counts: RequestCounts
    error: BaseException | None
    limit: int
    delivered: list[BatchResult[int]] = field(default_factory=list)

    @property
    def accepted(self) -> list[int]:
        return sorted(tag for one in self.delivered for tag in one.accepted)

    @property
    def set_aside(self) -> dict[int, Reason]:
        return {tag: verdict.reason for one in self.delivered for tag, verdict in one.set_aside}

    @property
    def words(self) -> dict[int, str]:
        return {tag: verdict.detail for one in self.delivered for tag, verdict in one.set_aside}

    @property
    def deferred(self) -> dict[int, tuple[Reason, datetime]]:
        return {tag: (reason, until) for one in self.delivered for tag, reason, until in one.deferred}

    @property
    def unsettled(self) -> list[int]:
        return sorted(tag for one in self.delivered for tag in one.unsettled)

    @property
    def requests(self) -> list[list[int]]:
        return self.wire.requests


def deliver(
    behaviour: Behaviour,
    *batches: Batch[int],
    stop: threading.Event | None = None,
    latency: float = 0.0,
    seed: int = 1,
    **changes: Any,
) -> Delivered:
    """Deliver *batches* one after the other and read all outcomes."""
    clock = ManualClock(NOON)
    wire = Wire(behaviour, clock, latency)
    sender = KeepingSender(
        wire,
        BatchApi(settings(**changes)),
        clock,
        Random(seed),
        stop or threading.Event(),
        executor=AtOnce(),
    )
    outcome = Delivered(wire, clock, sender.counts, None, sender.limit)
    try:
        for one in batches:
            sender.give(one)
        outcome.delivered.extend(sender.drain())
    except DeliveryError as error:
        outcome.error = error
    outcome.delivered.extend(sender.results())
    outcome.counts = sender.counts
    outcome.limit = sender.limit
    return outcome
