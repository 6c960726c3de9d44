"""The history of a pipeline: the run reports of its ledger, summed up for `report`. Nothing is read here.

A deferred record is counted as read by every run that meets it, and a replayed one was quarantined before. So
the deferred are not summed over runs (how many there are now is the ledger's to say), and what replays
delivered is counted apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from braze_etl.checkpoint import RunRecord
from braze_etl.clock import iso
from braze_etl.model import Outcome, Reason
from braze_etl.run.showing.buckets import Buckets
from braze_etl.run.showing.drift import past_drift

_REPLAY: Final = "quarantine replay"
_TYPES_SHOWN: Final = 7
"""Event types with a series of their own: more colours than these can't be told apart."""
_TYPES_LISTED: Final = 12
_RUNS_LISTED: Final = 40
_POINTS: Final = 240
_HOUR: Final = timedelta(hours=1)
_REQUESTS: Final = ("sent", "retried", "throttled", "bytes_raw", "bytes_wire")
OTHERS: Final = "other event types"
_SUMMED: Final = (Outcome.ACCEPTED, Outcome.FILTERED, Outcome.QUARANTINED)


@dataclass(frozen=True)
class History:
    """The runs from *since* to *until*, the newest first; their windows were measured by `objective`."""

    runs: Sequence[RunRecord]
    since: datetime
    until: datetime
    objective: timedelta

    @classmethod
    def of(cls, runs: Iterable[RunRecord], now: datetime, days: int, objective: timedelta) -> History:
        """The last *days* of the history: it begins with its first run where it is shorter than that."""
        first = now - timedelta(days=days)
        kept = [run for run in runs if run.started_at >= first]
        since = kept[-1].started_at if kept else first
        return cls(kept, min(since, now), now, objective)

    def as_dict(self) -> dict[str, Any]:
        """The history as JSON values, bounded in size whatever the number of runs."""
        by_type, reasons = self._by_event_type(), self._reasons()
        totals = {outcome: sum(each[outcome] for each in by_type.values()) for outcome in _SUMMED}
        return {
            "period": {"since": iso(self.since), "until": iso(self.until), "runs": len(self.runs)},
            "outcomes": {outcome.value: records for outcome, records in totals.items()},
            "replayed": sum(_events(run)[Outcome.ACCEPTED] for run in self._replays()),
            "reasons": {name: dict(counts.most_common()) for name, counts in reasons.items()},
            "by_event_type": _listed(by_type),
            "delivered": self._delivered(by_type),
            "latency": self._worst(_latency),
            "backlog": self._worst(_age),
            "requests": dict(self._requests()),
            "exit_codes": dict(Counter(_ending(run) for run in self.runs).most_common()),
            "budget": next((run.report["budget"] for run in self.runs if run.report.get("budget")), None),
            "drift": past_drift(run.report for run in self.runs),
            "runs": [_line(run) for run in self.runs[:_RUNS_LISTED]],
        }

    def _passes(self) -> list[RunRecord]:
        return [run for run in self.runs if run.command != _REPLAY]

    def _replays(self) -> list[RunRecord]:
        return [run for run in self.runs if run.command == _REPLAY]

    def _by_event_type(self) -> dict[str, Counter[str]]:
        """Event types with their outcomes: those first that most was delivered of."""
        sums: dict[str, Counter[str]] = {}
        for run in self._passes():
            for event_type, books in run.report.get("by_event_type", {}).items():
                outcomes = {outcome.value: books[outcome] for outcome in _SUMMED}
                sums.setdefault(event_type, Counter()).update(outcomes)
        return dict(sorted(sums.items(), key=_most_delivered_first))

    def _reasons(self) -> dict[str, Counter[str]]:
        counts = {outcome.value: Counter[str]() for outcome in _SUMMED[1:]}
        for run in self._passes():
            for reason, records in run.report.get("reasons", {}).items():
                if (outcome := _outcome(reason)) in counts:
                    counts[outcome][reason] += records
        return counts

    def _requests(self) -> Counter[str]:
        told = [run.report.get("requests", {}) for run in self.runs]
        return Counter({name: sum(each.get(name, 0) for each in told) for name in _REQUESTS})

    def _delivered(self, by_type: Mapping[str, Counter[str]]) -> dict[str, Any]:
        """Accepted records by the time of their delivery, spread evenly over the run that delivered them."""
        own = list(by_type)[:_TYPES_SHOWN]
        buckets = Buckets.covering(self.since, self.until)
        counts: list[Counter[str]] = [Counter() for _ in buckets]
        for run in self.runs:
            for event_type, books in run.report.get("by_event_type", {}).items():
                series = event_type if event_type in own else OTHERS
                for place, records in buckets.spread(books["accepted"], run.started_at, _end(run)):
                    counts[place][series] += records
        shown = [name for name in (*own, OTHERS) if any(each[name] for each in counts)]
        return {
            "hours": buckets.hours,
            "event_types": shown,
            "buckets": [
                {"from": iso(start), "to": iso(end), "accepted": {name: each[name] for name in shown}}
                for (start, end), each in zip(buckets, counts, strict=True)
            ],
        }

    def _worst(self, hours_of: Callable[[RunRecord, timedelta], float | None]) -> list[dict[str, Any]]:
        """How old data was when runs ended, by the time; of many runs the worst of each stretch of time."""
        buckets = Buckets.covering(self.since, self.until, at_most=_POINTS)
        worst: dict[int, tuple[float, RunRecord]] = {}
        for run in reversed(self.runs):
            hours, place = hours_of(run, self.objective), buckets.place(_end(run))
            if hours is not None and (place not in worst or hours >= worst[place][0]):
                worst[place] = hours, run
        return [_point(hours, run) for hours, run in worst.values()]


def _age(run: RunRecord, objective: timedelta) -> float | None:
    """The age of the oldest undelivered hour, or of the last complete listing, in hours."""
    left = (run.report.get("window") or {}).get("hours_left")
    return None if left is None else objective / _HOUR - left


def _latency(run: RunRecord, _objective: timedelta) -> float | None:
    """The mean age of the records that this run had accepted, in hours, since the beginning of their hour."""
    seconds = (run.report.get("latency") or {}).get("hour_to_accepted")
    return None if seconds is None else seconds / 3600


def _point(hours: float, run: RunRecord) -> dict[str, Any]:
    return {
        "at": iso(_end(run)),
        "hours": round(hours, 2),
        "files": run.report["files"]["remaining"],
        "bytes": (run.report.get("forecast") or {}).get("bytes_left"),
    }


def _end(run: RunRecord) -> datetime:
    return run.finished_at or run.started_at


def _most_delivered_first(item: tuple[str, Counter[str]]) -> tuple[int, int, str]:
    event_type, outcomes = item
    return -outcomes[Outcome.ACCEPTED], -outcomes.total(), event_type


def _outcome(reason: str) -> str:
    """The outcome of a reason; one that only another version knows is taken for a filter of its mapping."""
    return Reason(reason).outcome if reason in set(Reason) else Outcome.FILTERED


def _events(run: RunRecord) -> Counter[str]:
    return Counter(run.report.get("events", {}))


def _ending(run: RunRecord) -> str:
    return "none" if run.exit_code is None else str(run.exit_code)


def _listed(by_type: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    """The largest types, and the sum of the others."""
    by_size = sorted(by_type.items(), key=lambda item: -item[1].total())
    lines = dict(by_size[:_TYPES_LISTED])
    if others := [outcomes for _, outcomes in by_size[_TYPES_LISTED:]]:
        lines[OTHERS] = sum(others, Counter())
    return {name: {outcome.value: line[outcome] for outcome in _SUMMED} for name, line in lines.items()}


def _line(run: RunRecord) -> dict[str, Any]:
    events, files = _events(run), run.report.get("files", {})
    return {
        "run_id": run.run_id,
        "command": run.command,
        "started_at": iso(run.started_at),
        "seconds": run.report.get("seconds"),
        "exit_code": run.exit_code,
        "files": files.get("done"),
        "remaining": files.get("remaining"),
        **{outcome.value: events[outcome] if run.report else None for outcome in Outcome},
        "events_per_second": run.report.get("events_per_second"),
    }
