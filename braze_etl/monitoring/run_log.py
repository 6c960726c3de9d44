"""A run as log lines: one for each thing that matters, so that the run of a day's files fits on a screen.

What happens thousands of times (a file, a task) is told at DEBUG; in between, progress, every few minutes.
No line holds a record, the id of a person, or a secret.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final

from braze_etl import __version__
from braze_etl.clock import Clock
from braze_etl.delivery.batches import Trouble
from braze_etl.engine.forecast import Outlook
from braze_etl.engine.report import CHANGED_LATE, WORK_LEFT, RunReport
from braze_etl.engine.run import Watcher
from braze_etl.engine.tasks import Settlement
from braze_etl.errors import AbandonedError, BrazeEtlError
from braze_etl.logs import get_logger
from braze_etl.model import FileSettlement, Outcome

PROGRESS_EVERY: Final = timedelta(minutes=5)
_TYPES_NAMED: Final = 5
_log = get_logger(__name__)


class RunLog(Watcher):
    """Writes the lines of a run."""

    def __init__(self, clock: Clock, every: timedelta = PROGRESS_EVERY) -> None:
        self._clock = clock
        self._every = every.total_seconds()
        self._told_at = clock.monotonic()
        self._files = 0
        self._events: Counter[str] = Counter()
        self._warned: Counter[str] = Counter()
        self._unavailable: set[str] = set()
        self._troubles: set[str] = set()

    @contextmanager
    def entry(self, report: RunReport) -> Iterator[None]:
        """Tell that the run inside of the block begins, and how it ends where it could not."""
        _log.info("run begins", run_id=report.run_id, command=report.command, version=__version__)
        try:
            yield
        except BrazeEtlError as error:
            _log.info("run ends", exit_code=error.exit_code, error=error.message, remedy=error.remedy)
            raise

    def discovered(self, outlook: Outlook, warnings: Mapping[str, int]) -> None:
        """So much is due."""
        _log.info("files are due", **asdict(outlook))
        if warnings:
            self._warned = Counter(warnings)
            _log.warning("the listing gives cause to look", **warnings)

    def settled(self, settlement: Settlement) -> None:
        """A task came back."""
        self._files += len(settlement.files)
        for tally in settlement.counts.by_event_type.values():
            self._events.update(tally.as_dict())
        self._report_unavailable(settlement)
        if _log.tells_details:
            _report_details(settlement)
        now = self._clock.monotonic()
        if now - self._told_at >= self._every:
            self._told_at = now
            _log.info("progress", files=self._files, **self._events)

    def troubled(self, trouble: Trouble) -> None:
        """A request failed: the first of each kind is told at once, with where it went and what was said."""
        if trouble.kind not in self._troubles:
            self._troubles.add(trouble.kind)
            _log.warning("a request to Amplitude failed", **asdict(trouble))

    def ended(self, report: RunReport) -> None:
        """The run is over: what is not as it should be, a line each, and how it ended."""
        _report_records(report)
        requests = report.requests
        if requests.throttled:
            _log.warning("Amplitude throttled requests", throttled=requests.throttled, sent=requests.sent)
        if report.repairs:
            _log.info("events were repaired before sending", **report.repairs)
        if report.closed:
            _log.info("entries were closed, whose bytes a whole file has replaced", entries=report.closed)
        if rest := report.warnings - self._warned:
            _log.warning("the report has warnings", **rest)
        _report_end(report)

    def _report_unavailable(self, settlement: Settlement) -> None:
        """Tell of the first file of each kind at once; how many there were is told at the end."""
        for kind, error in settlement.unavailable.first.items():
            if kind not in self._unavailable:
                self._unavailable.add(kind)
                _log.warning("a file stays due", kind=kind, error=error.message, remedy=error.remedy)


def _report_details(settlement: Settlement) -> None:
    for file in settlement.files:
        _log.debug("file settled", **_facts_of(file))
    events = settlement.counts.total.read
    _log.debug("task settled", task=settlement.task, files=len(settlement.files), events=events)


def _facts_of(file: FileSettlement) -> dict[str, Any]:
    ref, state = file.ref, file.state.value if file.state else "due"
    return {"key": ref.key, "event_type": ref.event_type, "state": state, **file.tally.as_dict()}


def _report_records(report: RunReport) -> None:
    if filtered := report.counts.reasons_of(Outcome.FILTERED):
        _log.info("records were filtered", **filtered)
    for reason, records in report.counts.by_reason.most_common():
        if reason.outcome is Outcome.QUARANTINED:
            _log.warning("records were set aside", reason=reason.value, **_where(report, reason, records))
        elif reason.outcome is Outcome.DEFERRED:
            _log.warning("records are left for later", reason=reason.value, **_where(report, reason, records))


def _where(report: RunReport, reason: str, records: int) -> dict[str, Any]:
    counts = report.counts.reasons
    of_reason = Counter({name: count for (name, why), count in counts.items() if why == reason})
    return {"records": records, "event_types": dict(of_reason.most_common(_TYPES_NAMED))}


def _report_end(report: RunReport) -> None:
    facts = report.as_dict()
    if budget := facts.get("budget"):
        tell = _log.warning if budget["held"] else _log.info
        tell("budget", **budget)
    if report.changed:
        _log.warning(f"files are left alone, {CHANGED_LATE}", files=report.changed)
    if report.causes:
        if report.exit_code == WORK_LEFT:
            _log.warning("work is left for the next run", causes=report.causes)
        else:
            _log.info("nothing was due", causes=report.causes)
    if isinstance(report.error, AbandonedError):
        _log.warning("an answer was not waited for any longer", error=report.error.message)
    elif report.error is not None:
        error = report.error
        _log.error("the run failed", kind=type(error).__name__, error=error.message, remedy=error.remedy)
    _log.info(
        "run ends",
        exit_code=report.exit_code,
        seconds=facts["seconds"],
        **{f"files_{name}": count for name, count in facts["files"].items()},
        **{f"events_{name}": count for name, count in facts["events"].items()},
        requests=report.requests.sent,
        hours_left=(facts["window"] or {}).get("hours_left"),
    )
