"""A few rounds of the kill loop; `make soak ROUNDS=1000` does many."""

from __future__ import annotations

import sys

import pytest

from tests.faults.kill_loop import kill_loop


@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("seed", range(5))
def test_whoever_is_killed_whenever_nothing_is_lost_and_only_what_was_in_flight_comes_again(
    seed: int, s3_server: str
) -> None:
    tally = kill_loop(5, seed, s3_server)
    assert tally.rounds == 5
    assert tally.losses == 0
