from __future__ import annotations

from braze_etl.delivery.gate import Health, Tries


def test_nothing_but_failures_for_too_long_is_given_up() -> None:
    health = Health(600.0)
    health.note_failure("first", now=100.0)
    health.note_failure("second", now=650.0)
    assert not health.given_up(699.0)
    assert health.given_up(700.0)
    assert health.last_words == "second"


def test_an_idle_hour_is_no_failure() -> None:
    health = Health(600.0)
    assert not health.given_up(3600.0)
    health.note_failure("late", now=3600.0)
    assert not health.given_up(3601.0)


def test_progress_ends_a_streak_of_failures() -> None:
    health = Health(600.0)
    health.note_failure("down", now=0.0)
    health.note_progress()
    assert not health.given_up(10_000.0)
    health.note_failure("down", now=10_000.0)
    assert not health.given_up(10_599.0)
    assert health.given_up(10_600.0)


def test_a_request_is_hopeless_only_when_others_overtook_it_each_time() -> None:
    health = Health(600.0)
    during_an_outage, in_own_trouble = Tries(health), Tries(health)
    for _ in range(20):
        during_an_outage.note_failure()
    assert during_an_outage.failed == 20
    assert not during_an_outage.hopeless
    for _ in range(12):
        assert not in_own_trouble.hopeless
        health.note_progress()
        in_own_trouble.note_failure()
    assert in_own_trouble.hopeless
