"""What follows a run: metrics for Prometheus, a notice for people, a ping for the dead man's switch.

Nothing in here changes how the run ended: what fails is a warning. It runs under the lease, because totals
and notices are remembered in the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from braze_etl.clock import Clock
from braze_etl.engine.report import RunReport
from braze_etl.engine.run import Watcher
from braze_etl.errors import AbandonedError, BrazeEtlError
from braze_etl.logs import get_logger
from braze_etl.monitoring import notices, totals, verification
from braze_etl.monitoring.exposition import Exposed, exposition, ping, post_json, push, write_textfile
from braze_etl.monitoring.metrics import METRICS, Facts, samples_of
from braze_etl.monitoring.settings import MetricsSection, NotifySection
from braze_etl.monitoring.totals import Totals
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.state.ledger import Ledger

_log = get_logger(__name__)
_T = TypeVar("_T")
_SCHEDULED = "run"
"""Notices and pings are about the scheduled job; whoever starts a backfill sees how it ends."""


class Hooks(Watcher):
    """Watches for the end of a run."""

    def __init__(
        self,
        pipeline: str,
        *,
        metrics: MetricsSection,
        notify: NotifySection,
        ledger: Ledger,
        quarantine: Quarantine,
        clock: Clock,
    ) -> None:
        self._pipeline = pipeline
        self._metrics = metrics
        self._notify = notify
        self._ledger = ledger
        self._quarantine = quarantine
        self._clock = clock

    def ended(self, report: RunReport) -> None:
        """Tell everybody who is configured; raises nothing that the outside world can cause."""
        if report.without_lease:
            return
        if self._metrics.textfile or self._metrics.pushgateway.url:
            self._expose(report)
        if report.command == _SCHEDULED:
            _attempt("the webhook was not told", lambda: self._send_notice(report))
            _attempt("the dead man's switch was not asked for", lambda: self._ping(report))

    def _expose(self, report: RunReport) -> None:
        exposed = _attempt("no metrics could be made", lambda: self._exposed(report))
        if exposed is None:
            return
        path, gateway = self._metrics.textfile, self._metrics.pushgateway
        if path is not None:
            _attempt("the textfile with metrics was not written", lambda: write_textfile(path, exposed))
        if gateway.url is not None:
            url, timeout = gateway.url.get_secret_value(), gateway.timeout.total_seconds()
            group = {"pipeline": self._pipeline}
            _attempt(
                "metrics were not pushed",
                lambda: push(exposed, url, job=gateway.job, grouping=group, timeout=timeout),
            )

    def _exposed(self, report: RunReport) -> Exposed:
        counted = Totals.from_dict(self._ledger.get_note(totals.NOTE))
        counted.add(report)
        kept = counted.as_dict()
        _attempt("the totals were not stored", lambda: self._ledger.put_note(totals.NOTE, kept))
        depth = _attempt("the quarantine was not counted", self._quarantine.depth)
        facts = Facts(report, counted, self._ledger.summary(), depth, self._verification())
        return exposition(METRICS, samples_of(facts), pipeline=self._pipeline)

    def _send_notice(self, report: RunReport) -> None:
        told = (
            _attempt("what was told before is not known", lambda: self._ledger.get_note(notices.NOTE)) or {}
        )
        fresh = _post(self._notify, report, told, self._clock, self._verification())
        if fresh is not None:
            _attempt("the next run tells it again", lambda: self._ledger.put_note(notices.NOTE, fresh))

    def _verification(self) -> dict[str, Any]:
        what = "what the last verification found is not known"
        return _attempt(what, lambda: self._ledger.get_note(verification.NOTE)) or {}

    def _ping(self, report: RunReport) -> None:
        notify = self._notify
        if notify.dead_man is not None and report.succeeded:
            ping(notify.dead_man.get_secret_value(), timeout=notify.timeout.total_seconds())


def notify_of_failed_start(
    notify: NotifySection, report: RunReport, error: BrazeEtlError, clock: Clock
) -> None:
    """Tell the webhook that a scheduled run failed before it held its ledger: where nobody could remember it.

    So each such run tells it. Who is at work or asked to stop, and a bad configuration, are no failures.
    """
    if report.command != _SCHEDULED or error.exit_code != 1 or isinstance(error, AbandonedError):
        return
    report.error, report.exit_code = error, error.exit_code
    _attempt("the webhook was not told", lambda: _post(notify, report, {}, clock))


def _post(
    notify: NotifySection,
    report: RunReport,
    told: Mapping[str, Any],
    clock: Clock,
    verified: Mapping[str, Any] = notices.NOTHING,
) -> dict[str, Any] | None:
    """Tell the webhook what is to be told now; what to remember of it, or None where that is nothing."""
    now = clock.now()
    judged = notices.judge(report, verified)
    found = notices.decide(judged, told, now, on=notify.on, repeat_every=notify.repeat_every)
    if notify.webhook is None or not found:
        return None
    timeout = notify.timeout.total_seconds()
    post_json(notify.webhook.get_secret_value(), notices.message(report, found), timeout=timeout)
    return notices.remembered(told, found, now)


def _attempt(otherwise: str, do: Callable[[], _T]) -> _T | None:
    """Do it, or warn: the run is over, and has its exit code."""
    try:
        return do()
    except BrazeEtlError as error:
        _log.warning(otherwise, error=error.message, remedy=error.remedy)
    except OSError as error:
        _log.warning(otherwise, error=str(error))
    return None
