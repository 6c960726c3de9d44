"""What `run`, `backfill` and `quarantine replay` share: the run, its progress, its report, and its end."""

from __future__ import annotations

import sys

from braze_etl.clock import SystemClock
from braze_etl.commands._output import print_error, print_json
from braze_etl.commands._progress import progress_for
from braze_etl.commands._report_text import print_report
from braze_etl.commands._stopping import LastWords, interrupted, stopping
from braze_etl.config.loading import Config
from braze_etl.engine.exits import Stop, softened
from braze_etl.engine.run import new_run_id
from braze_etl.errors import BrazeEtlError
from braze_etl.flows.currents_to_amplitude.opening import Observers, Request, open_run
from braze_etl.flows.currents_to_amplitude.plan import Intent, admit
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.logs import common_facts
from braze_etl.monitoring.run_log import RunLog


def perform(config: Config[Settings], request: Request, *, as_json: bool, ok_exit: frozenset[int]) -> int:
    """Do a run, print its report or its error, and return the exit code that *ok_exit* leaves of it."""
    clock = SystemClock()
    timeout = config.settings.amplitude.timeout.total_seconds()
    stop = Stop(clock, max_runtime=request.max_runtime, timeout=timeout)
    run_id = new_run_id(clock.now())
    with common_facts(pipeline=config.settings.pipeline, command=request.command, run_id=run_id):
        last_words = LastWords(stop, clock, as_json=as_json, ok_exit=ok_exit)
        try:
            code = _perform(config, request, stop, last_words, run_id=run_id, as_json=as_json)
        except BrazeEtlError as caught:
            error = interrupted(caught, stop)
            print_error(error, as_json=as_json, what="the run failed")
            code = error.exit_code
    return softened(code, ok_exit)


def _perform(
    config: Config[Settings],
    request: Request,
    stop: Stop,
    last_words: LastWords,
    *,
    run_id: str,
    as_json: bool,
) -> int:
    settings, clock = config.settings, SystemClock()
    run_log = RunLog(clock)
    with (
        stopping(stop, clock, last_words.end),
        progress_for(sys.stderr) as bar,
        open_run(
            config,
            request,
            clock,
            stop,
            Observers((run_log, bar), bar.in_flight, run_log.troubled),
            run_id=run_id,
            admit=lambda: admit(settings, _intent(request), clock),
        ) as run,
        run_log.entry(run.report),
    ):
        last_words.report = run.report
        report = run.run()
    last_words.told = True
    if as_json:
        print_json(report.as_dict())
    else:
        print_report(report)
    return report.exit_code or 0


def _intent(request: Request) -> Intent:
    """What has to be confirmed: a backfill over the budget, and a first run that is large."""
    sends = request.replay is None
    return Intent(
        scope=None if request.covers_all else request.scope,
        resend=request.resend,
        changed_only=request.changed_only,
        asks_budget=sends and request.command == "backfill" and not request.over_budget,
        asks_first_run=sends and not request.confirm_first_run,
    )
