"""The run report: the JSON of CONTRACT.md, a sum over settlements, so that its books balance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from braze_etl.clock import duration_text, iso
from braze_etl.delivery.batches import RequestCounts
from braze_etl.engine.budget import Account
from braze_etl.engine.forecast import Forecast, Window
from braze_etl.engine.latency import Latency
from braze_etl.engine.source_health import Freshness
from braze_etl.engine.tasks import Extras, NoExtras, Settlement, Unavailable
from braze_etl.errors import BrazeEtlError, DeliveryError, StoreError
from braze_etl.model import Counts, FileState, Outcome, Reason, Tally
from braze_etl.state.ledger import BacklogLine, RunRecord

NOT_CUT_OFF: Final = frozenset({0, 3, 4})
"""Exit codes of a run that got to its end; whether it was a success, `succeeded` says."""
WORK_LEFT: Final = 4
OUT_OF_REACH: Final = "out_of_reach_files"
"""The warning that counts the files of `RunReport.unavailable`."""


@dataclass(frozen=True, slots=True)
class FileCounts:
    """The files of a run: what was due, and what became of it; `bytes` are those of all that was due."""

    discovered: int
    done: int
    failed: int
    remaining: int
    bytes: int


@dataclass(slots=True)
class RunReport:
    """Everything that `run`, `backfill` and `quarantine replay` tell at their end."""

    run_id: str
    pipeline: str
    command: str
    started_at: datetime
    discovered: int = 0
    bytes: int = 0
    done: int = 0
    failed: int = 0
    newly_set_aside: int = 0
    closed: int = 0
    """Entries of the quarantine for bytes that a file delivered whole has replaced."""
    changed: int = 0
    waiting: int = 0
    """Discovered files that hold nothing but records which wait for their time, as after throttling."""
    cut_short: bool = False
    """Whether it was time to stop before all that is due was listed."""
    archived: BacklogLine = field(default_factory=BacklogLine)
    counts: Counts = field(default_factory=Counts)
    repeats: Counts = field(default_factory=Counts)
    """Those of the counts that lie in files which stay due as they were: the next run counts them again."""
    bytes_read: Counter[str] = field(default_factory=Counter)
    """By event type, the stored bytes behind the records that were read: what rates are measured by."""
    latency: Latency = field(default_factory=Latency)
    in_flight_limits: dict[int, int] = field(default_factory=dict)
    """What each worker process allowed itself at last."""
    repairs: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    unavailable: Unavailable = field(default_factory=Unavailable)
    requests: RequestCounts = field(default_factory=RequestCounts)
    max_runtime: timedelta | None = None
    time_over: bool = False
    """Whether `max_runtime` was over at the end."""
    causes: list[str] = field(default_factory=list)
    """Why work is left, or why nothing was due, in words (see `causes_of`)."""
    listing: dict[str, int] = field(default_factory=dict)
    extras: Extras = field(default_factory=NoExtras)
    """What the flow has found beside records; it gives the first, which is empty."""
    error: BrazeEtlError | None = None
    window: Window | None = None
    source: Freshness | None = None
    forecast: Forecast | None = None
    held: Counter[str] = field(default_factory=Counter)
    """Records by event type that the budget kept from being sent."""
    account: Account | None = None
    """How the budget stands at the end; None where none is configured."""
    finished_at: datetime | None = None
    seconds: float = 0.0
    exit_code: int | None = None
    without_lease: bool = False
    """A backfill that was stopped while another run was at work: its end is on record nowhere."""

    @property
    def remaining(self) -> int:
        """Discovered files with an open record."""
        return self.discovered - self.done - self.failed

    @property
    def succeeded(self) -> bool:
        """Whether the run did its work (CONTRACT.md, when it is green).

        Code 4 left some for the next, as it does whenever time is up: that is a success when anything was
        settled, or when all that is left waits for its time. A scheduled run that never got to the end of a
        listing does not know what it owes.
        """
        listed = self.window is not None and self.window.last_listing is not None
        if self.exit_code not in NOT_CUT_OFF or not (listed or self.command != "run"):
            return False
        only_waits = self.waiting == self.discovered and not self.cut_short
        return self.exit_code != WORK_LEFT or self.got_ahead or only_waits

    @property
    def got_ahead(self) -> bool:
        """Whether anything was accepted, or filtered or set aside for good: not of files that stay due."""
        again = self.repeats.total
        for_good = self.events.filtered + self.events.quarantined - again.filtered - again.quarantined
        return bool(self.events.accepted or for_good or self.done or self.failed)

    @property
    def events(self) -> Tally:
        """The books of the whole run."""
        return self.counts.total

    @property
    def files(self) -> FileCounts:
        """The files of the whole run."""
        return FileCounts(self.discovered, self.done, self.failed, self.remaining, self.bytes)

    @property
    def reasons(self) -> dict[str, int]:
        """Records that were not sent, by reason."""
        reasons: dict[str, int] = self.counts.as_dict()["reasons"]
        return reasons

    def add(self, settlement: Settlement) -> None:
        """Count what came of a task."""
        self.done += sum(file.state is FileState.DONE for file in settlement.files)
        self.failed += sum(file.state is FileState.FAILED for file in settlement.files)
        self.counts.add(settlement.counts)
        self.repeats.add(settlement.repeats)
        self.bytes_read += _bytes_read(settlement)
        self.in_flight_limits[settlement.worker] = settlement.in_flight_limit
        self.repairs += settlement.repairs
        self.held += settlement.held
        self.warnings += settlement.warnings
        self._add_unavailable(settlement.unavailable)
        self.requests.add(settlement.requests)
        if settlement.extras is not None:
            self.extras.merge(settlement.extras)

    def _add_unavailable(self, unavailable: Unavailable) -> None:
        self.unavailable.add(unavailable)
        if files := unavailable.files.total():
            self.warnings[OUT_OF_REACH] += files

    @property
    def nothing_readable(self) -> StoreError | None:
        """The failure of a run in which the store gave not one of the files that it tried to read."""
        worst = self.unavailable.worst
        if worst is None or self.done or self.failed or self.events.read:
            return None
        tried = self.unavailable.files.total()
        return StoreError(
            f"not one of {tried} due files could be read, and all stay due: {worst.message}",
            remedy=worst.remedy,
        )

    @property
    def nothing_accepted(self) -> DeliveryError | None:
        """The failure of a run whose requests all failed, where it was too short for `give_up_after`."""
        requests = self.requests
        if not 0 < requests.sent == requests.failed or self.events.accepted or not self.remaining:
            return None
        words = "; ".join(requests.failures.values())
        return DeliveryError(
            f"Amplitude was out of reach: nothing was accepted, and every request failed: {words}.",
            remedy="Check the way to `amplitude.endpoint`, and Amplitude's status; all that is due stays so.",
        )

    @property
    def records_read(self) -> dict[str, int]:
        """The records that were read, by event type."""
        return {name: books.read for name, books in self.counts.by_event_type.items()}

    def take_back(self, event_type: str, deferred: Counter[Reason]) -> None:
        """Records that this run had deferred are taken up again: their outcome is open once more."""
        self.counts.by_event_type[event_type].deferred -= deferred.total()
        self.counts.reasons -= Counter({(event_type, reason): count for reason, count in deferred.items()})

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values, in the order of CONTRACT.md."""
        events = self.events
        report: dict[str, Any] = {
            "run_id": self.run_id,
            "pipeline": self.pipeline,
            "command": self.command,
            "started_at": iso(self.started_at),
            "finished_at": iso(self.finished_at) if self.finished_at else None,
            "exit_code": self.exit_code,
            "succeeded": self.succeeded,
            "files": asdict(self.files),
            "events": events.as_dict(),
            **self.counts.as_dict(),
            "bytes_read": dict(sorted(self.bytes_read.items())),
            "repairs": dict(self.repairs),
            "warnings": dict(self.warnings),
            **self.extras.as_dict(self.records_read),
            "listing": {**self.listing, "changed": self.changed, "archived": self.archived.files},
            "requests": {**self.requests.as_dict(), "in_flight_limit": sum(self.in_flight_limits.values())},
            "latency": self.latency.as_facts(),
            "window": self.window.as_dict(self.finished_at or self.started_at) if self.window else None,
            "source": self.source.as_dict(self.finished_at or self.started_at) if self.source else None,
            "forecast": self.forecast.as_dict() if self.forecast else None,
            "seconds": round(self.seconds, 3),
            "max_runtime": self.max_runtime.total_seconds() if self.max_runtime else None,
            "events_per_second": round(events.read / self.seconds, 1) if self.seconds else 0.0,
        }
        if self.account is not None:
            account = self.account.as_dict(run=events.accepted)
            report["budget"] = {**account, "stopped": sorted(self.held), "held": self.held.total()}
        if self.causes:
            report["causes"] = self.causes
        if self.closed:
            report["closed"] = self.closed
        if self.unavailable.files:
            report["unavailable"] = self.unavailable.as_dict()
        if self.repeats.by_event_type:
            report["repeats"] = self.repeats.as_dict()
        if self.error:
            report["error"] = self.error.as_dict()
        return report


def succeeded(run: RunRecord) -> bool:
    """Whether a run on record did its work; of older releases the exit code alone tells it."""
    return bool(run.report.get("succeeded", run.exit_code in NOT_CUT_OFF))


def _bytes_read(settlement: Settlement) -> Counter[str]:
    """Bytes by event type of the files that got a state, cut down to the part of their records read now."""
    sizes, records = Counter[str](), Counter[str]()
    for file in settlement.files:
        if file.state is not None:
            sizes[file.ref.event_type] += file.ref.size
            records[file.ref.event_type] += file.tally.read
    read = settlement.counts.read - settlement.repeats.read
    return Counter({name: round(sizes[name] * min(1.0, read[name] / records[name])) for name in +records})


WARNINGS: Final = {
    "nothing_selected": "nothing below source.uri is selected: see source.uri, integrations, event_types",
    "damaged_segments": "damaged segments of the quarantine that were put beside, below `damaged/`",
    "misnamed_files": "files that end in .avro below an event type, with a name or an hour nobody can read",
    "clock_differs": "this machine's clock is a minute or more off that of S3 or Amplitude",
    "empty_event_folders": "event types that S3 lists, and then shows no object of: are all keys to be seen?",
    "unordered_folders": "event types that the store does not list in the order of keys: read to their end",
    "overdue_files": "files that were older than window.objective when they were found",
    "unfamiliar_files": "files of hours delivered before, none of which the ledger knows: nothing was sent",
    "late_files": "files that only the sweep behind the look-back found",
    "out_of_reach_files": "files left due because the store did not give them as listed: see `unavailable`",
    "before_start_not_counted": "the files before the ledger's start were not counted; the next run tries",
    "short_ingests": "requests for which Amplitude took fewer events than were sent, without saying which",
    "resent_after_7_days": "files sent again, by `--resend`, after Amplitude had forgotten their ids",
    "older_than_deduplication": "replayed entries older than 7 days, which Amplitude may count twice",
    "not_comparable_files": "files left alone by `--changed-only`: what their mapping sent can't be told",
    "budget_month_warned": "budget.warn_at of the month is spent",
    "budget_month_used_up": "the month's bound is used up",
    "budget_day_warned": "budget.warn_at of the day is spent",
    "budget_day_used_up": "the day's bound is used up",
}

CHANGED_LATE: Final = "changed more than 7 days after delivery: `backfill --resend` would send them again"


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
