"""A worker whose files tell it what to do, by their keys; any other file is done at once."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from braze_etl.clock import SystemClock
from braze_etl.engine.executors.local import READY, STOP, Pulse, give_signs
from braze_etl.engine.tasks import Settlement, Task
from braze_etl.engine.worker import QUIT, Life
from braze_etl.model import FileSettlement, FileState


class Hasty(SystemClock):
    """Waits ever so shortly."""

    def wait(self, seconds: float, wake: threading.Event | None = None) -> bool:
        return super().wait(seconds / 500, wake)


def wait_for_others(pipe: Connection) -> None:
    life = Life()
    signs = (life, lambda: pipe.send(Pulse(1)), Hasty())
    threading.Thread(target=give_signs, args=signs, daemon=True).start()
    life.wait(pipe.poll, None)


HANG: dict[str, Callable[[Connection], Any]] = {
    "stick": lambda _: threading.Event().wait(),
    # With the interpreter's lock, so that no other thread can run.
    "stick in C": lambda _: ctypes.PyDLL(None).pause(),
    "wait": wait_for_others,
}


def obedient(pipe: Connection, spec: str) -> None:
    """Serve tasks as `local.Serve` does; a `broken` one never comes up."""
    if spec == "broken":
        os._exit(3)
    pipe.send(READY)
    held: list[Task] = []
    while (message := pipe.recv()) != QUIT:
        if message == STOP:
            for task in held:
                pipe.send(Settlement(task.number, [FileSettlement(due.ref, None) for due in task.files]))
            held.clear()
            continue
        key = message.files[0].ref.key
        if key == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif key == "break off":
            os.write(pipe.fileno(), struct.pack("!i", 1000) + b"the beginning of a settlement")
            os.kill(os.getpid(), signal.SIGKILL)
        elif key == "hold":
            held.append(message)
        elif key in HANG:
            held.append(message)
            HANG[key](pipe)
        else:
            pipe.send(Settlement(message.number, [FileSettlement(message.files[0].ref, FileState.DONE)]))
