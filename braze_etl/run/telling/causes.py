"""Why a run that did not fail left work, or found none: in words, for the log, the report and the webhook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from braze_etl.clock import duration_text
from braze_etl.model import Outcome
from braze_etl.run.report import WORK_LEFT, RunReport
from braze_etl.run.telling.words import CHANGED_LATE, WARNINGS


def causes_of(report: RunReport) -> list[str]:
    """The causes of exit code 4, or of 0 where nothing was due; none where all is as it should be."""
    if report.exit_code == WORK_LEFT:
        return list(_of_work_left(report)) or [f"{report.remaining:,} files are left"]
    return list(_of_nothing_due(report)) if report.exit_code == 0 and not report.discovered else []


def nothing_delivered(causes: Iterable[str]) -> str:
    """Say it of a run that left work and got nowhere."""
    return f"nothing was delivered: {'; '.join(causes)}"


def _of_work_left(report: RunReport) -> Iterator[str]:
    if report.time_over and report.max_runtime is not None:
        left = "before all that is due was listed" if report.cut_short else f"{report.remaining:,} files left"
        yield f"--max-runtime ({duration_text(report.max_runtime)}) is over, {left}"
    if report.waiting:
        yield f"{report.waiting:,} files hold records that wait for their time"
    yield from _of_requests(report)
    for reason, records in report.counts.by_reason.most_common():
        if reason.outcome is Outcome.DEFERRED:
            yield f"{records:,} records are deferred ({reason.value}): {reason.meaning}"
    for kind, files in report.unavailable.files.most_common():
        yield f"{files:,} files stay due ({kind}): {report.unavailable.first[kind].message}"


def _of_requests(report: RunReport) -> Iterator[str]:
    requests = report.requests
    if requests.failed:
        words = "; ".join(requests.failures.values())
        yield f"{requests.failed:,} of {requests.sent:,} requests to Amplitude failed: {words}"
    if requests.throttled:
        yield f"Amplitude throttled {requests.throttled:,} of {requests.sent:,} requests"


def _of_nothing_due(report: RunReport) -> Iterator[str]:
    """What a listing met, and why none of it is due. An hour without events is none of these."""
    if "nothing_selected" in report.warnings:
        yield f"nothing is due: {WARNINGS['nothing_selected']}"
    if report.archived.files:
        yield f"{report.archived.files:,} files are archived, and left alone until they are restored"
    if young := report.listing.get("unsettled"):
        yield f"{young:,} files are younger than source.settle"
    if foreign := report.listing.get("foreign"):
        yield f"{foreign:,} objects below the source are no Currents files"
    if report.changed:
        yield f"{report.changed:,} files are left alone, {CHANGED_LATE}"
