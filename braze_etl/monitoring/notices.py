"""What a webhook is told after a run, and when: what begins or ends at once, what lasts only now and then.

Decisions alone: nothing is sent here, and what was told before is handed in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import Any, Final, Literal, TypeAlias

from braze_etl.clock import iso
from braze_etl.engine.report import RunReport, nothing_delivered
from braze_etl.model import Outcome
from braze_etl.monitoring import verification
from braze_etl.monitoring.settings import Topic
from braze_etl.quoting import visible

NOTHING: Final[Mapping[str, Any]] = {}
NOTE: Final = "notify"
"""The name of the ledger's note that holds what was told, and when."""
CALM: Final = timedelta(hours=1)
"""That something is over is told so long after its beginning at the earliest: it may come back at once."""
_LASTING: Final = frozenset({"failed", "at_risk", "stale", "budget", "missing"})
"""These are so until they are over; the others are found by one run, and maybe by the next as well."""

Phase: TypeAlias = Literal["begun", "lasting", "over"]
Judged: TypeAlias = Mapping[Topic, str]
"""What a run says of a topic, in words; empty words: all is well. A topic that it can't judge is missing."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to be told."""

    topic: Topic
    phase: Phase
    words: str

    def __str__(self) -> str:
        title = self.topic.replace("_", " ")
        return f"{title}: {self.words}" if self.phase != "over" else f"{title}: over"


def judge(report: RunReport, verified: Mapping[str, Any] = NOTHING) -> dict[Topic, str]:
    """What this run says of each topic, and the ledger's note of the newest verification of `missing`.

    An interrupted run does not know whether it would have failed.
    """
    judged: dict[Topic, str] = {
        "quarantined": _quarantined(report),
        "budget": _budget(report.as_dict().get("budget")),
        "drift": "; ".join(words for _, words in report.extras.lines(report.records_read)),
    }
    if report.exit_code in {0, 1, 3, 4}:
        judged["failed"] = _failed(report)
    if report.window is not None:
        judged["at_risk"] = _at_risk(report)
    if report.source is not None:
        judged["stale"] = report.source.trouble(report.finished_at or report.started_at)
    if verified:
        judged["missing"] = verification.words(verified) if verification.still_missing(verified) else ""
    return judged


def decide(
    judged: Judged, told: Mapping[str, Any], now: datetime, *, on: Collection[Topic], repeat_every: timedelta
) -> list[Notice]:
    """What is to be told now, given what was *told* (see `remembered`), in the order of *on*."""
    notices = []
    for topic in dict.fromkeys(on):
        if topic in judged:
            phase = _phase(topic, bool(judged[topic]), told.get(topic), now, repeat_every)
            if phase is not None:
                notices.append(Notice(topic, phase, judged[topic]))
    return notices


def remembered(told: Mapping[str, Any], notices: Collection[Notice], now: datetime) -> dict[str, Any]:
    """What was told, when *notices* have been too; plain JSON."""
    fresh: dict[str, Any] = {each.topic: {"active": each.phase != "over", "at": iso(now)} for each in notices}
    return {**told, **fresh}


def message(report: RunReport, notices: Collection[Notice]) -> dict[str, Any]:
    """The body for the webhook: `text` for people, escaped as chats want it, the rest for machines.

    Names out of files stand in it; unescaped, one such as `<!channel>` would ring everybody.
    """
    run = f"run {report.run_id}" if report.run_id else "a run that could not begin"
    lines = [f"braze-etl, pipeline {report.pipeline}, {run}", *map(str, notices)]
    return {
        "text": escape("\n".join(map(visible, lines)), quote=False),
        "pipeline": report.pipeline,
        "run_id": report.run_id,
        "exit_code": report.exit_code,
        "topics": {each.topic: each.phase for each in notices},
    }


def _phase(
    topic: Topic, active: bool, told: Mapping[str, Any] | None, now: datetime, repeat_every: timedelta
) -> Phase | None:
    if told is None:
        return "begun" if active else None
    since = now - datetime.fromisoformat(told["at"])
    if active:
        if topic in _LASTING and not told["active"]:
            return "begun"
        return ("lasting" if topic in _LASTING else "begun") if since >= repeat_every else None
    return "over" if topic in _LASTING and told["active"] and since >= CALM else None


def _failed(report: RunReport) -> str:
    error = report.error
    if error is not None:
        return f"{error.message} {error.remedy}".strip()
    return "" if report.succeeded else nothing_delivered(report.causes)


def _at_risk(report: RunReport) -> str:
    now, window = report.finished_at or report.started_at, report.window
    if window is None or not window.at_risk(now):
        return ""
    if window.last_listing is None:
        return "the source was never listed completely"
    oldest = window.oldest_undelivered
    what = f"oldest undelivered hour {iso(oldest)}" if oldest else f"last listing {iso(window.last_listing)}"
    objective = window.objective / timedelta(hours=1)
    return f"{window.hours_left(now)} of {objective:.0f} hours left, {what}"


def _quarantined(report: RunReport) -> str:
    if not report.newly_set_aside:
        return ""
    reasons = report.counts.reasons_of(Outcome.QUARANTINED)
    named = ", ".join(f"{records:,} {reason}" for reason, records in reasons.most_common())
    return f"{report.newly_set_aside:,} entries in the quarantine that were not there before ({named})"


def _budget(budget: Mapping[str, Any] | None) -> str:
    if budget is None:
        return ""
    lines = [budget[name] for name in ("month", "day") if budget.get(name, {}).get("warned")]
    words = [f"{line['spent']:,} of {line['limit']:,} events spent of {line['period']}" for line in lines]
    if budget["held"]:
        words.append(f"{budget['held']:,} records held of {', '.join(budget['stopped'])}")
    return "; ".join(words)
