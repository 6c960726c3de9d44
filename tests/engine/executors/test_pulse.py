"""A worker's pulse."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.connection import Connection

from braze_etl.clock import ManualClock
from braze_etl.engine.due import DueFile
from braze_etl.engine.executors.local import QUIT, READY, Heart, Pulse, Silence, WorkerPool
from braze_etl.engine.tasks import Settlement, Task
from braze_etl.engine.worker import Life
from braze_etl.model import FileRef


def test_it_beats_at_most_a_few_times_a_second() -> None:
    clock, sent = ManualClock(datetime(2026, 11, 24, tzinfo=UTC)), list[Pulse]()
    heart = Heart(sent.append, clock, every=0.25)
    for number in range(10):
        heart.beat(number)
        clock.advance(0.1)
    assert [pulse.in_flight for pulse in sent] == [0, 3, 6, 9]


def test_a_parent_that_was_away_takes_no_worker_for_dead() -> None:
    clock = ManualClock(datetime(2026, 11, 24, tzinfo=UTC))
    silence = Silence(clock)
    clock.advance(3600)
    assert silence.measure() == 1.0
    for _ in range(8):
        clock.advance(0.25)
        silence.measure()
    assert silence.seconds == 3.0
    silence.end()
    assert silence.measure() == 0.0


def test_whoever_waits_or_does_something_gets_on_and_who_is_stuck_does_not() -> None:
    life = Life()
    assert life.wait(life.gets_on)
    assert life.gets_on()
    assert not life.gets_on()
    life.step()
    assert life.gets_on()
    assert not life.gets_on()


def busy(pipe: Connection, _spec: object) -> None:
    """A worker that has three requests under way, and does not say when they have ended."""
    pipe.send(READY)
    while (message := pipe.recv()) != QUIT:
        if isinstance(message, Task):
            pipe.send(Pulse(3))
            pipe.send(Settlement(message.number))


def test_the_pool_tells_the_requests_of_all_workers(make_ref: Callable[..., FileRef]) -> None:
    told: list[int] = []
    pool = WorkerPool(2, busy, None, watch=told.append)
    try:
        for number in range(2):
            pool.submit(Task(number, (DueFile(make_ref(str(number))),)))
        while pool.busy:
            assert all(isinstance(each, Settlement) for each in pool.poll(10))
    finally:
        pool.close()
    assert len(told) == 4
    assert max(told) in (3, 6)
    assert told[-1] == 0
