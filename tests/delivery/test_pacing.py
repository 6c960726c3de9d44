"""Pacing on a virtual clock. Each scenario states the range that the requests in flight must stay in."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braze_etl.clock import ManualClock, SystemClock
from braze_etl.delivery.gate import Limiter, Slot
from braze_etl.delivery.pacing import Rate, Window, back_off
from tests.delivery.conftest import NOON

_BATCH = 2000


@dataclass
class Simulation:
    """A sender with always more to send, against a service whose latency and limit change over time."""

    window: Window
    latency: Callable[[float], float]
    takes: Callable[[float, int], bool]
    retry_after: float = 0.0
    now: float = 0.0
    in_flight: int = 0
    refused: int = 0
    accepted: list[float] = field(default_factory=list)
    history: list[tuple[float, int]] = field(default_factory=list)
    pace: Rate = field(default_factory=lambda: Rate(least=500.0, span=30.0))
    _paused_until: float = 0.0
    _booked: bool = False
    _ends: list[tuple[float, int, Slot, bool]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def run(self, until: float) -> None:
        while self.now < until:
            while self.in_flight < self.window.limit and self.now >= self._next_start():
                self._begin()
            over = self._ends[0][0] if self._ends else inf
            if self.in_flight < self.window.limit and self._next_start() < over:
                self.now = self._next_start()
                continue
            self.now, _, slot, taken = heapq.heappop(self._ends)
            self.in_flight -= 1
            self._answer(slot, taken)
            self.history.append((self.now, self.window.limit))

    def _next_start(self) -> float:
        if self.now < self._paused_until:
            self._booked = False
            return self._paused_until
        if not self._booked:
            wait = self.pace.take(_BATCH, self.now)
            self._booked = not wait
            return self.now + wait
        return self.now

    def _begin(self) -> None:
        self._booked = False
        self.in_flight += 1
        slot = Slot(self.now, self.in_flight >= self.window.limit)
        end = self.now + self.latency(self.now)
        heapq.heappush(self._ends, (end, next(self._numbers), slot, self.takes(self.now, self.in_flight)))

    def _answer(self, slot: Slot, taken: bool) -> None:
        if taken:
            self.accepted.append(self.now)
            self.pace.accepted(_BATCH, self.now)
            self.window.success(full=slot.full)
        else:
            self.refused += 1
            self.window.overload(began=slot.began, now=self.now)
            if self.retry_after:
                self._paused_until = self.now + self.retry_after
                self.pace.throttled(began=slot.began, now=self.now, pause=self.retry_after)

    def rate(self, since: float, until: float) -> float:
        """Events accepted a second."""
        return _BATCH * sum(since <= when < until for when in self.accepted) / (until - since)

    def limits(self, since: float, until: float = float("inf")) -> list[int]:
        return [limit for when, limit in self.history if since <= when < until]


def test_a_short_run_has_all_its_requests_in_flight_after_a_few_round_trips() -> None:
    run = Simulation(Window(16), latency=lambda _now: 0.2, takes=lambda _now, _n: True)
    run.run(until=1)
    assert run.window.limit == 16


def test_against_a_steady_service_the_window_opens_gently_to_its_cap() -> None:
    run = Simulation(Window(16), latency=lambda _now: 0.2, takes=lambda _now, _n: True)
    run.run(until=60)
    limits = run.limits(0)
    assert limits[0] == 4
    assert all(after - before in (0, 1) for before, after in pairwise(limits))
    assert set(run.limits(since=30)) == {16}
    assert 155_000 <= run.rate(30, 60) <= 165_000


def test_against_a_slow_service_the_window_opens_no_faster_than_its_answers_come() -> None:
    run = Simulation(Window(16), latency=lambda _now: 5.0, takes=lambda _now, _n: True)
    run.run(until=20)
    assert max(run.limits(0, until=7)) <= 8
    assert max(run.limits(0, until=12)) <= 16
    run.run(until=300)
    assert run.window.limit == 16
    run.run(until=360)
    assert 6_000 <= run.rate(300, 360) <= 6_800


def test_against_a_limit_of_eight_the_window_saws_below_it_and_few_requests_are_lost() -> None:
    run = Simulation(Window(64), latency=lambda _now: 0.2, takes=lambda _now, n: n <= 8)
    run.run(until=300)
    steady = run.limits(since=30)
    assert min(steady) >= 4
    assert max(steady) <= 9
    assert sum(limit in (7, 8) for limit in steady) / len(steady) > 0.6
    assert run.refused / (len(run.accepted) + run.refused) < 0.10
    assert 60_000 <= run.rate(30, 300) <= 90_000


class Quota:
    """A project that may take so many events a second, counted over the last second, as `takes`."""

    def __init__(self, events_a_second: int) -> None:
        self._most = events_a_second
        self._taken: deque[float] = deque()

    def __call__(self, now: float, _in_flight: int) -> bool:
        while self._taken and self._taken[0] <= now - 1.0:
            self._taken.popleft()
        if (len(self._taken) + 1) * _BATCH > self._most:
            return False
        self._taken.append(now)
        return True


@pytest.mark.parametrize("limit", [4_000, 30_000, 100_000])
def test_against_a_project_limit_most_of_it_is_used_and_few_requests_are_refused(limit: int) -> None:
    run = Simulation(Window(16), latency=lambda _now: 0.2, takes=Quota(limit), retry_after=60.0)
    run.run(until=3600)
    assert 0.75 * limit <= run.rate(60, 3600) <= limit
    assert run.refused <= 30
    assert max(run.limits(60)) <= 12


def test_a_project_limit_that_was_others_doing_is_outgrown() -> None:
    quota = Quota(20_000)

    def takes(now: float, in_flight: int) -> bool:
        return now > 60 or quota(now, in_flight)

    run = Simulation(Window(16), latency=lambda _now: 0.2, takes=takes, retry_after=60.0)
    run.run(until=3 * 3600)
    assert 13_000 <= run.rate(120, 180) <= 20_000
    assert run.rate(3 * 3600 - 60, 3 * 3600) >= 100_000


def test_an_outage_shuts_the_window_and_recovery_opens_it_again() -> None:
    def up(now: float, _n: int) -> bool:
        return not 60 <= now < 120

    run = Simulation(Window(16), latency=lambda _now: 0.2, takes=up)
    run.run(until=240)
    assert run.limits(0, until=60)[-1] == 16
    assert set(run.limits(since=62, until=120)) == {1}
    assert run.limits(since=120, until=121)[-1] <= 8
    assert set(run.limits(since=150)) <= {14, 15, 16}
    assert run.rate(65, 120) == 0
    assert run.rate(150, 240) >= 0.85 * run.rate(30, 60)
    assert run.limits(0)[-1] == 16


def test_one_round_trip_of_refusals_is_one_cut() -> None:
    window = Window(16, start=16)
    for _ in range(16):
        window.overload(began=0.0, now=1.0)
    assert window.limit == 8
    window.overload(began=2.0, now=3.0)
    assert window.limit == 4


def test_a_window_that_is_not_in_full_use_does_not_open() -> None:
    window = Window(16)
    for _ in range(1000):
        window.success(full=False)
    assert window.limit == 4


@given(st.lists(st.booleans(), max_size=200), st.integers(1, 20))
def test_the_window_stays_between_one_and_its_cap(answers: list[bool], cap: int) -> None:
    window = Window(cap)
    for now, taken in enumerate(answers):
        if taken:
            window.success(full=True)
        else:
            window.overload(began=float(now), now=now + 0.5)
        assert 1 <= window.limit <= cap


@given(st.integers(1, 10_000), st.integers(0, 2**32))
def test_a_back_off_lies_between_nothing_and_its_doubling_bound(attempt: int, seed: int) -> None:
    assert 0.0 <= back_off(attempt, Random(seed)) <= min(30.0, 0.5 * 2 ** min(attempt - 1, 10))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=200))
def test_a_window_keeps_to_its_share_whatever_that_becomes(steps: list[tuple[bool, int]]) -> None:
    window, cap = Window(8), 8
    for now, (taken, share) in enumerate(steps):
        if share:
            cap = share
            window.bound(share)
        if taken:
            window.success(full=True)
        else:
            window.overload(began=float(now), now=now + 0.5)
        assert 1 <= window.limit <= cap


def test_a_narrower_share_is_kept_when_what_is_beyond_it_has_come_back() -> None:
    limiter, kept = Limiter(Window(4), SystemClock()), list[str]()
    for _ in range(3):
        limiter.acquire(lambda: False)
    limiter.bound(2, lambda: kept.append("two"))
    assert kept == []
    limiter.release()
    assert kept == ["two"]
    limiter.bound(8, lambda: kept.append("eight"))
    limiter.release()
    assert kept == ["two", "eight"]


def test_back_offs_use_the_whole_range() -> None:
    rng = Random(1)
    waits = [back_off(7, rng) for _ in range(500)]
    assert min(waits) < 2.0
    assert max(waits) > 28.0


def test_a_rate_spaces_batches_by_their_events() -> None:
    rate = Rate(1000.0, least=500.0, span=30.0)
    assert rate.take(2000, now=0.0) == 0.0
    assert rate.take(500, now=0.0) == 2.0
    assert rate.take(500, now=2.0) == 0.0
    assert rate.take(500, now=2.0) == pytest.approx(0.5)
    assert rate.take(1, now=100.0) == 0.0


def test_who_comes_a_little_late_to_its_turn_costs_the_rate_nothing() -> None:
    rate, now, sent = Rate(1000.0, least=500.0, span=30.0), 0.0, 0
    while now < 60:
        while wait := rate.take(200, now):
            now += wait + 0.05
        sent += 200
    assert 59_600 <= sent <= 60_200


def test_a_throttled_project_gets_nine_tenths_of_what_it_took_from_then_on() -> None:
    rate = Rate(least=500.0, span=30.0)
    for second in range(40):
        assert rate.take(2000, now=float(second)) == 0.0
        rate.accepted(2000, now=float(second))
    rate.throttled(began=39.0, now=40.0, pause=60.0)
    rate.throttled(began=39.5, now=40.1, pause=60.0)  # the same round trip: no second cut
    assert rate.take(1800, now=100.0) == 0.0
    assert rate.take(1800, now=100.0) == pytest.approx(1.0, rel=0.05)


def test_the_bound_of_a_user_stands_above_all_that_is_learned() -> None:
    rate = Rate(100.0, least=500.0, span=30.0)
    rate.take(2000, now=0.0)
    rate.accepted(2000, now=1.0)
    rate.throttled(began=0.5, now=1.0, pause=1.0)
    assert rate.take(200, now=2.0) == 0.0
    assert rate.take(200, now=2.0) == 2.0


def test_what_is_learned_and_owed_of_a_limit_changes_with_the_share_of_it() -> None:
    rate = Rate(least=500.0, span=30.0)
    for second in range(40):
        rate.take(2000, now=float(second))
        rate.accepted(2000, now=float(second))
    rate.throttled(began=39.0, now=40.0, pause=60.0)
    rate.share(None, 250.0, now=50.0)
    assert rate.take(900, now=50.0) == 50.0, "a pause is as long for everybody"
    assert rate.take(900, now=100.0) == 0.0
    assert rate.take(900, now=100.0) == pytest.approx(1.0, rel=0.05)
    rate.share(None, 500.0, now=100.0)
    assert rate.take(900, now=100.0) == pytest.approx(0.5, rel=0.05)


@given(
    st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(1, 2000), st.integers(1, 4), st.integers(0, 3))),
    st.sampled_from([100.0, 1_000.0, 50_000.0]),
)
def test_rates_that_share_a_whole_never_exceed_it_whatever_the_shares_become(
    steps: list[tuple[float, int, int, int]], whole: float
) -> None:
    rates = [Rate(whole / 4, least=125.0, span=30.0) for _ in range(4)]
    sharing, now, sent = 4, 0.0, 0
    for seconds, items, processes, who in steps:
        now += seconds
        if processes != sharing:
            sharing = processes  # as many are told, and no other one sends
            for rate in rates[:sharing]:
                rate.share(whole / sharing, 500.0 / sharing, now)
        if not rates[who % sharing].take(items, now):
            sent += items
    assert sent <= whole * now + 2000 * 4 + 1


def test_a_pause_binds_everybody_until_the_later_of_two() -> None:
    clock = ManualClock(NOON)
    limiter = Limiter(Window(4), clock)
    limiter.pause(30.0)
    limiter.pause(5.0)
    clock.advance(10.0)
    assert limiter.pause_left() == 20.0
    clock.advance(25.0)
    assert limiter.pause_left() == 0.0


def test_a_thread_that_waits_for_a_slot_gets_it_when_one_is_given_back() -> None:
    limiter = Limiter(Window(1), SystemClock())
    first = limiter.acquire(lambda: False)
    got: list[Slot | None] = []
    waiter = threading.Thread(target=lambda: got.append(limiter.acquire(lambda: False)))
    waiter.start()
    limiter.release()
    waiter.join(timeout=10)
    assert first is not None
    assert got[0] is not None
    assert limiter.in_flight == 1


def test_nobody_gets_a_slot_after_a_stop() -> None:
    limiter = Limiter(Window(1), SystemClock())
    assert limiter.acquire(lambda: True) is None
    limiter.acquire(lambda: False)
    stopped = threading.Event()
    threading.Timer(0.05, stopped.set).start()
    assert limiter.acquire(stopped.is_set) is None
