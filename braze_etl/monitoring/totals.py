"""Totals over all runs, kept in the ledger: a job that ends after a minute has no counters of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from braze_etl.braze.currents.catalogue import load_catalogue
from braze_etl.clock import iso
from braze_etl.engine.latency import Latency
from braze_etl.engine.report import RunReport
from braze_etl.model import Counts, FileState, Outcome

NOTE: Final = "metrics"
"""The name of the ledger's note that holds them."""
MOST_TYPES: Final = 200
"""Event types with a line of their own, and all that the catalogue knows; any other one counts as `OTHER`."""
MOST_STATUSES: Final = 40
OTHER: Final = "other"


@dataclass(slots=True)
class Totals:
    """Counts since the ledger has kept them. A run that is killed is not in them; its files are.

    `records` are by event type, and then by `accepted` or the reason. `runs` are by command and exit code.
    `last` says of each command when it ended, after how many seconds, with which code, and when it succeeded.
    """

    records: dict[str, Counter[str]] = field(default_factory=dict)
    files: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    sums: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    latency: Latency = field(default_factory=Latency)
    last: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, report: RunReport) -> None:
        self._add_records(report)
        self.files.update({FileState.DONE.value: report.done, FileState.FAILED.value: report.failed})
        requests = report.requests
        for status, count in requests.by_status.items():
            self.statuses[_within(self.statuses, status, MOST_STATUSES)] += count
        for name in ("retried", "throttled", "bytes_raw", "bytes_wire", "short_ingests", "repeated_ids"):
            self.sums[name] += getattr(requests, name)
        self.warnings += report.warnings
        self.repairs += report.repairs
        self.latency.add(report.latency)
        self._add_run(report)

    def _add_records(self, report: RunReport) -> None:
        counts = _by_ending(report.counts)
        counts.subtract(_by_ending(report.repeats))  # the run that settles their files counts them
        for (event_type, ending), records in sorted((+counts).items()):
            known = event_type in load_catalogue()
            name = event_type if known else _within(self.records, event_type, MOST_TYPES)
            self.records.setdefault(name, Counter())[ending] += records

    def _add_run(self, report: RunReport) -> None:
        code, ended = report.exit_code, report.finished_at or report.started_at
        self.runs[f"{report.command} {code}"] += 1
        before = self.last.get(report.command, {})
        succeeded = iso(ended) if report.succeeded else before.get("succeeded")
        self.last[report.command] = {
            "ended": iso(ended),
            "seconds": round(report.seconds, 3),
            "exit_code": code,
            "succeeded": succeeded,
            "error": report.error.as_dict()["type"] if report.error else None,
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, which `from_dict` reads; about 5 kB for 100 event types."""
        return {
            "records": {name: dict(counts) for name, counts in self.records.items()},
            **{name: dict(getattr(self, name)) for name in _COUNTERS},
            "latency": self.latency.as_dict(),
            "last": self.last,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Totals:
        """Read what `as_dict` gave; from nothing, totals that begin."""
        return cls(
            records={name: Counter(counts) for name, counts in value.get("records", {}).items()},
            **{name: Counter(value.get(name, {})) for name in _COUNTERS},
            latency=Latency.from_dict(value.get("latency", {})),
            last=dict(value.get("last", {})),
        )


_COUNTERS: Final = ("files", "statuses", "sums", "warnings", "repairs", "runs")


def _by_ending(counts: Counts) -> Counter[tuple[str, str]]:
    """Records by event type, and `accepted` or their reason."""
    endings: Counter[tuple[str, str]] = Counter()
    for event_type, books in counts.by_event_type.items():
        endings[event_type, Outcome.ACCEPTED.value] += books.accepted
    for (event_type, reason), records in counts.reasons.items():
        endings[event_type, reason.value] += records
    return endings


def _within(known: Mapping[str, object], name: str, most: int) -> str:
    """The name, if it has a line already or may have one."""
    return name if name in known or len(known) < most else OTHER
