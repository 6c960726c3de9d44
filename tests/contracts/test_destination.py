"""What delivery promises over any destination, and what any destination has to know for that.

A new one is a `Service` in `SERVICES`. The second of them is nobody's: its words, its limits and its place
for the key are others than Amplitude's, to show that `delivery` knows no service.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Protocol, TypeAlias

import orjson
import pytest
from pydantic import SecretStr

from braze_etl.amplitude.destination import BatchApi
from braze_etl.amplitude.settings import Amplitude
from braze_etl.clock import Clock, ManualClock
from braze_etl.delivery.batches import Batch, BatchBuilder, BatchResult
from braze_etl.delivery.destination import (
    Accepted,
    Body,
    Decision,
    Defer,
    Destination,
    DictItems,
    Encoded,
    Item,
    Items,
    Limits,
    Names,
    Partial,
    Probe,
    Standing,
    Stop,
    StopKind,
    ThrottleKey,
    Unencodable,
    faults_of,
)
from braze_etl.delivery.http import HttpTransport, Kind, NoReply, Reply, Transport
from braze_etl.delivery.statuses import by_status, without_reply
from braze_etl.errors import DeliveryError, KeyRefusedError
from braze_etl.model import Reason, Verdict
from braze_etl.sandbox.amplitude.project import Project
from tests.posting import AtOnce, KeepingSender

NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)
KEY = "0123456789abcdef0123456789abcdef"

Answer: TypeAlias = Reply | NoReply


class Service(Protocol):
    """A destination, and its service as the suite plays it."""

    @property
    def destination(self) -> Destination: ...

    def item(self, number: int, owner: str = "") -> Item:
        """An item whose number can be read again; items of an owner are throttled together."""
        ...

    def read(self, body: bytes) -> list[Item]:
        """The items of a request."""
        ...

    def number(self, item: Item) -> int: ...

    def accepts(self, body: bytes) -> Reply: ...

    def names(self, *places: int) -> Reply:
        """A refusal of a request because of the items at these places in it."""
        ...

    def throttles(self, owner: str, seconds: float) -> Reply: ...

    def throttles_all(self, seconds: float) -> Reply: ...

    def refuses(self) -> Reply:
        """A refusal, in its own words, that names no item."""
        ...

    def finds_too_large(self) -> Reply: ...

    def refuses_the_key(self) -> Reply: ...


class PlayedAmplitude:
    """The sandbox takes what is right; all else is said in Amplitude's words (amplitude.md, 1.3)."""

    def __init__(self) -> None:
        url = "http://localhost:8099/batch"
        self.destination = BatchApi(Amplitude(region="US", endpoint=url, api_key=SecretStr(KEY), gzip=False))
        self._project = Project(clock=NOON.timestamp, api_key=KEY)

    def item(self, number: int, owner: str = "") -> Item:
        time = int(NOON.timestamp() * 1000)
        user = owner or f"user-{number}"
        return {"event_type": "opened", "user_id": user, "insert_id": str(number), "time": time}

    def read(self, body: bytes) -> list[Item]:
        items: list[Item] = orjson.loads(body)["events"]
        return items

    def number(self, item: Item) -> int:
        return int(item["insert_id"])

    def accepts(self, body: bytes) -> Reply:
        reply = self._project.ingest("/batch", body)
        return Reply(reply.status, dict(reply.body))

    def names(self, *places: int) -> Reply:
        return self._reply(400, error="Invalid", events_with_invalid_fields={"time": list(places)})

    def throttles(self, owner: str, seconds: float) -> Reply:
        return self._reply(429, seconds, error="Too many requests", throttled_users={owner: 31})

    def throttles_all(self, seconds: float) -> Reply:
        return self._reply(429, seconds, error="Too many requests")

    def refuses(self) -> Reply:
        return self._reply(400, error="Invalid event JSON")

    def finds_too_large(self) -> Reply:
        return self._reply(413, error="Payload too large")

    def refuses_the_key(self) -> Reply:
        return self._reply(400, error=f"Invalid API key: {KEY}")

    def _reply(self, status: int, seconds: float | None = None, **body: Any) -> Reply:
        return Reply(status, {"code": status, **body}, retry_after=seconds)


class Letters:
    """A destination that takes letters, at most 50 in a request, and counts them by street."""

    names = Names("Letters", "letter", "`letters.token`", "`letters.endpoint`", "`letters.endpoint`")
    limits = Limits(items=50, bytes=5_000, gzip=False, least_rate=1.0, window=10.0, give_up_after=120.0)
    repeatable_for = timedelta(0)
    address = "http://letters.test"

    def connect(self, clock: Clock, *, gives_way: bool = False) -> HttpTransport:
        headers = {"Authorization": f"Bearer {KEY}"}
        return HttpTransport(self.address, clock, timeout=5.0, secret=KEY, headers=headers)

    def encode(self, items: Items, *, gzip: bool, limit: int) -> Encoded:
        raw = items.json({"sender": "us"}, "letters")
        return Body.of(raw, items, gzip=gzip, limit=limit) if raw else Unencodable(faults_of(items))

    def decide(self, answer: Answer, body: Body) -> Decision:
        if isinstance(answer, NoReply):
            return without_reply(answer, self.names)
        said = answer.body or {}
        if answer.status == 201:
            return Accepted()
        if answer.status == 422:
            return Partial({place: Verdict(Reason.REJECTED, answer.words) for place in said["bad"]})
        if "street" in said:
            key, defer = ThrottleKey("street", said["street"]), Defer(Reason.THROTTLED, said["pause"])
            deferred = {n: defer for n, item in enumerate(body.items) if item["street"] == key.value}
            return Partial(deferred=deferred, keys={key: defer}, for_throttling=True)
        return by_status(answer.status, answer, body, self.names, own_words=bool(answer.error))

    def throttle_keys(self, item: Item) -> Sequence[ThrottleKey]:
        return [ThrottleKey("street", item["street"])]

    def probe(self, transport: Transport) -> Probe:
        raw = b"{}"
        decision = self.decide(transport.send(raw, gzip=False), Body(raw, 2, False, DictItems([])))
        if isinstance(decision, Stop):
            is_key = decision.kind is StopKind.KEY
            return Probe(Standing.REFUSED, decision.words, decision.remedy, is_key, failure="stop")
        return Probe(Standing.FINE if isinstance(decision, Accepted) else Standing.UNCLEAR)


class PlayedLetters:
    def __init__(self) -> None:
        self.destination = Letters()

    def item(self, number: int, owner: str = "") -> Item:
        return {"ref": f"L{number}", "street": owner or f"street-{number}"}

    def read(self, body: bytes) -> list[Item]:
        items: list[Item] = orjson.loads(body).get("letters", [])
        return items

    def number(self, item: Item) -> int:
        return int(item["ref"][1:])

    def accepts(self, body: bytes) -> Reply:
        return Reply(201, {})

    def names(self, *places: int) -> Reply:
        return Reply(422, {"bad": list(places)})

    def throttles(self, owner: str, seconds: float) -> Reply:
        return Reply(429, {"street": owner, "pause": seconds})

    def throttles_all(self, seconds: float) -> Reply:
        return Reply(429, {}, retry_after=seconds)

    def refuses(self) -> Reply:
        return Reply(400, {"error": "one of these is no letter"})

    def finds_too_large(self) -> Reply:
        return Reply(413, {"error": "more than the bag holds"})

    def refuses_the_key(self) -> Reply:
        return Reply(401, {"error": "unknown token"})


SERVICES: dict[str, Callable[[], Service]] = {"Amplitude": PlayedAmplitude, "Letters": PlayedLetters}


@pytest.fixture(params=list(SERVICES.values()), ids=list(SERVICES))
def service(request: pytest.FixtureRequest) -> Service:
    played: Service = request.param()
    return played


@dataclass
class Wire:
    """Answers as *behave* says, or else as the service does to what is right."""

    service: Service
    clock: ManualClock
    behave: Callable[[list[int]], Answer | None]
    requests: list[list[int]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def send(self, body: bytes, *, gzip: bool) -> Answer:
        assert not gzip
        sent = [self.service.number(item) for item in self.service.read(body)]
        self.requests.append(sent)
        self.times.append(self.clock.monotonic())
        return self.behave(sent) or self.service.accepts(body)


class Delivery:
    """Items 0 to *size* - 1 delivered in one batch, and then, with *later*, in more; read to the end."""

    def __init__(
        self,
        service: Service,
        behave: Callable[[list[int]], Answer | None],
        items: list[Item],
        *later: list[Item],
        stop: threading.Event | None = None,
    ) -> None:
        self.clock = ManualClock(NOON)
        self.wire = Wire(service, self.clock, behave)
        self.error: DeliveryError | None = None
        self.results: list[BatchResult[int]] = []
        halt, inline = stop or threading.Event(), AtOnce()
        sender = KeepingSender(self.wire, service.destination, self.clock, Random(1), halt, executor=inline)
        try:
            for each in (items, *later):
                sender.give(Batch(DictItems(each), [service.number(item) for item in each]))
        except DeliveryError as error:
            self.error = error
        self.results.extend(sender.results())
        self.error = self.error or _error_of(sender)
        self.counts = sender.counts

    @property
    def accepted(self) -> list[int]:
        return sorted(tag for one in self.results for tag in one.accepted)

    @property
    def set_aside(self) -> dict[int, Reason]:
        return {tag: verdict.reason for one in self.results for tag, verdict in one.set_aside}

    @property
    def deferred(self) -> dict[int, tuple[Reason, datetime]]:
        return {tag: (reason, until) for one in self.results for tag, reason, until in one.deferred}

    @property
    def unsettled(self) -> list[int]:
        return sorted(tag for one in self.results for tag in one.unsettled)


def _error_of(sender: KeepingSender) -> DeliveryError | None:
    failure = sender.failure
    assert failure is None or isinstance(failure, DeliveryError)
    return failure


def items(service: Service, size: int) -> list[Item]:
    return [service.item(number) for number in range(size)]


def nothing(_sent: list[int]) -> None:
    """What is right is taken."""


def at_first(*answers: Answer) -> Callable[[list[int]], Answer | None]:
    script = iter(answers)
    return lambda _sent: next(script, None)


def test_what_is_right_is_taken_in_one_request(service: Service) -> None:
    out = Delivery(service, nothing, items(service, 20))
    assert out.accepted == list(range(20))
    assert (out.counts.sent, out.counts.failed, out.counts.throttled) == (1, 0, 0)


def test_a_batch_is_full_at_the_limit_of_the_destination(service: Service) -> None:
    limits = service.destination.limits
    builder = BatchBuilder[int](limits)
    taken, batch = builder.add(items(service, limits.items + 1), range(limits.items + 1))
    assert taken == limits.items
    assert batch is not None
    assert len(batch) == limits.items


def test_items_that_a_refusal_names_are_set_aside_and_the_rest_goes_on_at_once(service: Service) -> None:
    def behave(sent: list[int]) -> Answer | None:
        places = [place for place, number in enumerate(sent) if number in (3, 5)]
        return service.names(*places) if places else None

    out = Delivery(service, behave, items(service, 20))
    assert out.set_aside == {3: Reason.REJECTED, 5: Reason.REJECTED}
    assert len(out.accepted) == 18
    assert (out.counts.sent, out.counts.retried, out.clock.monotonic()) == (2, 1, 0.0)


def test_an_item_that_a_refusal_does_not_name_is_found(service: Service) -> None:
    out = Delivery(service, lambda sent: service.refuses() if 7 in sent else None, items(service, 20))
    assert out.set_aside == {7: Reason.REJECTED}
    assert len(out.accepted) == 19


def test_a_service_that_refuses_everything_costs_no_item_and_is_named(service: Service) -> None:
    out = Delivery(service, lambda _sent: service.refuses(), items(service, 20))
    assert isinstance(out.error, DeliveryError)
    assert service.destination.names.service in out.error.remedy
    assert (out.set_aside, out.unsettled) == ({}, list(range(20)))


def test_who_is_throttled_stays_open_and_delays_nobody_else(service: Service) -> None:
    def behave(sent: list[int]) -> Answer | None:
        return service.throttles("ann", 20.0) if {1, 3} & set(sent) else None

    first = [service.item(0), service.item(1, "ann"), service.item(2)]
    later = [service.item(3, "ann"), service.item(4)]
    out = Delivery(service, behave, first, later)
    waits = (Reason.THROTTLED, NOON + timedelta(seconds=20))
    assert out.deferred == {1: waits, 3: waits}
    assert out.wire.requests == [[0, 1, 2], [0, 2], [4]]
    assert (out.counts.throttled, out.clock.monotonic()) == (1, 0.0)


def test_a_wait_for_all_is_kept_and_costs_no_item(service: Service) -> None:
    out = Delivery(service, at_first(service.throttles_all(7.0)), items(service, 5))
    assert out.accepted == list(range(5))
    assert out.wire.times == [0.0, 7.0]
    assert (out.counts.throttled, out.counts.failed) == (1, 0)


@pytest.mark.parametrize("place", [0, 5, 19])
def test_an_item_that_the_service_finds_too_large_is_set_aside(service: Service, place: int) -> None:
    too_large = service.finds_too_large()
    out = Delivery(service, lambda sent: too_large if place in sent else None, items(service, 20))
    assert out.set_aside == {place: Reason.TOO_LARGE}
    assert len(out.accepted) == 19


def test_what_is_over_the_limit_of_the_destination_is_not_sent(service: Service) -> None:
    limit = service.destination.limits.bytes
    large = [{**item, "note": "x" * (limit if n == 2 else 10)} for n, item in enumerate(items(service, 4))]
    out = Delivery(service, nothing, large)
    assert out.set_aside == {2: Reason.TOO_LARGE}
    assert out.accepted == [0, 1, 3]
    assert out.counts.failed == 0


def test_what_is_no_json_is_set_aside_before_it_is_sent(service: Service) -> None:
    odd = [{**item, "note": "\ud800" if n == 1 else "fine"} for n, item in enumerate(items(service, 3))]
    out = Delivery(service, nothing, odd)
    assert out.set_aside == {1: Reason.INVALID_EVENT}
    assert out.accepted == [0, 2]
    assert out.counts.sent == 1


@pytest.mark.parametrize(
    "answer",
    [
        NoReply(Kind.TIMEOUT, "late"),
        NoReply(Kind.RESET, "broken"),
        NoReply(Kind.DNS, "who?"),
        NoReply(Kind.REFUSED, "closed"),
        Reply(500),
        Reply(502, None, "<html>"),
        Reply(503),
        Reply(504),
        Reply(408),
    ],
)
def test_trouble_that_passes_is_waited_out_with_the_same_request(service: Service, answer: Answer) -> None:
    out = Delivery(service, at_first(*[answer] * 5), items(service, 20))
    assert out.accepted == list(range(20))
    assert out.wire.requests == [list(range(20))] * 6
    assert out.counts.failed == 5


@pytest.mark.parametrize("answer", [NoReply(Kind.TIMEOUT, "late"), Reply(500)])
def test_trouble_that_does_not_pass_ends_delivery_and_leaves_everything_open(
    service: Service, answer: Answer
) -> None:
    out = Delivery(service, lambda _sent: answer, items(service, 20))
    patience = service.destination.limits.give_up_after
    assert isinstance(out.error, DeliveryError)
    assert service.destination.names.service in out.error.remedy
    assert out.unsettled == list(range(20))
    assert patience <= out.clock.monotonic() <= patience + 2.0


@pytest.mark.parametrize("answer", [Reply(302), Reply(404), NoReply(Kind.TLS, "unverified")])
def test_an_endpoint_that_is_missing_for_a_moment_is_waited_for_but_not_for_long(
    service: Service, answer: Answer
) -> None:
    found = Delivery(service, at_first(answer, answer, answer), items(service, 5))
    assert found.accepted == list(range(5))
    lost = Delivery(service, lambda _sent: answer, items(service, 5))
    assert isinstance(lost.error, DeliveryError)
    assert lost.counts.sent == 4


def test_a_refused_key_stops_at_the_first_answer(service: Service) -> None:
    refused = service.refuses_the_key()
    out = Delivery(service, lambda _sent: refused, items(service, 5), items(service, 5))
    assert isinstance(out.error, KeyRefusedError)
    assert service.destination.names.key in out.error.remedy
    assert KEY not in str(out.error) + repr(out.error.__dict__)
    assert len(out.wire.requests) == 1
    assert len(out.unsettled) == 10


def test_a_stop_begins_no_request_and_leaves_the_items_unsettled(service: Service) -> None:
    stop = threading.Event()
    stop.set()
    out = Delivery(service, nothing, items(service, 5), stop=stop)
    assert (out.wire.requests, out.unsettled, out.error) == ([], list(range(5)), None)


def test_a_stop_ends_a_wait_and_keeps_what_is_settled(service: Service) -> None:
    stop = threading.Event()

    def behave(sent: list[int]) -> Answer:
        if len(sent) == 10:
            return service.names(4)
        stop.set()
        return Reply(503)

    out = Delivery(service, behave, items(service, 10), stop=stop)
    assert out.set_aside == {4: Reason.REJECTED}
    assert out.unsettled == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert out.clock.monotonic() == 0.0


def test_a_probe_sends_no_item_and_knows_a_refused_key(service: Service) -> None:
    refused = service.refuses_the_key()
    wire = Wire(service, ManualClock(NOON), lambda _sent: refused)
    found = service.destination.probe(wire)
    assert (found.standing, found.key_refused) == (Standing.REFUSED, True)
    assert found.remedy
    assert wire.requests == [[]]
    right = service.destination.probe(Wire(service, ManualClock(NOON), nothing))
    assert right.standing is Standing.FINE


def test_what_a_destination_says_of_an_answer_depends_on_nothing_else(service: Service) -> None:
    body = service.destination.encode(DictItems(items(service, 3)), gzip=False, limit=5_000)
    assert isinstance(body, Body)
    for answer in (service.names(1), service.throttles_all(3.0), service.refuses(), Reply(500)):
        assert service.destination.decide(answer, body) == service.destination.decide(answer, body)
