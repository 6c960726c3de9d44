"""Real processes that share a budget over their pipes."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import Connection

from braze_etl.engine.budget import Terms
from braze_etl.engine.executors.local import QUIT, READY, WorkerPool
from braze_etl.engine.settings import BudgetSection
from braze_etl.engine.tasks import Ask, Grant, Settlement, Task
from braze_etl.model import Counts, Tally
from tests.engine.budget.world import STOPPED, World, due

ASKED, TASKS = 7, 24


def greedy(pipe: Connection, killer: int) -> None:
    """A worker that sends all that it is granted; one task is its end, after it was granted something."""
    pipe.send(READY)
    waiting = list[Task | str]()
    while (message := waiting.pop(0) if waiting else pipe.recv()) != QUIT:
        if not isinstance(message, Task):
            continue
        pipe.send(Ask(message.number, ASKED, stops=True))
        while not isinstance(answer := pipe.recv(), Grant):
            waiting.append(answer)  # the next task comes before the answer
        if message.number == killer:
            os.kill(os.getpid(), signal.SIGKILL)
        tally = Tally(accepted=min(ASKED, answer.events))
        pipe.send(Settlement(message.number, counts=Counts({STOPPED: tally})))


def run(world: World, *, killer: int = -1) -> int:
    """Work on all tasks; how many events were accepted."""
    pool = WorkerPool(world.workers, greedy, killer, answer=world.meter.answer)
    accepted, left = 0, [Task(number, (due(str(number)),)) for number in range(TASKS)]
    try:
        while left or pool.busy:
            while left and pool.submit(left[0]):
                left.pop(0)
            for event in pool.poll(5.0):
                if not isinstance(event, Settlement):
                    continue
                world.meter.settled([event])
                accepted += sum(tally.accepted for tally in event.counts.by_event_type.values())
                assert world.noted()[1] >= accepted
    finally:
        pool.close()
    return accepted


def test_processes_never_send_more_than_the_bound_together() -> None:
    world = World(Terms(BudgetSection(per_day=50, stop=("*",))), workers=3)
    assert 0 < run(world) <= 50


def test_what_a_process_was_granted_before_it_died_counts_as_spent() -> None:
    world = World(Terms(BudgetSection(per_day=1000, stop=("*",))), workers=2)
    accepted = run(world, killer=5)
    world.meter.close()
    assert world.noted()[1] > accepted
