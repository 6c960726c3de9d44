"""A worker's pulse."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.connection import Connection

from braze_etl.clock import ManualClock
from braze_etl.model import FileRef
from braze_etl.run.finding.due import DueFile
from braze_etl.run.working.pool import QUIT, READY, WorkerPool
from braze_etl.run.working.pulse import Heart, Pulse
from braze_etl.run.working.tasks import Settlement, Task


def test_it_beats_at_most_a_few_times_a_second() -> None:
    clock, sent = ManualClock(datetime(2026, 11, 24, tzinfo=UTC)), list[Pulse]()
    heart = Heart(sent.append, clock, every=0.25)
    for number in range(10):
        heart.beat(number)
        clock.advance(0.1)
    assert [pulse.in_flight for pulse in sent] == [0, 3, 6, 9]


def busy(pipe: Connection, _blueprint: object) -> None:
    """A worker that has three requests under way, and does not say when they have ended."""
    pipe.send(READY)
    while (task := pipe.recv()) != QUIT:
        pipe.send(Pulse(3))
        pipe.send(Settlement(task.number))


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
