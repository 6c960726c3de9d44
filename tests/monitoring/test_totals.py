from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import orjson

from braze_etl.braze.currents.catalogue import load_catalogue
from braze_etl.delivery.batches import RequestCounts
from braze_etl.engine.forecast import Window
from braze_etl.engine.report import RunReport
from braze_etl.errors import KeyRefusedError
from braze_etl.model import Reason, Tally
from braze_etl.monitoring.totals import MOST_STATUSES, MOST_TYPES, OTHER, Totals

OPEN = "users.messages.email.Open"


def report(
    now: datetime, books: dict[str, Tally] | None = None, *, code: int = 0, command: str = "run"
) -> RunReport:
    found = RunReport("r1", "p", command, now, exit_code=code, finished_at=now + timedelta(seconds=3))
    found.seconds = 3.0
    found.window = Window(timedelta(hours=48), timedelta(hours=24), None, now)
    found.counts.by_event_type = dict(books or {})
    return found


def test_totals_grow_from_run_to_run_and_survive_in_the_ledger(now: datetime) -> None:
    first = report(now, {OPEN: Tally(accepted=5, filtered=2)})
    first.done, first.counts.reasons = 2, Counter({(OPEN, Reason.NO_IDENTITY): 2})
    first.requests = RequestCounts(
        sent=2, throttled=1, repeated_ids=3, by_status=Counter({"200": 1, "429": 1})
    )
    totals = Totals()
    for _ in range(2):
        totals = Totals.from_dict(orjson.loads(orjson.dumps(totals.as_dict())))
        totals.add(first)
    assert totals.records == {OPEN: {"accepted": 10, "no_identity": 4}}
    assert totals.files["done"] == 4
    assert totals.statuses == {"200": 2, "429": 2}
    assert (totals.sums["throttled"], totals.sums["repeated_ids"]) == (2, 6)
    assert totals.runs == {"run 0": 2}
    assert totals.last["run"]["ended"] == "2026-10-03T12:30:03Z"


def test_what_the_next_run_counts_again_is_counted_once(now: datetime) -> None:
    refused = report(now, {OPEN: Tally(accepted=3, filtered=2)}, code=1)
    refused.counts.reasons = Counter({(OPEN, Reason.NO_IDENTITY): 2})
    refused.repeats.add(refused.counts)
    settled = report(now, {OPEN: Tally(accepted=5, filtered=2)})
    settled.counts.reasons = Counter({(OPEN, Reason.NO_IDENTITY): 2})
    totals = Totals()
    for each in (refused, refused, settled):
        totals.add(each)
    assert totals.records == {OPEN: Counter(accepted=5, no_identity=2)}


def test_a_failure_does_not_forget_the_last_success(now: datetime) -> None:
    totals = Totals()
    totals.add(report(now, {OPEN: Tally(accepted=1)}, code=4))
    failed = report(now + timedelta(hours=1), code=1)
    failed.error = KeyRefusedError("refused")
    totals.add(failed)
    totals.add(report(now, code=0, command="backfill"))
    last = totals.last["run"]
    assert (last["exit_code"], last["error"], last["succeeded"]) == (
        1,
        "KeyRefusedError",
        "2026-10-03T12:30:03Z",
    )


def test_a_run_that_never_listed_all_of_its_source_is_no_success(now: datetime) -> None:
    totals = Totals()
    cut_short = report(now, code=4)
    cut_short.window = Window(timedelta(hours=48), timedelta(hours=24), None, None)
    totals.add(cut_short)
    assert totals.last["run"]["succeeded"] is None


def test_event_types_are_bounded_and_none_is_lost(now: datetime) -> None:
    known = dict.fromkeys(load_catalogue(), Tally(accepted=1))
    strange = {f"users.strange.{number:04}": Tally(accepted=1) for number in range(3 * MOST_TYPES)}
    totals = Totals()
    totals.add(report(now, strange))
    totals.add(report(now, known))
    assert len(totals.records) <= MOST_TYPES + len(known) + 1
    assert known.keys() <= totals.records.keys()
    assert totals.records[OTHER]["accepted"] > MOST_TYPES
    assert sum(counts["accepted"] for counts in totals.records.values()) == len(known) + len(strange)


def test_statuses_are_bounded(now: datetime) -> None:
    totals = Totals()
    found = report(now)
    found.requests = RequestCounts(by_status=Counter({str(number): 1 for number in range(100, 300)}))
    totals.add(found)
    assert len(totals.statuses) == MOST_STATUSES + 1
    assert totals.statuses.total() == 200


def test_the_note_of_a_project_with_a_hundred_types_is_small(now: datetime) -> None:
    books = {name: Tally(accepted=123_456_789, filtered=10_000) for name in sorted(load_catalogue())[:100]}
    found = report(now, books)
    found.counts.reasons = Counter({(name, Reason.NO_IDENTITY): 10_000 for name in books})
    totals = Totals()
    totals.add(found)
    assert len(orjson.dumps(totals.as_dict())) < 10_000
