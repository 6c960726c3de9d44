"""The lease in S3: expiry by the server's clock, fencing, takeover."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from braze_etl.clock import ManualClock, SystemClock
from braze_etl.errors import LeaseHeldError, StateError
from braze_etl.state.ledger import Backlog, LeaseOwner, RunRecord
from braze_etl.state.s3.lease import RENEWED_EVERY, Keeper, ProcessTable, thread_keeper
from braze_etl.state.s3.ledger import S3Ledger
from tests.state.bucket import MemoryBucket
from tests.state.ground import IDENTITY, NOON, OWNER, by_hand, done, ref

OTHER = LeaseOwner("run-2", "host-b", 1, "run")
HERE, THERE = ProcessTable("host-a"), ProcessTable("host-b")


class Renewals:
    """A keeper that renews when a test says so: one that is not called stands still."""

    def __init__(self) -> None:
        self.renew: Callable[[], bool] = lambda: False

    def __call__(self, renew: Callable[[], bool]) -> AbstractContextManager[None]:
        self.renew = renew
        return by_hand(renew)


@pytest.fixture
def bucket() -> MemoryBucket:
    return MemoryBucket()


def opened(
    bucket: MemoryBucket,
    keeper: Keeper = by_hand,
    *,
    processes: ProcessTable = HERE,
    clock: ManualClock | None = None,
) -> S3Ledger:
    clock = clock or ManualClock(NOON)
    return S3Ledger.open(bucket, "state/", IDENTITY, clock=clock, keeper=keeper, processes=processes)


@contextmanager
def abandoned(lease: AbstractContextManager[None]) -> Iterator[None]:
    """Take a lease that is never given back, as if the holder's machine had lost its power."""
    lease.__enter__()
    yield


def refused(ledger: S3Ledger) -> LeaseHeldError:
    with pytest.raises(LeaseHeldError) as caught, ledger.lease(OTHER):
        pytest.fail("two runs hold one lease")
    return caught.value


class TestTwoRuns:
    def test_the_second_is_told_at_once_who_is_at_work_and_until_when(self, bucket: MemoryBucket) -> None:
        with opened(bucket).lease(OWNER):
            error = refused(opened(bucket, processes=THERE))
        assert error.exit_code == 11
        assert "run run-1 (run) on host-a, process 4711" in error.message
        assert "until 2026-10-05T12:01:30Z" in error.message
        assert "state unlock" in error.remedy

    def test_of_two_that_take_it_at_the_same_moment_one_does(self, bucket: MemoryBucket) -> None:
        first, second = opened(bucket), opened(bucket, processes=THERE)
        entered: list[AbstractContextManager[None]] = []

        def interfere(key: str) -> None:
            if key == "state/lease.json" and not entered:
                entered.append(first.lease(OWNER))
                entered[0].__enter__()

        bucket.before_write = interfere
        assert "run-1" in refused(second).message

    def test_a_renewed_lease_lasts(self, bucket: MemoryBucket) -> None:
        renewals = Renewals()
        with opened(bucket, renewals).lease(OWNER):
            for _ in range(10):
                bucket.advance(RENEWED_EVERY)
                assert renewals.renew()
            bucket.advance(80)
            assert "until 2026-10-05T12:06:30Z" in refused(opened(bucket, processes=THERE)).message

    def test_a_store_that_is_away_for_a_minute_costs_no_lease(self, bucket: MemoryBucket) -> None:
        renewals = Renewals()
        with opened(bucket, renewals).lease(OWNER):
            bucket.advance(RENEWED_EVERY)
            bucket.breaks_at = 0
            assert renewals.renew()
            bucket.breaks_at = None
            bucket.advance(RENEWED_EVERY)
            assert renewals.renew()
            bucket.advance(60)
            refused(opened(bucket, processes=THERE))


class TestExpiry:
    def test_a_holder_that_fell_silent_is_succeeded_after_90_seconds(self, bucket: MemoryBucket) -> None:
        with abandoned(opened(bucket).lease(OWNER)):
            bucket.advance(90)
            refused(opened(bucket, processes=THERE))
            bucket.advance(2)
            second = opened(bucket, processes=THERE)
            assert second.holder() is None
            with second.lease(OTHER):
                assert second.holder() is not None

    @pytest.mark.parametrize("skew", [timedelta(hours=-1), timedelta(hours=1)])
    def test_clocks_that_disagree_by_an_hour_change_nothing(
        self, bucket: MemoryBucket, skew: timedelta
    ) -> None:
        with opened(bucket).lease(OWNER):
            second = opened(bucket, processes=THERE, clock=ManualClock(NOON + skew))
            refused(second)
            assert second.holder() is not None
        with opened(bucket).lease(OWNER), suppress(StateError):
            bucket.advance(92)
            with second.lease(OTHER):
                pass


class TestFence:
    """A holder stopped for two lease times (SIGSTOP: its renewals stop, too) finds another at work."""

    def test_it_settles_nothing_when_it_wakes(self, bucket: MemoryBucket) -> None:
        renewals = Renewals()
        paused, second = opened(bucket, renewals), opened(bucket, processes=THERE)
        with paused.lease(OWNER):
            paused.settle("run-1", [done(ref("before"), accepted=1)], Backlog())
            bucket.advance(180)
            with second.lease(OTHER):
                with pytest.raises(StateError, match="taken over while this run stood still") as caught:
                    paused.settle("run-1", [done(ref("late"), accepted=1)], Backlog())
                assert caught.value.remedy
                assert not renewals.renew()
                with pytest.raises(StateError, match="taken over"):
                    paused.finish_run(RunRecord("run-1", "run", NOON, NOON, 0))
                second.settle("run-2", [done(ref("mine"), accepted=1)], Backlog())
        assert set(opened(bucket).known([ref("before"), ref("late"), ref("mine")])) == {
            ref("before").key,
            ref("mine").key,
        }

    def test_its_going_does_not_release_the_lease_of_the_other(self, bucket: MemoryBucket) -> None:
        paused, second = opened(bucket), opened(bucket, processes=THERE)
        lease = paused.lease(OWNER)
        lease.__enter__()
        bucket.advance(180)
        with second.lease(OTHER):
            lease.__exit__(None, None, None)
            holder = opened(bucket).holder()
            assert holder is not None
            assert holder.owner == OTHER

    def test_a_settlement_that_was_under_way_when_it_stopped_is_refused_too(
        self, bucket: MemoryBucket
    ) -> None:
        paused, second = opened(bucket), opened(bucket, processes=THERE)
        lease = second.lease(OTHER)

        def stop(key: str) -> None:
            if key == "state/head.json":
                bucket.before_write = lambda _: None
                bucket.advance(180)
                lease.__enter__()

        with paused.lease(OWNER):
            bucket.before_write = stop
            with pytest.raises(StateError, match="taken over"):
                paused.settle("run-1", [done(ref("late"), accepted=1)], Backlog())
        assert second.known([ref("late")]) == {}

    def test_a_holder_that_nobody_succeeded_goes_on(self, bucket: MemoryBucket) -> None:
        paused = opened(bucket)
        with paused.lease(OWNER):
            bucket.advance(3600)
            paused.settle("run-1", [done(ref(), accepted=1)], Backlog())
        assert opened(bucket).known([ref()])

    def test_a_lease_that_was_deleted_by_hand_begins_above_the_heads_generation(
        self, bucket: MemoryBucket
    ) -> None:
        for _ in range(3):
            with opened(bucket).lease(OWNER):
                pass
        paused, second = opened(bucket), opened(bucket, processes=THERE)
        with paused.lease(OWNER):
            del bucket.objects["state/lease.json"]
            with second.lease(OTHER):
                second.settle("run-2", [done(ref(), accepted=1)], Backlog())
                with pytest.raises(StateError, match="taken over"):
                    paused.settle("run-1", [done(ref("late"), accepted=1)], Backlog())


class TestDeadHolder:
    def test_a_dead_one_on_this_machine_is_succeeded_at_once(self, bucket: MemoryBucket) -> None:
        died = subprocess.run([sys.executable, "-c", _HOLD_AND_DIE], capture_output=True, check=True)
        key, _, lease = died.stdout.partition(b"\n")
        ledger = S3Ledger.open(bucket, "state/", IDENTITY, clock=ManualClock(NOON), keeper=by_hand)
        bucket.objects[key.decode()] = lease, bucket.now
        assert ledger.holder() is None
        with ledger.lease(OTHER):
            pass

    def test_one_on_another_machine_is_waited_for(self, bucket: MemoryBucket, tmp_path: Path) -> None:
        with abandoned(opened(bucket, processes=ProcessTable("host-a", tmp_path)).lease(OWNER)):
            refused(opened(bucket, processes=THERE))


_HOLD_AND_DIE = """
import os, sys
from braze_etl.state.s3.ledger import S3Ledger
from braze_etl.clock import ManualClock, SystemClock
from tests.state.bucket import MemoryBucket
from tests.state.ground import IDENTITY, NOON, OWNER, by_hand

bucket = MemoryBucket()
ledger = S3Ledger.open(bucket, "state/", IDENTITY, clock=ManualClock(NOON), keeper=by_hand)
with ledger.lease(OWNER):
    sys.stdout.buffer.write(b"state/lease.json\\n" + bucket.objects["state/lease.json"][0])
    sys.stdout.flush()
    os._exit(0)
"""


class TestUnlock:
    def test_the_lease_is_free_and_its_holder_shut_out(self, bucket: MemoryBucket) -> None:
        slow = opened(bucket)
        with slow.lease(OWNER):
            opened(bucket, processes=THERE).unlock()
            assert opened(bucket).holder() is None
            with pytest.raises(StateError) as caught:
                slow.settle("run-1", [done(ref(), accepted=1)], Backlog())
            assert "state unlock" in caught.value.remedy
        with opened(bucket, processes=THERE).lease(OTHER):
            pass

    def test_a_renewal_at_the_same_moment_does_not_save_it(self, bucket: MemoryBucket) -> None:
        renewals = Renewals()

        def interfere(key: str) -> None:
            bucket.before_write = lambda _: None
            renewals.renew()

        with opened(bucket, renewals).lease(OWNER):
            bucket.before_write = interfere
            opened(bucket, processes=THERE).unlock()
            assert opened(bucket).holder() is None
            assert not renewals.renew()

    def test_a_free_lease_may_be_unlocked(self, bucket: MemoryBucket) -> None:
        ledger = opened(bucket)
        ledger.unlock()
        with ledger.lease(OWNER):
            pass
        ledger.unlock()
        with ledger.lease(OWNER):
            pass


class Gate:
    """A clock on which the renewing thread waits until a test lets it go on."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.go = threading.Semaphore(0)

    def now(self) -> None:
        raise NotImplementedError

    def monotonic(self) -> float:
        raise NotImplementedError

    def wait(self, seconds: float, wake: threading.Event | None = None) -> bool:
        self.waits.append(seconds)
        self.go.acquire()
        assert wake is not None
        return wake.is_set()


def test_a_thread_renews_every_30_seconds_until_the_lease_is_lost() -> None:
    gate, answers = Gate(), [True, True, False]
    renewed: list[int] = []

    def renew() -> bool:
        renewed.append(1)
        return answers[len(renewed) - 1]

    with thread_keeper(gate)(renew):  # type: ignore[arg-type] # a clock that only waits
        gate.go.release(3)
        for thread in threading.enumerate():
            if thread.name == "lease":
                thread.join(10)
    assert (len(renewed), gate.waits) == (3, [RENEWED_EVERY] * 3)


def test_a_thread_ends_with_the_lease() -> None:
    with thread_keeper(SystemClock())(lambda: True):
        pass
    assert "lease" not in [thread.name for thread in threading.enumerate()]
