from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from braze_etl.clock import ManualClock
from braze_etl.engine.clock_skew import Witnesses
from braze_etl.errors import ConfigError, StateError

HOUR = timedelta(hours=1)


@pytest.fixture
def clock(now: datetime) -> ManualClock:
    return ManualClock(now)


def test_the_time_is_that_of_whoever_told_it_and_goes_on_with_our_clock(clock: ManualClock) -> None:
    witnesses = Witnesses(clock)
    assert witnesses.now() == clock.now()
    theirs = clock.now() - 72 * HOUR
    witnesses.receive("Amplitude", theirs)
    clock.advance(60)
    assert witnesses.now() == theirs + timedelta(seconds=60)


@pytest.mark.parametrize(("seconds", "differ"), [(59, False), (-59, False), (61, True), (-300, True)])
def test_clocks_differ_from_a_minute_on_in_either_direction(
    clock: ManualClock, seconds: int, differ: bool
) -> None:
    witnesses = Witnesses(clock)
    witnesses.receive("S3 (source)", clock.now())
    witnesses.receive("Amplitude", clock.now() + timedelta(seconds=seconds))
    assert witnesses.differ is differ
    assert str(witnesses.worst) == (
        f"this clock is {abs(seconds)} s {'behind' if seconds > 0 else 'ahead of'} that of Amplitude"
    )


@pytest.mark.parametrize("off", [72 * HOUR, -72 * HOUR, HOUR, -20 * 8766 * HOUR])
def test_a_new_ledger_is_refused_under_a_clock_that_is_hours_off(clock: ManualClock, off: timedelta) -> None:
    witnesses = Witnesses(clock, lambda: witnesses.receive("Amplitude", clock.now() - off))
    with pytest.raises(StateError, match="Nothing was touched"):
        witnesses.vouch(clock.now() - 48 * HOUR, configured=False)
    witnesses.vouch(clock.now() - 96 * HOUR, configured=True)


def test_one_witness_that_disagrees_is_enough(clock: ManualClock) -> None:
    """A store on the same machine has the same wrong clock."""
    witnesses = Witnesses(clock, lambda: witnesses.receive("Amplitude", clock.now() - 72 * HOUR))
    witnesses.receive("S3 (source)", clock.now())
    with pytest.raises(StateError, match="that of Amplitude"):
        witnesses.vouch(clock.now() - 48 * HOUR, configured=False)


def test_minutes_and_silence_do_not_keep_a_ledger_from_being_made(clock: ManualClock) -> None:
    Witnesses(clock).vouch(clock.now() - 48 * HOUR, configured=False)
    witnesses = Witnesses(clock, lambda: witnesses.receive("Amplitude", clock.now() - HOUR / 4))
    witnesses.vouch(clock.now() - 48 * HOUR, configured=False)


def test_a_configured_beginning_in_the_future_is_refused_by_the_right_clock(clock: ManualClock) -> None:
    with pytest.raises(ConfigError, match="would skip"):
        Witnesses(clock).vouch(clock.now() + HOUR, configured=True)
    witnesses = Witnesses(clock, lambda: witnesses.receive("Amplitude", clock.now() + 48 * HOUR))
    witnesses.vouch(clock.now() + HOUR, configured=True)


def test_a_ledger_that_begins_in_the_future_is_refused_whoever_knows_the_time(clock: ManualClock) -> None:
    with pytest.raises(StateError, match="until then all is skipped"):
        Witnesses(clock).refuse_future(clock.now() + HOUR, doubted=False)
    still_wrong = Witnesses(clock, lambda: still_wrong.receive("Amplitude", clock.now() - 72 * HOUR))
    with pytest.raises(StateError, match="until then all is skipped"):
        still_wrong.refuse_future(clock.now() - 48 * HOUR, doubted=True)
    far_behind = Witnesses(clock, lambda: far_behind.receive("Amplitude", clock.now() + 72 * HOUR))
    far_behind.refuse_future(clock.now() + HOUR, doubted=False)
