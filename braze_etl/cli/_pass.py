"""What `run` and `backfill` share: signals, progress, the pass itself, its report."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from braze_etl.cli._logging import set_up_logging
from braze_etl.cli._output import print_error, print_json
from braze_etl.cli._progress import progress_for
from braze_etl.cli._report import print_report
from braze_etl.clock import Clock, SystemClock
from braze_etl.config import Settings
from braze_etl.errors import BrazeEtlError, LeaseHeldError
from braze_etl.run.exits import Stop, softened
from braze_etl.run.opening import Request, open_job
from braze_etl.run.telling.logbook import Audience, Logbook, tell_of_failure
from braze_etl.telemetry import common_facts

_ECHO: Final = 1.0
"""Seconds in which the same signal counts once: `timeout` signals its child, and then the group it is in."""


def perform(settings: Settings, request: Request, *, as_json: bool, ok_exit: frozenset[int]) -> int:
    """Run a pass, print its report or its error, and return the exit code that *ok_exit* leaves of it."""
    set_up_logging()
    try:
        code = _perform(settings, request, as_json=as_json)
    except BrazeEtlError as error:
        if not sys.stderr.isatty() and not isinstance(error, LeaseHeldError):
            tell_of_failure(error)  # for collectors of logs, beside the words for people
        if error.exit_code not in ok_exit:
            raise
        print_error(error, as_json=as_json)
        code = error.exit_code
    return softened(code, ok_exit)


def _perform(settings: Settings, request: Request, *, as_json: bool) -> int:
    clock = SystemClock()
    logbook = Logbook(clock)
    with (
        common_facts(pipeline=settings.pipeline, command=request.command),
        _clean_stop(clock) as stop,
        progress_for(sys.stderr) as bar,
        open_job(settings, request, clock=clock, stop=stop, progress=Audience(logbook, bar)) as job,
        common_facts(run_id=job.report.run_id),
        logbook.entry(job.report),
    ):
        report = job.run()
    if as_json:
        print_json(report.as_dict())
    else:
        print_report(report)
    return report.exit_code or 0


@contextmanager
def _clean_stop(clock: Clock) -> Iterator[Stop]:
    """Turn the first SIGINT or SIGTERM into a request to stop; a second one ends the process at once."""
    stop, first = Stop(), 0.0

    def on_signal(signum: int, _frame: FrameType | None) -> None:
        nonlocal first
        if stop.signum is None:
            first = clock.monotonic()
            stop.request(signum)
        elif signum != stop.signum or clock.monotonic() - first > _ECHO:
            # Workers notice that their parent is gone, and post nothing more.
            os._exit(128 + signum)

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
