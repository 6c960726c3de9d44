"""A worker whose files tell it what to do, by their keys; any other file is done at once."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any
from unittest.mock import patch

from braze_etl.clock import SystemClock
from braze_etl.delivery.batches import Trouble
from braze_etl.engine.executors.local import READY, Link, Pulse, give_signs
from braze_etl.engine.executors.shipment import Unfit
from braze_etl.engine.tasks import Ask, Findings, Inspection, Result, Settlement, Work
from braze_etl.engine.worker import Life
from braze_etl.errors import AccessDeniedError
from braze_etl.model import FileRef, FileSettlement, FileState

DENIED = "OBEDIENT_DENIED"
"""The environment variable of a process that may not read what is `secret`."""


class Hasty(SystemClock):
    """Waits ever so shortly."""

    def wait(self, seconds: float, wake: threading.Event | None = None) -> bool:
        return super().wait(seconds / 500, wake)


def obedient(stop: threading.Event, **acts: Callable[[], Any]) -> Callable[[Work], Result]:
    """What a worker does with a task: the act that bears the name of its file, or what all can do.

    Of an inspection it gives the answer, unless it is stopped before.
    """

    def run(task: Work) -> Result:
        key = task.files[0].ref.key
        state = None if key in ("hold", "wait") else FileState.DONE
        if key in acts:
            acts[key]()
        if key == "hold":
            stop.wait()
        if key == "secret" and os.environ.get(DENIED):
            settlement = Settlement(task.number)
            settlement.unavailable.note(AccessDeniedError("it may not be read", remedy="Give the right to."))
            return settlement
        if key == "stick":
            threading.Event().wait()
        if isinstance(task, Inspection):
            answer = task.question(task.files, None, Life()) if state else None
            return Findings(task.number, answer)
        return Settlement(task.number, [FileSettlement(due.ref, state) for due in task.files])

    return run


def serve_obediently(pipe: Connection, spec: str) -> None:
    """The same as a process, as `local.Serve` has it; a `broken` one never comes up."""
    if spec == "broken":
        os._exit(3)
    link, life = Link(pipe), Life()

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def break_off() -> None:
        os.write(pipe.fileno(), struct.pack("!i", 1000) + b"the beginning of a settlement")
        die()

    def mumble() -> None:
        patch("traceback.extract_tb", side_effect=MemoryError).start()
        raise MemoryError

    def hold_the_last_thread() -> None:
        patch.object(ThreadPoolExecutor, "submit", side_effect=RuntimeError("can't start new thread")).start()
        link.send(Pulse(1))
        link.stop.wait()

    def wait_for_others() -> None:
        signs = (life.gets_on, lambda: link.send(Pulse(1)), Hasty())
        threading.Thread(target=give_signs, args=signs, daemon=True).start()
        life.wait(link.stop.wait)

    def ask() -> None:
        granted = link.ask(Ask(1, 5, stops=False))
        link.send(Trouble("timeout", "http://localhost", f"it may send {granted and granted.events}"))

    link.send(READY)
    link.serve(
        obedient(
            link.stop,
            ask=ask,
            die=die,
            fail=lambda: vars(os)["ann@people.example"],
            break_off=break_off,
            mumble=mumble,
            hold_the_last_thread=hold_the_last_thread,
            wait=wait_for_others,
            # With the interpreter's lock, so that no other thread can run.
            stick_in_c=lambda: ctypes.PyDLL(None).pause(),
        )
    )


def serve_broken(_pipe: Connection) -> None:
    """One that never comes up, as it is shipped to a machine."""
    os._exit(3)


def serve_fine(pipe: Connection) -> None:
    """The same, as it is shipped to a machine."""
    serve_obediently(pipe, "fine")


def prove_fine(_file: FileRef | None) -> None:
    """A machine that is fit for it."""


def prove_unfit(_file: FileRef | None) -> Unfit:
    """A machine that is not."""
    return Unfit("it has no legs to stand on", "Give it legs.")


def prove_badly(_file: FileRef | None) -> None:
    """A machine that can't even say what it lacks."""
    os._exit(4)
