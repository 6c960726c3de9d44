"""What `run`, `backfill` and `quarantine replay` share over the API: signals, progress, report, exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable

from braze_etl.api import Pipeline
from braze_etl.clock import SystemClock
from braze_etl.commands._output import print_error, print_json
from braze_etl.commands._progress import progress_for
from braze_etl.commands._report_text import print_report
from braze_etl.commands._stopping import LastWords, interrupted, stopping
from braze_etl.config.loading import Config
from braze_etl.engine.exits import Stop, softened
from braze_etl.engine.report import RunReport
from braze_etl.errors import BrazeEtlError
from braze_etl.flows.currents_to_amplitude.flow import Observers
from braze_etl.flows.currents_to_amplitude.settings import Settings


def perform(
    config: Config[Settings],
    do: Callable[[Pipeline], RunReport],
    *,
    output: str,
    ok_exit: frozenset[int],
) -> int:
    """Have a pipeline *do* a run, print its report or error, and give the exit code, as *ok_exit* has it."""
    as_json = output == "json"

    def attend(stop: Stop, work: Callable[[Observers], RunReport]) -> RunReport:
        clock = SystemClock()
        last_words = LastWords(stop, clock, as_json=as_json, ok_exit=ok_exit)
        with stopping(stop, clock, last_words.end), progress_for(sys.stderr) as bar:
            try:
                return work(Observers((bar,), bar.in_flight, began=last_words.follow))
            except BrazeEtlError as caught:
                error = interrupted(caught, stop)
                error.report = caught.report
                raise error from None

    try:
        report = do(Pipeline(config, attend))
    except BrazeEtlError as error:
        if error.report is None:
            raise
        if error.report.finished_at is None:
            print_error(error, as_json=as_json, what="the run failed")
            return softened(error.exit_code, ok_exit)
        report = error.report
    if as_json:
        print_json(report.as_dict())
    else:
        print_report(report)
    return softened(report.exit_code or 0, ok_exit)
