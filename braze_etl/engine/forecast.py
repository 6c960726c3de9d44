"""Whether the backlog is cleared before its files pass the objective, at the rate that runs have measured.

The oldest hour is sent first, so each hour has its own deadline, and what comes in meanwhile delays none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final, Self

from braze_etl.clock import duration_text, iso
from braze_etl.state.ledger import Backlog, BacklogLine, Ledger, RunRecord

RECENT_RUNS: Final = 10
"""How many run reports rates and estimates are measured from."""

_HOUR = timedelta(hours=1)
_MEASURED: Final = frozenset({"run", "backfill"})
_CUT_SHORT: Final = 4
_FASTER: Final = "raise --max-runtime, run more often, or use more workers"
_TELLING: Final = 0.1
"""A run that read less than this part of what the largest one read spent its time on other things."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What runs clear, in bytes of files a second of their own time, and the share of the day they run.

    Runs that failed tell nothing of it. `bytes_per_second` is None when no other has read anything.
    `running_share` is below 1 where runs that were cut short had to wait for the next one.
    """

    bytes_per_second: float | None = None
    running_share: float = 1.0

    @classmethod
    def of(cls, reports: Sequence[Mapping[str, Any]]) -> Self:
        """Measure it from run reports, the newest first."""
        measured = [each for each in reports if each.get("command") in _MEASURED]
        read = [(_size(each), each["seconds"]) for each in measured if "error" not in each]
        most = max((size for size, _ in read), default=0)
        telling = [(size, seconds) for size, seconds in read if size and size >= _TELLING * most]
        in_all = sum(seconds for _, seconds in telling)
        per_second = sum(size for size, _ in telling) / in_all if in_all else None
        return cls(per_second, _running_share([each for each in measured if each["command"] == "run"]))

    def hours(self, size: int) -> float | None:
        """Hours by the clock on the wall in which runs clear *size* bytes; None when nothing was measured."""
        if not self.bytes_per_second:
            return None
        return size / self.bytes_per_second / self.running_share / 3600


def _running_share(runs: Sequence[Mapping[str, Any]]) -> float:
    """Of the time from a run that was cut short to the next one, the part in which it was at work."""
    worked = passed = 0.0
    for later, earlier in pairwise(runs):
        if earlier["exit_code"] == _CUT_SHORT:
            between = _moment(later) - _moment(earlier)
            worked += earlier["seconds"]
            passed += max(between.total_seconds(), earlier["seconds"])
    return worked / passed if worked else 1.0


def _moment(report: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(report["started_at"])


@dataclass(frozen=True, slots=True)
class Deadline:
    """An hour with undelivered files: hours from now until they are sent, and until they are too late."""

    hour: datetime
    files: int
    hours_needed: float | None
    hours_left: float

    @property
    def late(self) -> bool:
        """Whether it passes the objective before it is sent; it may have done so already."""
        return self.hours_left <= 0 or (self.hours_needed is not None and self.hours_needed > self.hours_left)

    def as_dict(self) -> dict[str, Any]:
        """The deadline as JSON values."""
        return {
            "hour": iso(self.hour),
            "hours_needed": _rounded(self.hours_needed),
            "hours_left": _rounded(self.hours_left),
        }


@dataclass(frozen=True, slots=True)
class Forecast:
    """What becomes of a backlog. `deadlines` are its hours, the oldest first."""

    bytes_left: int
    rate: Rate
    deadlines: tuple[Deadline, ...]

    @property
    def late(self) -> tuple[Deadline, ...]:
        """The hours that pass the objective before they are sent."""
        return tuple(each for each in self.deadlines if each.late)

    @property
    def in_time(self) -> bool | None:
        """Whether no hour is late; None when that can't be told for want of a rate."""
        if self.late:
            return False
        return True if not self.deadlines or self.rate.bytes_per_second else None

    def as_dict(self) -> dict[str, Any]:
        """The forecast as JSON values.

        `hours_needed` is for all of it, `hours_left` is that of the oldest hour; `first_late` is the first
        hour that can't be sent in time.
        """
        late = self.late
        per_second = self.rate.bytes_per_second
        return {
            "bytes_left": self.bytes_left,
            "bytes_per_second": None if per_second is None else round(per_second),
            "running_share": round(self.rate.running_share, 3),
            "hours_needed": _rounded(self.rate.hours(self.bytes_left) if self.deadlines else 0.0),
            "hours_left": _rounded(self.deadlines[0].hours_left if self.deadlines else None),
            "in_time": self.in_time,
            "first_late": late[0].as_dict() if late else None,
            "files_late": sum(each.files for each in late),
            "message": self.message,
        }

    @property
    def message(self) -> str:
        """What people are told: the numbers, and what to do where there is something to do."""
        if not self.deadlines:
            return "nothing is left"
        needed = self.rate.hours(self.bytes_left)
        if needed is None:
            return f"{_amount(self.bytes_left)} left; no run has measured a rate yet"
        takes = f"{_amount(self.bytes_left)} take {_duration(needed)} at {self._pace()}"
        return f"{takes}, {self._verdict()}"

    def _pace(self) -> str:
        share = self.rate.running_share
        pause = f", running {share:.0%} of the time" if share < 0.95 else ""
        return f"{_amount(self.rate.bytes_per_second or 0)}/s{pause}"

    def _verdict(self) -> str:
        said = []
        if missed := [each for each in self.late if each.hours_left <= 0]:
            said.append(f"{_files(missed)} past the objective already")
        if slow := [each for each in self.late if each.hours_left > 0]:
            first = slow[0]
            room = f"{first.hours_left:.1f} hours left, needs {first.hours_needed:.1f}"
            said.append(f"{_files(slow)} too late ({iso(first.hour)}: {room}): {_FASTER}")
        return "; ".join(said) or "all in time"


def recent_reports(ledger: Ledger) -> list[dict[str, Any]]:
    """The reports of the last runs, the newest first."""
    return [run.report for run in ledger.runs(RECENT_RUNS)]


def forecast(backlog: Backlog, rate: Rate, *, objective: timedelta, now: datetime) -> Forecast:
    """Work it out hour by hour, the oldest first."""
    return Forecast(backlog.bytes, rate, tuple(_deadlines(backlog, rate, objective, now)))


def _deadlines(backlog: Backlog, rate: Rate, objective: timedelta, now: datetime) -> Iterator[Deadline]:
    before = 0
    for hour, line in sorted(backlog.by_hour.items()):
        before += line.bytes
        yield Deadline(hour, line.files, rate.hours(before), (objective - (now - hour)) / _HOUR)


def forecast_of_run(
    report: Mapping[str, Any], before: Sequence[Mapping[str, Any]], backlog: Backlog, objective: timedelta
) -> Forecast:
    """The forecast at the end of a run: by its own rate, if it read enough, else with the runs *before*."""
    rate, own = Rate.of([report, *before]), Rate.of([report])
    if own.bytes_per_second and _size(report) >= _TELLING * max(map(_size, before), default=0):
        rate = replace(rate, bytes_per_second=own.bytes_per_second)
    now = datetime.fromisoformat(report["finished_at"])
    return forecast(backlog, rate, objective=objective, now=now)


def _size(report: Mapping[str, Any]) -> int:
    size: int = sum(report.get("bytes_read", {}).values())
    return size


def _duration(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} hours"
    minutes = round(60 * hours)
    return f"{minutes} minutes" if minutes > 1 else "about a minute"


def _files(hours: Iterable[Deadline]) -> str:
    files = sum(each.files for each in hours)
    return "1 file" if files == 1 else f"{files:,} files"


def _rounded(hours: float | None) -> float | None:
    return None if hours is None else round(hours, 2)


def _amount(size: float) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size / 1e3:,.1f} kB"


_BYTES_PER_RECORD = 350
"""Stored bytes a record: the middle of what Currents' types need (currents.md 1.2), headers left aside."""
_SCHEMA_BYTES = 3_000


class Density:
    """Stored bytes a record by event type, headers included, from the reports of runs.

    A type that no run has read goes by the rule of thumb.
    """

    def __init__(self, bytes_per_record: Mapping[str, float] | None = None) -> None:
        self._measured = bytes_per_record or {}

    @classmethod
    def of(cls, reports: Iterable[Mapping[str, Any]]) -> Self:
        """Sum up run reports, as the ledger keeps them."""
        size, records = Counter[str](), Counter[str]()
        for report in reports:
            repeats = report.get("repeats", {}).get("by_event_type", {})
            for event_type, read in report.get("bytes_read", {}).items():
                size[event_type] += read
                records[event_type] += report["by_event_type"][event_type]["read"]
                records[event_type] -= repeats.get(event_type, {}).get("read", 0)
        return cls({name: size[name] / records[name] for name in size if size[name] and records[name] > 0})

    def events(self, event_type: str, line: BacklogLine) -> int:
        """About how many records these files hold; Braze never writes an empty one."""
        per_record = self._measured.get(event_type)
        if per_record is not None:
            return max(line.files, round(line.bytes / per_record))
        return max(line.files, (line.bytes - line.files * _SCHEMA_BYTES) // _BYTES_PER_RECORD)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a run is about to do. Files and bytes are exact, and `seconds` None where no run had a rate."""

    files: int
    bytes: int
    events: int
    requests: int
    seconds: float | None

    @classmethod
    def of(
        cls,
        backlog: Backlog,
        reports: Sequence[Mapping[str, Any]],
        max_events: int,
        events: int | None = None,
    ) -> Self:
        """Foretell it from what is due and from how runs went, the newest first; *events* if it is known."""
        density = Density.of(reports)
        if events is None:
            events = sum(density.events(name, line) for name, line in backlog.by_event_type.items())
        per_second = Rate.of(reports).bytes_per_second
        seconds = round(backlog.bytes / per_second, 1) if per_second else None
        return cls(backlog.files, backlog.bytes, events, math.ceil(events / max_events), seconds)


@dataclass(frozen=True, slots=True)
class Window:
    """What is measured: the oldest `date=` hour with undelivered records, and the last complete listing.

    A job that has not listed for days does not know what it missed, so the older of the two counts.
    """

    objective: timedelta
    warn_at: timedelta
    oldest_undelivered: datetime | None
    last_listing: datetime | None

    def age(self, now: datetime) -> timedelta | None:
        """Age of the older of the two, or None if the source was never listed."""
        if self.last_listing is None:
            return None
        oldest = min(self.oldest_undelivered or self.last_listing, self.last_listing)
        return max(now - oldest, timedelta(0))

    def hours_left(self, now: datetime) -> float | None:
        """Hours until the objective is missed; negative when it is, None if never listed."""
        age = self.age(now)
        return None if age is None else round((self.objective - age) / timedelta(hours=1), 2)

    def at_risk(self, now: datetime) -> bool:
        """Whether somebody should look: older than `window.warn_at`, or never listed."""
        age = self.age(now)
        return age is None or age >= self.warn_at

    def as_dict(self, now: datetime) -> dict[str, Any]:
        """The `window` object of the run report."""
        oldest = self.oldest_undelivered
        return {"oldest_undelivered": iso(oldest) if oldest else None, "hours_left": self.hours_left(now)}


SHORTER_PATIENCE: Final = (
    "Set amplitude.give_up_after below both: a run that gives up names the cause while there is time left."
)
_SCHEDULED: Final = "run"
_RUNS_THAT_TELL: Final = 3
"""With fewer, somebody has started them by hand."""


def distance(runs: Sequence[RunRecord]) -> timedelta | None:
    """The middle of the distances between the beginnings of scheduled runs; None with less than two."""
    starts = sorted(run.started_at for run in runs if run.command == _SCHEDULED)
    gaps = sorted(later - earlier for earlier, later in pairwise(starts))
    return gaps[len(gaps) // 2] if gaps else None


def too_patient(
    patience: timedelta, runs: Sequence[RunRecord], max_runtime: timedelta | None = None
) -> str | None:
    """Say why *patience* (`give_up_after`) is too long for *runs*, the newest first; None if it is not.

    *max_runtime* is that of the run to come; where it is not known, that of the last one.
    """
    scheduled = [run for run in runs if run.command == _SCHEDULED]
    last = scheduled[0].report.get("max_runtime") if scheduled else None
    limit = max_runtime or (timedelta(seconds=last) if last else None)
    if limit is not None and limit < patience:
        return f"give_up_after is {duration_text(patience)}, and --max-runtime {duration_text(limit)}"
    between = distance(scheduled) if len(scheduled) >= _RUNS_THAT_TELL else None
    if between is not None and between < patience:
        apart = duration_text(timedelta(seconds=round(between.total_seconds())))
        return f"give_up_after is {duration_text(patience)}, and runs begin {apart} apart"
    return None
