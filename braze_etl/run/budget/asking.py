"""Asking the parent for a grant, over the pipe that tasks and settlements take."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from braze_etl.run.budget.allowance import Ask, Grant


class Asking:
    """Called in the working thread; `hear` is called in the one that listens to the parent."""

    def __init__(self, tell: Callable[[Ask], None], stop: threading.Event) -> None:
        self._tell = tell
        self._stop = stop
        self._answers: queue.SimpleQueue[Grant | None] = queue.SimpleQueue()

    def __call__(self, ask: Ask) -> Grant | None:
        """Ask, and wait for the answer; None when the run has to stop."""
        if self._stop.is_set():
            return None
        self._tell(ask)
        return self._answers.get()

    def hear(self, answer: Grant | None) -> None:
        """The parent has answered; or with None, it was told to stop, and may answer no more."""
        self._answers.put(answer)
