"""What `run`, `backfill` and `quarantine replay` share over the API: signals, progress, report, exit code.

A thread receives signals: the main one may be in a call that nothing interrupts, such as the resolution
of a name. The same thread ends the process when the time for a clean stop is over.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Final, TypeVar

from braze_etl.api import Pipeline
from braze_etl.clock import Clock, SystemClock
from braze_etl.commands._output import print_error, print_json
from braze_etl.commands._progress import progress_for
from braze_etl.commands._report_text import print_report
from braze_etl.config.loading import Config
from braze_etl.deadline import TICK
from braze_etl.engine.exits import Stop, exit_code, softened
from braze_etl.engine.report import RunReport
from braze_etl.errors import AbandonedError, BrazeEtlError, LeaseHeldError
from braze_etl.flows.currents_to_amplitude.flow import Observers
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.logs import get_logger

_log = get_logger(__name__)

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_ECHO: Final = 1.0
"""Seconds in which the same signal counts once: `timeout` signals its child, and then the group it is in."""
_LAST_WORDS: Final = 0.3
"""Seconds for them: whoever reads our output may be the peer that does not move."""

_T = TypeVar("_T")


def attended(config: Config[Settings], *, as_json: bool, ok_exit: frozenset[int] = frozenset()) -> Pipeline:
    """A pipeline whose runs obey signals, and show a bar on a terminal."""

    def attend(stop: Stop, work: Callable[[Observers], _T]) -> _T:
        clock = SystemClock()
        last_words = _LastWords(stop, clock, as_json=as_json, ok_exit=ok_exit)
        with _stopping(stop, clock, last_words.end), progress_for(sys.stderr) as bar:
            try:
                return work(Observers((bar,), bar.in_flight, began=last_words.follow, doing=bar.doing))
            except BrazeEtlError as caught:
                error = _interrupted(caught, stop)
                error.report = caught.report
                raise error from None

    return Pipeline(config, attend)


def perform(
    config: Config[Settings],
    do: Callable[[Pipeline], RunReport],
    *,
    output: str,
    ok_exit: frozenset[int],
) -> int:
    """Have a pipeline *do* a run, print its report or error, and give the exit code, as *ok_exit* has it."""
    as_json = output == "json"
    try:
        report = do(attended(config, as_json=as_json, ok_exit=ok_exit))
    except BrazeEtlError as error:
        if error.report is None:
            raise
        if error.report.finished_at is None:
            print_error(error, as_json=as_json, what="the run failed")
            return softened(error.exit_code, ok_exit)
        report = error.report
    _tell(report, as_json=as_json)
    return softened(report.exit_code or 0, ok_exit)


def _tell(report: RunReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report.as_dict())
    else:
        print_report(report)


@contextmanager
def _stopping(stop: Stop, clock: Clock, end: Callable[[int], None]) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM ask for a *stop*.

    *end* is called in another thread, with the exit code, on a second signal and when the stop takes long.
    """
    receiver, waker = socket.socketpair()
    waker.setblocking(False)
    receiver.settimeout(TICK)
    thread = threading.Thread(
        target=_Guard(stop, clock, end).keep, args=(receiver,), name="stop", daemon=True
    )
    handlers = {number: signal.signal(number, _received_elsewhere) for number in _SIGNALS}
    before = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        waker.close()
        thread.join()
        receiver.close()


class _Guard:
    """Receives signals, and knows when it is enough."""

    def __init__(self, stop: Stop, clock: Clock, end: Callable[[int], None]) -> None:
        self._stop = stop
        self._clock = clock
        self._end = end
        self._first = 0.0

    def keep(self, receiver: socket.socket) -> None:
        """Listen until the other side is closed."""
        while True:
            try:
                received = receiver.recv(64)
            except TimeoutError:
                received = None
            if received == b"":
                return
            for signum in received or ():
                self._receive(signum)
            if self._stop.is_over:
                self._end(0 if self._stop.signum is None else 128 + self._stop.signum)

    def _receive(self, signum: int) -> None:
        if signum not in _SIGNALS:
            return
        if self._stop.signum is None:
            self._first = self._clock.monotonic()
            self._stop.request(signum)
        elif signum != self._stop.signum or self._clock.monotonic() - self._first > _ECHO:
            self._end(128 + signum)


class _LastWords:
    """Ends the process as it is: what was not settled stays due, and the lease ends with its holder."""

    def __init__(self, stop: Stop, clock: Clock, *, as_json: bool, ok_exit: frozenset[int]) -> None:
        self._stop = stop
        self._clock = clock
        self._as_json = as_json
        self._ok_exit = ok_exit
        self._context = copy_context()
        self.report: RunReport | None = None
        """That of the run, once it has begun."""

    def follow(self, report: RunReport) -> None:
        """Tell of this run, which begins."""
        self.report = report

    def end(self, code: int) -> None:
        """Kill the workers, tell what is known, and exit; without a *code*, with the one that applies."""
        with suppress(Exception):  # nothing keeps this process from its end
            for child in multiprocessing.active_children():
                child.kill()
        code = code or self._code()
        teller = threading.Thread(target=self._context.run, args=(self._report, code), daemon=True)
        teller.start()
        teller.join(_LAST_WORDS)
        os._exit(softened(code, self._ok_exit))

    def _code(self) -> int:
        """That of a run whose time was up, and which did not end in the time for that."""
        if self.report is None:
            return 1
        code = exit_code(self.report, self._stop)
        return 4 if code in (0, 3) else code

    def _report(self, code: int) -> None:
        _log.warning("the run could not be stopped cleanly in time, and is cut off", exit_code=code)
        if self.report is None:
            print_error(_before_it_began(code), as_json=self._as_json, what="the run failed")
            return
        self.report.exit_code, self.report.finished_at = code, self._clock.now()
        _tell(self.report, as_json=self._as_json)


def _interrupted(error: BrazeEtlError, stop: Stop) -> BrazeEtlError:
    """Give *error*, or what to say instead where it only tells that a signal came before the run began."""
    if stop.signum is not None and isinstance(error, (AbandonedError, LeaseHeldError)):
        return _before_it_began(128 + stop.signum, error.message)
    return error


def _before_it_began(code: int, why: str = "") -> BrazeEtlError:
    words = f" ({why})" if why else ""
    error = BrazeEtlError(f"stopped before the run began{words}", remedy="Nothing was touched; run it again.")
    error.exit_code = code
    return error


def _received_elsewhere(*_: object) -> None:
    """What the signal wakes is `_Guard`."""
