"""What the posting threads of a courier share, and the one way out: every request passes here."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from braze_etl.clock import Clock
from braze_etl.delivery.body import Body, Encoded, Mend, encode, mend_nothing
from braze_etl.delivery.client import Transport
from braze_etl.delivery.decision import Accepted, Cause, Decision, PlainBody, RetryAfter, Sort, Split
from braze_etl.delivery.health import Health
from braze_etl.delivery.lanes import Lanes
from braze_etl.delivery.outcome import Counting, RequestCounts
from braze_etl.delivery.pacing import Limiter, Rate, Room, Slot, Window, back_off
from braze_etl.delivery.protocol import Compression, decide
from braze_etl.delivery.reply import NoReply, Reply, kind_of
from braze_etl.delivery.settings import DeliverySettings
from braze_etl.errors import DeliveryError
from braze_etl.model import Event

DEFAULT_CAP = 16
_THROTTLED = 429
_SLICE = 1.0


class HaltedError(Exception):
    """No new request may begin: the run is stopped, or delivery has ended."""


class Desk:
    """Sends requests within the limits, and knows when to send no more."""

    def __init__(
        self,
        transport: Transport,
        settings: DeliverySettings,
        clock: Clock,
        rng: Random,
        stop: threading.Event,
        *,
        mend: Mend = mend_nothing,
        on_failure: Callable[[str, str], None] = lambda _kind, _words: None,
    ) -> None:
        self.settings = settings
        self._on_failure = on_failure
        self._mend = mend
        self.clock = clock
        self.rng = rng
        self.lanes = Lanes()
        self.health = Health(settings.give_up_after)
        self.counting = Counting()
        self.limiter = Limiter(Window(settings.concurrency or DEFAULT_CAP), clock)
        self.room = Room(settings.body_limit)
        self.fatal: BaseException | None = None
        self._transport = transport
        self._stop = stop
        self._rate = Rate(settings.rate, shared_by=settings.couriers)
        self._gzip = settings.gzip
        self._gzip_proven = False

    def halted(self) -> bool:
        """Whether no new request may begin."""
        return self.fatal is not None or self._stop.is_set()

    def fail(self, error: BaseException) -> None:
        """End the delivery with *error*; the first one stands."""
        self.fatal = self.fatal or error

    def encode(self, events: Sequence[Event]) -> Encoded:
        """Write the body of a request for *events*; one event alone has all the room that is configured."""
        limit = self.room.limit if len(events) > 1 else None
        return encode(events, self.settings, gzip=self._gzip, mend=self._mend, limit=limit)

    def exchange(self, body: Body, events: Sequence[Event], *, again: bool) -> Decision:
        """Post *body* when it may be; note what the answer says about the way there, and decide.

        `again`: it is not the first request of its batch. Raises `HaltedError`.
        """
        slot = self._slot(len(events))
        try:
            answer = self._transport.send(body.wire, gzip=body.gzip)
            decision = decide(answer, events, self._compression_of(body))
            counts = _counts(body, answer, decision, events, again=again)
            for kind, words in self.counting.add(counts).items():
                self._on_failure(kind, words)
            self._learn(slot, body, len(events), decision)
        finally:
            self.limiter.release()  # who waits for the slot is bound by what was learned
        return decision

    def _slot(self, events: int) -> Slot:
        """Wait for the turn of a request and for leave to begin it."""
        while True:
            self._await_turn(events)
            slot = self.limiter.acquire(self.halted)
            if slot is None:
                raise HaltedError
            if not self.limiter.pause_left():
                return slot
            self.limiter.release()

    def rest(self, seconds: float) -> None:
        """Wait; raises `HaltedError` as soon as the run is stopped, delivery has failed, or for too long.

        In slices: an error in another thread wakes nobody.
        """
        until = self.clock.monotonic() + seconds
        while True:
            self._check()
            left = until - self.clock.monotonic()
            if left <= 0:
                return
            self.clock.wait(min(left, _SLICE), self._stop)

    def back_off(self, attempt: int) -> None:
        """Wait as long as the back-off says after *attempt* failures."""
        self.rest(back_off(attempt, self.rng))

    def note_failure(self, words: str) -> None:
        """An answer brought nothing forward."""
        self.health.note_failure(words, self.clock.monotonic())

    def fruitless_for(self, seconds: float) -> bool:
        """Whether nothing was ever brought forward, in so many seconds of failures."""
        return not self.health.progress and self.health.failing_for(self.clock.monotonic()) >= seconds

    def _await_turn(self, events: int) -> None:
        while True:
            self.rest(self.limiter.pause_left())
            self.rest(self._rate.reserve(events, self.clock.monotonic()))
            if not self.limiter.pause_left():
                return

    def _check(self) -> None:
        if not self.halted() and self.health.given_up(self.clock.monotonic()):
            self.fail(
                DeliveryError(
                    f"Nothing but failures for {self.settings.give_up_after:.0f} s; "
                    f"the last one: {self.health.last_words}.",
                    remedy="Check the network and Amplitude's status; everything undelivered stays open.",
                )
            )
        if self.halted():
            raise HaltedError

    def _compression_of(self, body: Body) -> Compression:
        if not body.gzip:
            return Compression.OFF
        return Compression.PROVEN if self._gzip_proven else Compression.UNPROVEN

    def _learn(self, slot: Slot, body: Body, events: int, decision: Decision) -> None:
        now = self.clock.monotonic()
        match decision:
            case Accepted():
                self.limiter.success(slot)
                self._rate.accepted(events, now)
                self.room.accepted()
                self._gzip_proven = self._gzip_proven or body.gzip
            case PlainBody():
                self._gzip = False
            case RetryAfter(cause=cause, seconds=seconds, overload=overload):
                if overload:
                    self.limiter.overload(slot)
                if cause is Cause.THROTTLED and seconds:
                    self.limiter.pause(seconds)
                    self._rate.throttled(began=slot.began, now=now, pause=seconds)


def _counts(
    body: Body, answer: Reply | NoReply, decision: Decision, events: Sequence[Event], *, again: bool
) -> RequestCounts:
    accepted = isinstance(decision, Accepted)
    short = (
        isinstance(decision, Accepted) and decision.ingested is not None and decision.ingested < len(events)
    )
    status = kind_of(answer)
    failed = _is_failure(decision)
    return RequestCounts(
        sent=1,
        retried=int(again),
        throttled=int(isinstance(answer, Reply) and answer.meaning == _THROTTLED),
        bytes_raw=body.raw_size,
        bytes_wire=len(body.wire),
        short_ingests=int(short),
        repeated_ids=len(events) - len({event.get("insert_id") for event in events}) if accepted else 0,
        failed=int(failed),
        by_status=Counter({status: 1}),
        failures={status: answer.words} if failed else {},
    )


def _is_failure(decision: Decision) -> bool:
    """Whether the answer brought nothing forward; throttling does, in time, and smaller requests may."""
    if isinstance(decision, RetryAfter):
        return decision.cause is Cause.FAILURE
    return not isinstance(decision, Accepted | Sort | Split)
