"""The history of a pipeline: the run reports of its ledger, summed up for `report`. Nothing is read here.

A deferred record is counted as read by every run that meets it, and a replayed one was quarantined before. So
the deferred are not summed over runs (how many there are now is the ledger's to say), and what replays
delivered is counted apart. A record of a file that stays due is counted by the run that settles the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile
from typing import Any, Final, Self

from braze_etl.clock import Clock, iso
from braze_etl.engine.report import NOT_CUT_OFF, nothing_delivered, succeeded
from braze_etl.flows.currents_to_amplitude.drift import past_drift
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.currents_to_amplitude.status import pipeline_status
from braze_etl.flows.pipeline import open_state
from braze_etl.model import Outcome, Reason
from braze_etl.state.ledger import Ledger, LedgerMissingError, RunRecord

_HOUR: Final = timedelta(hours=1)
_WIDTHS: Final = (1, 2, 3, 6, 12, 24, 168)
_BEGINNING: Final = datetime(2024, 1, 1, tzinfo=UTC)
"""A Monday: days begin at midnight UTC, and weeks with it."""

_REPLAY: Final = "quarantine replay"
_TYPES_SHOWN: Final = 7
"""Event types with a series of their own: more colours than these can't be told apart."""
_TYPES_LISTED: Final = 12
_RUNS_LISTED: Final = 40
_POINTS: Final = 240
_LEAST: Final = timedelta(minutes=1)
"""What the first runs of a pipeline stand for at least: a rate over a second says nothing."""
_REQUESTS: Final = ("sent", "retried", "throttled", "bytes_raw", "bytes_wire")
OTHERS: Final = "other event types"
_STOPPED: Final = frozenset({130, 143})
_SUMMED: Final = (Outcome.ACCEPTED, Outcome.FILTERED, Outcome.QUARANTINED)

_AT_FIRST: Final = 500


@dataclass(frozen=True, slots=True)
class Buckets:
    """*count* stretches from *since* to *until*; iterates over their ends (from, to).

    The first reaches to *start* + *width*, and all but that and the last are *width* long: these two may be
    half as short, or half as long again.
    """

    since: datetime
    until: datetime
    start: datetime
    width: timedelta
    count: int

    @classmethod
    def covering(cls, since: datetime, until: datetime, *, at_most: int = 124) -> Self:
        """The finest that cover all of it in *at_most* stretches, or else weeks."""
        for hours in _WIDTHS:
            width = hours * _HOUR
            start = _BEGINNING + (since - _BEGINNING) // width * width
            count = (until - start) // width + 1
            if count <= at_most:
                break
        # A rate over a few minutes says little: a stub goes with its neighbour.
        if count > 1 and start + width - since < width / 2:
            start, count = start + width, count - 1
        if count > 1 and until - (start + (count - 1) * width) < width / 2:
            count -= 1
        return cls(since, until, start, width, count)

    @property
    def hours(self) -> int:
        return self.width // _HOUR

    def __iter__(self) -> Iterator[tuple[datetime, datetime]]:
        cuts = [self.start + number * self.width for number in range(1, self.count)]
        return pairwise([self.since, *cuts, self.until])

    def place(self, moment: datetime) -> int:
        """Which stretch a moment lies in; the first or the last for what lies outside."""
        return min(max((moment - self.start) // self.width, 0), self.count - 1)

    def spread(self, amount: int, begin: datetime, end: datetime) -> Iterator[tuple[int, int]]:
        """Split *amount* over the stretches between two moments, by their share of the time and exactly."""
        first, last = self.place(begin), self.place(end)
        given = 0
        for place in range(first, last):
            passed = self.start + (place + 1) * self.width - begin
            upto = round(amount * (passed / (end - begin)))
            yield place, upto - given
            given = upto
        yield last, amount - given


class History:
    """The runs of the last *days* until *now*, the newest first; their windows were measured by *objective*.

    *runs* has an older one too, if the state keeps any: else `oldest` is the beginning of the first of them.
    *at_work* is the id of the run that holds the lease.
    """

    def __init__(
        self,
        runs: Sequence[RunRecord],
        now: datetime,
        days: int,
        objective: timedelta,
        at_work: str | None = None,
    ) -> None:
        self.runs: Final = [run for run in runs if run.started_at >= now - timedelta(days=days)]
        self.until: Final = now
        self.days: Final = days
        self.objective: Final = objective
        self.at_work: Final = at_work
        is_all = bool(self.runs) and len(self.runs) == len(runs)
        self.oldest: Final = self.runs[-1].started_at if is_all else None

    @property
    def since(self) -> datetime:
        """Where the period begins: with the first run that is known, but an hour ago at the latest."""
        return min(self.oldest or self.until - timedelta(days=self.days), self.until - _HOUR)

    def as_dict(self) -> dict[str, Any]:
        """The history as JSON values, bounded in size whatever the number of runs."""
        by_type, reasons = self._by_event_type(), self._reasons()
        totals = {outcome: sum(each[outcome] for each in by_type.values()) for outcome in _SUMMED}
        return {
            "period": self._period(),
            "failing": self._failing(),
            "outcomes": {outcome.value: records for outcome, records in totals.items()},
            "replayed": sum(
                each["accepted"]
                for run in self.runs
                if run.command == _REPLAY
                for each in _books(run).values()
            ),
            "reasons": {name: dict(counts.most_common()) for name, counts in reasons.items()},
            "by_event_type": _listed(by_type),
            "delivered": self._delivered(by_type),
            "latency": [_point(run, hours=round(age, 2)) for run, age in self._worst(_latency)],
            "backlog_age": [
                _point(run, hours=round(age, 2)) for run, age in self._worst(self._oldest_undelivered)
            ],
            "backlog_size": [
                _point(run, files=run.report["files"]["remaining"], bytes=left)
                for run, left in self._worst(_bytes_left)
            ],
            "requests": dict(self._requests()),
            "exit_codes": dict(Counter(self._ending(run) for run in self.runs).most_common()),
            "held": self._held(),
            "drift": past_drift(run.report for run in self.runs),
            "runs": [{**_line(run), "ending": self._ending(run)} for run in self.runs[:_RUNS_LISTED]],
        }

    def _period(self) -> dict[str, Any]:
        return {
            "since": iso(self.since),
            "until": iso(self.until),
            "days": self.days,
            "oldest_run": iso(self.oldest) if self.oldest else None,
            "runs": len(self.runs),
        }

    def _failing(self) -> dict[str, Any] | None:
        """The scheduled runs that failed in a row up to the last one; None if that one did not fail."""
        ended = [run for run in self.runs if run.command == "run" and run.run_id != self.at_work]
        failed = list(takewhile(_failed, ended))
        if not failed:
            return None
        return {
            "runs": len(failed),
            "all": len(failed) == len(ended),
            "since": iso(failed[-1].started_at),
            "exit_code": failed[0].exit_code,
            "error": _error(failed[0]),
        }

    def _held(self) -> dict[str, Any] | None:
        """What the budget held in the last run that was not cut off; None if it held nothing."""
        ended = (run.report for run in self._passes() if run.exit_code in NOT_CUT_OFF)
        budget = next(ended, {}).get("budget") or {}
        if not budget.get("held"):
            return None
        return {"records": budget["held"], "event_types": budget["stopped"]}

    def _ending(self, run: RunRecord) -> str:
        if run.exit_code is not None:
            return str(run.exit_code)
        return "at_work" if run.run_id == self.at_work else "killed"

    def _passes(self) -> list[RunRecord]:
        return [run for run in self.runs if run.command != _REPLAY]

    def _by_event_type(self) -> dict[str, Counter[str]]:
        """Event types with their outcomes: those first that most was delivered of."""
        sums: dict[str, Counter[str]] = {}
        for run in self._passes():
            for event_type, books in _books(run).items():
                outcomes = {outcome.value: books[outcome] for outcome in _SUMMED}
                sums.setdefault(event_type, Counter()).update(outcomes)
        settled = {name: outcomes for name, outcomes in sums.items() if outcomes.total()}
        return dict(sorted(settled.items(), key=_most_delivered_first))

    def _reasons(self) -> dict[str, Counter[str]]:
        counts = {outcome.value: Counter[str]() for outcome in _SUMMED[1:]}
        for run in self._passes():
            for reason, records in _reasons(run).items():
                if (outcome := _outcome(reason)) in counts:
                    counts[outcome][reason] += records
        return counts

    def _requests(self) -> Counter[str]:
        counted = [run.report.get("requests", {}) for run in self.runs]
        return Counter({name: sum(each.get(name, 0) for each in counted) for name in _REQUESTS})

    def _delivered(self, by_type: Mapping[str, Counter[str]]) -> dict[str, Any]:
        """Accepted records by the time of their delivery, spread evenly over the run that delivered them.

        `hours` is what a rate is measured by: it may reach beyond now, to when the next run is due.
        """
        own = list(by_type)[:_TYPES_SHOWN]
        buckets = Buckets.covering(*self._delivering())
        counts: list[Counter[str]] = [Counter() for _ in buckets]
        for run in self.runs:
            for event_type, books in _books(run).items():
                series = event_type if event_type in own else OTHERS
                for place, records in buckets.spread(books["accepted"], run.started_at, _end(run)):
                    counts[place][series] += records
        shown = [name for name in (*own, OTHERS) if any(each[name] for each in counts)]
        return {
            "hours": buckets.hours,
            "event_types": shown,
            "buckets": [
                {
                    "from": iso(start),
                    "to": iso(min(end, self.until)),
                    "hours": round((end - start) / _HOUR, 3),
                    "accepted": {name: each[name] for name in shown},
                }
                for (start, end), each in zip(buckets, counts, strict=True)
            ],
        }

    def _delivering(self) -> tuple[datetime, datetime]:
        """The time that the runs stand for: what the first and the last delivered came in over a while."""
        if not self.runs:
            return self.since, self.until
        first, last = self.runs[-1].started_at, self.runs[0].started_at
        around = min(_HOUR, (last - first) / (len(self.runs) - 1) if len(self.runs) > 1 else _HOUR) / 2
        begin = self.since if self.oldest is None else min(first - around, self.until - _LEAST)
        return begin, max(self.until, _end(self.runs[0]) + around)

    def _worst(self, measure: Callable[[RunRecord], float | None]) -> list[tuple[RunRecord, float]]:
        """The runs of which it was measured, by the time; of many the worst of each stretch of time."""
        buckets = Buckets.covering(self.since, self.until, at_most=_POINTS)
        worst: dict[int, tuple[RunRecord, float]] = {}
        for run in reversed(self.runs):
            value, place = measure(run), buckets.place(_end(run))
            if value is not None and (place not in worst or value >= worst[place][1]):
                worst[place] = run, value
        return list(worst.values())

    def _oldest_undelivered(self, run: RunRecord) -> float | None:
        """The age of the oldest undelivered hour, or of the last complete listing, in hours."""
        left = (run.report.get("window") or {}).get("hours_left")
        return None if left is None else self.objective / _HOUR - left


def _books(run: RunRecord) -> dict[str, Counter[str]]:
    """What the run counted of each event type, but for the records that the next run counts again."""
    books = {name: Counter(each) for name, each in run.report.get("by_event_type", {}).items()}
    for name, again in run.report.get("repeats", {}).get("by_event_type", {}).items():
        books[name].subtract(again)
    return books


def _reasons(run: RunRecord) -> Counter[str]:
    """The same of the reasons."""
    again = run.report.get("repeats", {}).get("reasons", {})
    return Counter(run.report.get("reasons", {})) - Counter(again)


def _failed(run: RunRecord) -> bool:
    """Whether a run was no success; one that was stopped by a signal ended as it should."""
    return not succeeded(run) and run.exit_code not in _STOPPED


def _error(run: RunRecord) -> dict[str, str] | None:
    """What a run failed of; one that left work and got nowhere names its causes."""
    error: dict[str, str] | None = run.report.get("error")
    causes = run.report.get("causes")
    if error or not causes or not _failed(run):
        return error
    return {"type": "NoProgress", "message": nothing_delivered(causes), "remedy": ""}


def _latency(run: RunRecord) -> float | None:
    """The mean age of the records that this run had accepted, in hours, since the beginning of their hour."""
    seconds = (run.report.get("latency") or {}).get("hour_to_accepted")
    return None if seconds is None else seconds / 3600


def _bytes_left(run: RunRecord) -> int | None:
    """What the run left for later; None if it did not get as far as counting that."""
    left: int | None = (run.report.get("forecast") or {}).get("bytes_left")
    return left


def _point(run: RunRecord, **facts: float) -> dict[str, Any]:
    return {"at": iso(_end(run)), **facts}


def _end(run: RunRecord) -> datetime:
    return run.finished_at or run.started_at


def _most_delivered_first(item: tuple[str, Counter[str]]) -> tuple[int, int, str]:
    event_type, outcomes = item
    return -outcomes[Outcome.ACCEPTED], -outcomes.total(), event_type


def _outcome(reason: str) -> str:
    """The outcome of a reason; one that only another version knows is taken for a filter of its mapping."""
    return Reason(reason).outcome if reason in set(Reason) else Outcome.FILTERED


def _listed(by_type: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    """The largest types, and the sum of the others."""
    by_size = sorted(by_type.items(), key=lambda item: -item[1].total())
    lines = dict(by_size[:_TYPES_LISTED])
    if others := [outcomes for _, outcomes in by_size[_TYPES_LISTED:]]:
        lines[OTHERS] = sum(others, Counter())
    return {name: {outcome.value: line[outcome] for outcome in _SUMMED} for name, line in lines.items()}


def _line(run: RunRecord) -> dict[str, Any]:
    events, files = Counter(run.report.get("events", {})), run.report.get("files", {})
    return {
        "run_id": run.run_id,
        "command": run.command,
        "started_at": iso(run.started_at),
        "seconds": run.report.get("seconds"),
        "exit_code": run.exit_code,
        "error": _error(run),
        "files": files.get("done"),
        "remaining": files.get("remaining"),
        **{outcome.value: events[outcome] if run.report else None for outcome in Outcome},
        "events_per_second": run.report.get("events_per_second"),
    }


def read_history(settings: Settings, clock: Clock, *, days: int) -> dict[str, Any]:
    """The last *days* of a pipeline as JSON values; `now` is what `status` says. Empty without a ledger."""
    found = pipeline_status(settings, clock)
    now = found.as_dict()
    del now["exit_code"], now["runs"]
    runs = _runs(settings, clock, found.now - timedelta(days=days))
    at_work = found.holder.owner.run_id if found.holder else None
    history = History(runs, found.now, days, found.window.objective, at_work)
    return {
        "pipeline": settings.pipeline,
        "generated_at": iso(found.now),
        "objective_hours": settings.window.objective / _HOUR,
        "warn_at_hours": settings.window.warn_at / _HOUR,
        "now": now,
        **history.as_dict(),
    }


def _runs(settings: Settings, clock: Clock, since: datetime) -> list[RunRecord]:
    try:
        ledger = open_state(settings, clock, read_only=True)
    except LedgerMissingError:
        return []
    with closing(ledger):
        return _back_to(ledger, since)


def _back_to(ledger: Ledger, since: datetime) -> list[RunRecord]:
    """All runs from *since* on; the ledger gives the last so many, and how many that takes is not known."""
    limit = _AT_FIRST
    while len(runs := ledger.runs(limit)) == limit and runs[-1].started_at >= since:
        limit *= 4
    return runs
