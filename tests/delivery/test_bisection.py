from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braze_etl.delivery.bisection import Bisection
from braze_etl.delivery.destination import Refused

OWN = Refused("HTTP 400: Invalid event JSON", own_words=True, status=400)
FIREWALL = Refused("HTTP 403: Forbidden", own_words=True, status=403)
PROXY = Refused("HTTP 403: <html>", own_words=False, status=403)


class Service:
    """Refuses requests by a rule, and counts."""

    def __init__(self, refuses: Callable[[Sequence[int]], bool], refusal: Refused = OWN) -> None:
        self._refuses = refuses
        self.refusal = refusal
        self.asked: list[list[int]] = []
        self.accepted = 0
        self.settled: set[int] = set()
        self.pauses: list[int] = []

    def ask(self, indexes: Sequence[int]) -> Refused | None:
        self.asked.append(list(indexes))
        if self._refuses(indexes):
            return self.refusal
        self.accepted += 1
        self.settled.update(indexes)
        return None

    def search(self, size: int) -> dict[int, str] | None:
        return Bisection(self.ask, lambda: self.accepted, self.pauses.append).run(range(size), self.refusal)


def against(*bad: int, refusal: Refused = OWN) -> Service:
    return Service(lambda indexes: bool(set(bad) & set(indexes)), refusal)


@pytest.mark.parametrize("size", [3, 4, 7, 8, 100, 2000])
@pytest.mark.parametrize("refusal", [OWN, FIREWALL])
def test_one_event_is_found_within_twice_the_logarithm(size: int, refusal: Refused) -> None:
    for bad in {0, 1, size // 2, size - 2, size - 1}:
        service = against(bad, refusal=refusal)
        assert service.search(size) == {bad: refusal.words}
        assert service.settled == set(range(size)) - {bad}
        assert len(service.asked) <= 2 * math.ceil(math.log2(size))


@pytest.mark.parametrize("bad", [0, 999, 1999])
def test_a_proxys_words_are_asked_again_after_a_pause_at_the_same_promise(bad: int) -> None:
    service = against(bad, refusal=PROXY)
    assert service.search(2000) == {bad: PROXY.words}
    assert service.pauses
    assert len(service.asked) + 1 <= 2 * math.log2(2000)  # one more for the retry before the search


def test_of_two_events_one_is_found_with_one_confirmation() -> None:
    service = against(0)
    assert service.search(2) == {0: OWN.words}
    assert service.asked == [[0], [1], [0]]


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 120).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_only_the_events_at_fault_are_blamed(case: tuple[int, set[int]]) -> None:
    size, bad = case
    service = against(*bad)
    blamed = service.search(size)
    if blamed is None:
        assert not service.accepted
        assert len(service.asked) <= 2 * math.ceil(math.log2(size)) + 2
    else:
        assert set(blamed) <= bad
        assert service.settled | set(blamed) == set(range(size))
        assert len(service.asked) <= max(1, len(bad)) * (math.ceil(math.log2(size)) + 3)


@pytest.mark.parametrize("refusal", [OWN, FIREWALL, PROXY])
def test_who_refuses_everything_blames_nobody(refusal: Refused) -> None:
    service = Service(lambda _indexes: True, refusal)
    assert service.search(2000) is None
    assert len(service.asked) <= 24


def test_a_refusal_that_was_over_in_a_moment_blames_nobody() -> None:
    service = Service(lambda _indexes: len(service.asked) <= 11)
    assert service.search(2000) == {}
    assert service.settled == set(range(2000))


def test_a_lone_event_is_blamed_when_amplitude_itself_says_so_five_times() -> None:
    service = against(0)
    assert service.search(1) == {0: OWN.words}
    assert service.pauses == [1, 2, 3, 4]


@pytest.mark.parametrize("refusal", [FIREWALL, PROXY])
def test_a_lone_event_is_not_blamed_for_what_may_be_the_way(refusal: Refused) -> None:
    assert against(0, refusal=refusal).search(1) is None


def test_a_lone_event_that_is_taken_in_the_end_is_settled() -> None:
    service = Service(lambda _indexes: len(service.asked) < 3)
    assert service.search(1) == {}
    assert service.settled == {0}
