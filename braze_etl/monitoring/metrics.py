"""The metrics: their names, what they say, and how a run that has ended becomes their samples.

Counters are the totals that the ledger keeps, so that they grow from run to run. Gauges are of the last
run. What has to be compared with the present is a point in time, for an age would stand still with the job.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

from braze_etl import __version__
from braze_etl.engine.latency import Histogram
from braze_etl.engine.report import WARNINGS, RunReport
from braze_etl.model import Outcome, Reason
from braze_etl.monitoring import verification
from braze_etl.monitoring.exposition import Metric
from braze_etl.monitoring.totals import Totals
from braze_etl.state.ledger import LedgerSummary

METRICS: Final = (
    Metric(
        "braze_etl_records_total",
        "counter",
        "Records whose outcome was fixed; reason is empty for accepted ones. A deferred record counts again.",
        ("event_type", "outcome", "reason"),
    ),
    Metric(
        "braze_etl_files_total",
        "counter",
        "Files of which nothing is owed any more: done, or failed (the rest is quarantined).",
        ("outcome",),
    ),
    Metric(
        "braze_etl_repeated_ids_total",
        "counter",
        "Accepted events whose insert_id stood in the same request already; Amplitude keeps one of them.",
    ),
    Metric(
        "braze_etl_requests_total",
        "counter",
        "Requests to Amplitude by HTTP status, or by what happened instead of an answer.",
        ("status",),
    ),
    Metric(
        "braze_etl_requests_retried_total", "counter", "Requests beyond the first of each batch of events."
    ),
    Metric(
        "braze_etl_requests_throttled_total", "counter", "Requests that were answered 429, or said so inside."
    ),
    Metric(
        "braze_etl_requests_short_ingest_total",
        "counter",
        "Requests that were accepted with a lower events_ingested.",
    ),
    Metric("braze_etl_request_raw_bytes_total", "counter", "Bytes of JSON in requests, before compression."),
    Metric("braze_etl_request_wire_bytes_total", "counter", "Bytes of request bodies as posted."),
    Metric("braze_etl_warnings_total", "counter", "Warnings of the run reports, by name.", ("warning",)),
    Metric("braze_etl_repairs_total", "counter", "Values that were repaired before sending.", ("repair",)),
    Metric("braze_etl_runs_total", "counter", "Passes that ended by themselves.", ("command", "exit_code")),
    Metric(
        "braze_etl_file_to_accepted_seconds",
        "histogram",
        "Age of a file since its modification when its last record was accepted; of `run` alone.",
    ),
    Metric(
        "braze_etl_event_to_accepted_seconds",
        "histogram",
        "Age of a record's date= hour, since it began, when the record was accepted; of `run` alone.",
    ),
    Metric("braze_etl_last_run_timestamp_seconds", "gauge", "When the last pass ended.", ("command",)),
    Metric("braze_etl_last_run_duration_seconds", "gauge", "How long the last pass took.", ("command",)),
    Metric("braze_etl_last_run_exit_code", "gauge", "Exit code of the last pass.", ("command",)),
    Metric(
        "braze_etl_last_run_error",
        "gauge",
        "1 with the kind of error that ended the last pass; absent when none did.",
        ("command", "error"),
    ),
    Metric(
        "braze_etl_last_success_timestamp_seconds",
        "gauge",
        "When a pass last succeeded: exit code 0 or 3, or 4 with something settled.",
        ("command",),
    ),
    Metric("braze_etl_backlog_files", "gauge", "Files that are due and not delivered."),
    Metric("braze_etl_backlog_bytes", "gauge", "Stored bytes of the files that are due and not delivered."),
    Metric(
        "braze_etl_backlog_oldest_timestamp_seconds",
        "gauge",
        "The oldest date= hour with undelivered records; absent when there is none.",
    ),
    Metric(
        "braze_etl_window_warn_timestamp_seconds",
        "gauge",
        "When the older of oldest undelivered hour and last complete listing passes window.warn_at.",
    ),
    Metric(
        "braze_etl_window_deadline_timestamp_seconds",
        "gauge",
        "When the older of oldest undelivered hour and last complete listing passes window.objective.",
    ),
    Metric(
        "braze_etl_window_left_seconds",
        "gauge",
        "Time left until the objective is missed, as of the end of the last pass; alert on the deadline.",
    ),
    Metric("braze_etl_window_objective_seconds", "gauge", "window.objective of the configuration."),
    Metric(
        "braze_etl_source_newest_hour_timestamp_seconds",
        "gauge",
        "The newest date= hour of the source, by the last complete listing; absent until a file was found.",
    ),
    Metric(
        "braze_etl_source_stale_timestamp_seconds",
        "gauge",
        "When that hour is older than window.source_stale_after; the present if no file was ever found.",
    ),
    Metric(
        "braze_etl_forecast_in_time",
        "gauge",
        "1 if the backlog is delivered in time at the measured rate, 0 if not; absent when none is measured.",
    ),
    Metric("braze_etl_quarantine_entries", "gauge", "Records and files in the quarantine."),
    Metric("braze_etl_deferred_records", "gauge", "Records that are open for a later run.", ("reason",)),
    Metric(
        "braze_etl_in_flight_limit",
        "gauge",
        "Requests that all workers together allowed themselves at the end of the last pass.",
    ),
    Metric("braze_etl_budget_spent_events", "gauge", "Events spent of the current period.", ("period",)),
    Metric("braze_etl_budget_limit_events", "gauge", "Bound of the budget for a period.", ("period",)),
    Metric(
        "braze_etl_budget_warned", "gauge", "1 if budget.warn_at of the period is spent, else 0.", ("period",)
    ),
    Metric("braze_etl_budget_held_records", "gauge", "Records that the budget held in the last pass."),
    Metric(
        "braze_etl_drift_findings",
        "gauge",
        "Event types and fields of the last pass that differ from the catalogue, by kind.",
        ("kind",),
    ),
    Metric("braze_etl_verify_timestamp_seconds", "gauge", "When the last verification ended."),
    Metric("braze_etl_verify_expected_events", "gauge", "Events that the last verification expected."),
    Metric(
        "braze_etl_verify_missing_events",
        "gauge",
        "Events that the last verification did not find in Amplitude, less those that it sent again.",
    ),
    Metric("braze_etl_info", "gauge", "Always 1, with the version of the last pass.", ("version",)),
)
"""All metrics; each has the label `pipeline` too."""

_Values: TypeAlias = Mapping[tuple[str, ...], float | Histogram]
_Named: TypeAlias = Iterator[tuple[str, _Values]]
_SUMS: Final = {
    "repeated_ids": "braze_etl_repeated_ids_total",
    "retried": "braze_etl_requests_retried_total",
    "throttled": "braze_etl_requests_throttled_total",
    "short_ingests": "braze_etl_requests_short_ingest_total",
    "bytes_raw": "braze_etl_request_raw_bytes_total",
    "bytes_wire": "braze_etl_request_wire_bytes_total",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when a run has ended.

    `quarantined` is None if the quarantine can't be read; `verification` is the ledger's note of the newest
    one, empty before the first.
    """

    report: RunReport
    totals: Totals
    summary: LedgerSummary
    quarantined: int | None
    verification: Mapping[str, Any] = field(default_factory=dict)


def samples_of(facts: Facts) -> dict[str, _Values]:
    """The samples of `METRICS`, without the label `pipeline`."""
    return dict(
        [
            *_counted(facts.totals),
            *_last_runs(facts.totals),
            *_waiting(facts),
            *_window(facts.report),
            *_source(facts.report),
            *_budget(facts.report.as_dict()),
            *_drift(facts.report.as_dict()),
            *_verification(facts.verification),
            ("braze_etl_info", {(__version__,): 1}),
        ]
    )


def _counted(totals: Totals) -> _Named:
    yield (
        "braze_etl_records_total",
        {
            (event_type, *_ending(ending)): records
            for event_type, counts in totals.records.items()
            for ending, records in counts.items()
        },
    )
    yield "braze_etl_files_total", _by_name(totals.files)
    yield "braze_etl_requests_total", _by_name(totals.statuses)
    # Each of them from the beginning: an increase of a series that begins with its first warning is none.
    yield "braze_etl_warnings_total", _by_name({**dict.fromkeys(WARNINGS, 0), **totals.warnings})
    yield "braze_etl_repairs_total", _by_name(totals.repairs)
    for name, metric in _SUMS.items():
        yield metric, {(): totals.sums[name]}
    runs = {(*key.rsplit(" ", 1),): count for key, count in totals.runs.items()}
    yield "braze_etl_runs_total", runs
    yield "braze_etl_file_to_accepted_seconds", {(): totals.latency.file}
    yield "braze_etl_event_to_accepted_seconds", {(): totals.latency.event}


def _last_runs(totals: Totals) -> _Named:
    last = totals.last
    ended = {name: _seconds(facts["ended"]) for name, facts in last.items()}
    succeeded = {name: _seconds(facts["succeeded"]) for name, facts in last.items() if facts["succeeded"]}
    errors: _Values = {(name, facts["error"]): 1 for name, facts in last.items() if facts["error"]}
    yield "braze_etl_last_run_timestamp_seconds", _by_name(ended)
    yield "braze_etl_last_run_duration_seconds", _by_name(_of_each(last, "seconds"))
    yield "braze_etl_last_run_exit_code", _by_name(_of_each(last, "exit_code"))
    yield "braze_etl_last_run_error", errors
    yield "braze_etl_last_success_timestamp_seconds", _by_name(succeeded)


def _of_each(last: Mapping[str, Mapping[str, Any]], fact: str) -> dict[str, float]:
    return {name: facts[fact] for name, facts in last.items()}


def _waiting(facts: Facts) -> _Named:
    backlog, limits = facts.summary.backlog, facts.report.in_flight_limits
    if facts.summary.last_listing is not None:
        yield "braze_etl_backlog_files", {(): backlog.files}
        yield "braze_etl_backlog_bytes", {(): backlog.bytes}
    if backlog.oldest_hour:
        yield "braze_etl_backlog_oldest_timestamp_seconds", {(): backlog.oldest_hour.timestamp()}
    deferrals = [reason for reason in Reason if reason.outcome is Outcome.DEFERRED]
    yield (
        "braze_etl_deferred_records",
        {(each.value,): facts.summary.deferred.get(each, 0) for each in deferrals},
    )
    if facts.quarantined is not None:
        yield "braze_etl_quarantine_entries", {(): facts.quarantined}
    if limits:
        yield "braze_etl_in_flight_limit", {(): sum(limits.values())}


def _window(report: RunReport) -> _Named:
    window, now = report.window, report.finished_at or report.started_at
    if window is None:
        return
    yield "braze_etl_window_objective_seconds", {(): window.objective.total_seconds()}
    age = window.age(now)
    if age is not None:
        since = now - age
        yield "braze_etl_window_warn_timestamp_seconds", {(): (since + window.warn_at).timestamp()}
        yield "braze_etl_window_deadline_timestamp_seconds", {(): (since + window.objective).timestamp()}
        yield "braze_etl_window_left_seconds", {(): (window.objective - age).total_seconds()}
    if report.forecast is not None and report.forecast.in_time is not None:
        yield "braze_etl_forecast_in_time", {(): float(report.forecast.in_time)}


def _source(report: RunReport) -> _Named:
    source = report.source
    if source is not None and source.newest_hour is not None:
        yield "braze_etl_source_newest_hour_timestamp_seconds", {(): source.newest_hour.timestamp()}
    if source is not None and source.listed:
        stale_at = source.stale_at or report.finished_at or report.started_at
        yield "braze_etl_source_stale_timestamp_seconds", {(): stale_at.timestamp()}


def _budget(report: Mapping[str, Any]) -> _Named:
    budget = report.get("budget")
    if budget is None:
        return
    periods = [name for name in ("month", "day") if name in budget]
    yield "braze_etl_budget_spent_events", {(name,): budget[name]["spent"] for name in periods}
    limits = {name: budget[name]["limit"] for name in periods if budget[name]["limit"] is not None}
    yield "braze_etl_budget_limit_events", _by_name(limits)
    yield "braze_etl_budget_warned", {(name,): float(budget[name]["warned"]) for name in periods}
    yield "braze_etl_budget_held_records", {(): budget["held"]}


def _drift(report: Mapping[str, Any]) -> _Named:
    drift = report.get("drift")
    if drift is None:
        return
    kinds = {"unknown_event_types": len(drift["unknown_event_types"])}
    for kind in ("unknown_fields", "vanished_fields", "changed_types"):
        kinds[kind] = sum(map(len, drift[kind].values()))
    yield "braze_etl_drift_findings", _by_name(kinds)


def _verification(note: Mapping[str, Any]) -> _Named:
    if not note:
        return
    yield "braze_etl_verify_timestamp_seconds", {(): _seconds(note["finished_at"])}
    yield "braze_etl_verify_expected_events", {(): note["total"]["expected"]}
    yield "braze_etl_verify_missing_events", {(): verification.still_missing(note)}


def _ending(name: str) -> tuple[str, str]:
    """The outcome and the reason of a key of `Totals.records`."""
    if name == Outcome.ACCEPTED.value:
        return name, ""
    return Reason(name).outcome.value, name


def _by_name(counts: Mapping[str, float]) -> _Values:
    return {(name,): count for name, count in counts.items()}


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
