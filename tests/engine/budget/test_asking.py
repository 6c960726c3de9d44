from __future__ import annotations

import threading

from braze_etl.engine.meter import Asking
from braze_etl.engine.tasks import Ask, Grant

ASK = Ask(1, 10, stops=True)


def test_the_answer_of_the_parent_comes_back() -> None:
    told: list[Ask] = []
    asking = Asking(told.append, threading.Event())
    asking.receive(Grant(10))
    assert asking(ASK) == Grant(10)
    assert told == [ASK]


def test_a_stop_ends_the_wait_for_an_answer() -> None:
    asking = Asking(lambda _: None, threading.Event())
    asking.receive(None)
    assert asking(ASK) is None


def test_after_a_stop_nothing_is_asked() -> None:
    stop, told = threading.Event(), list[Ask]()
    stop.set()
    assert Asking(told.append, stop)(ASK) is None
    assert told == []
