"""Budgets as operators have them: bounds, warnings, refusals and money, through the real program."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fixtures.generate import sample_record, write_avro
from tests.faults.processes import wait_until
from tests.s3_server import Bucket
from tests.workplace import Workplace

OPEN, PURCHASE = "users.messages.email.Open", "users.behaviors.Purchase"
CONNECTOR = "dataexport.prod-01.S3.integration.0123456789abcdef01234567"
RANGE = ("--from", "2026-10-01", "--to", "2026-10-01")
DAILY = {"per_day": 25, "stop": ["users.messages.*"], "warn_at": "50%"}


def write(place: Workplace, event_type: str, events: int, hour: int = 5) -> Path:
    """Write a file of so many events that are all to be sent."""
    folder = place.source / CONNECTOR / f"event_type={event_type}" / f"date=2026-10-01-{hour:02}"
    path = folder / "version=12/us-01" / f"{CONNECTOR}+0+1.avro"
    records = [sample_record(event_type, 1000 * hour + number) for number in range(events)]
    for number, record in enumerate(records):
        record |= {"id": f"{event_type}-{hour}-{number}", "external_user_id": f"user-{number:04}"}
    write_avro(path, event_type, records)
    return path


@pytest.fixture
def shop(workplace: Workplace) -> Workplace:
    """Two files of 20 opens and one of 10 purchases, against a budget of 25 a day that stops messages."""
    if (datetime.now(UTC) + timedelta(minutes=2)).hour < datetime.now(UTC).hour:
        pytest.skip("a new UTC day, with a budget of its own, begins in a moment")
    write(workplace, OPEN, 20, hour=5)
    write(workplace, OPEN, 20, hour=6)
    write(workplace, PURCHASE, 10, hour=7)
    workplace.configure(budget=DAILY, cost={"per_million": "250000", "currency": "EUR"})
    return workplace


def sent(place: Workplace, event_type: str) -> int:
    """How many events of a type Amplitude holds."""
    return sum(each.startswith(f"{event_type}-") for each in place.accepted_ids())


def check_the_first_two_runs(shop: Workplace) -> None:
    first = shop.run()
    assert first["exit_code"] == 0
    assert (sent(shop, OPEN), sent(shop, PURCHASE)) == (first["events"]["accepted"] - 10, 10)
    assert 15 <= sent(shop, OPEN) <= 25
    assert first["reasons"] == {"held": 40 - sent(shop, OPEN)}
    day = first["budget"]["day"]
    assert (day["spent"], day["limit"]) == (first["events"]["accepted"], 25)
    assert first["budget"]["stopped"] == [OPEN]
    assert first["warnings"]["budget_day_warned"] == 1
    write(shop, OPEN, 5, hour=8)
    second = shop.run()
    assert second["events"] == {"read": 5, "accepted": 0, "filtered": 5, "quarantined": 0, "deferred": 0}
    assert second["budget"]["day"]["spent"] == day["spent"]


def test_a_named_type_ends_at_the_bound_and_others_go_on(shop: Workplace) -> None:
    check_the_first_two_runs(shop)


def test_a_ledger_in_s3_remembers_what_is_spent(shop: Workplace, bucket: Bucket) -> None:
    shop.configure(budget=DAILY, state={"uri": f"{bucket.uri}/state", "endpoint_url": bucket.endpoint_url})
    check_the_first_two_runs(shop)


def test_one_worker_sends_exactly_what_the_bound_leaves(shop: Workplace) -> None:
    report = shop.run("--workers", "1")
    assert (sent(shop, OPEN), sent(shop, PURCHASE)) == (25, 10)
    assert report["budget"]["day"]["left"] == 0
    assert report["budget"]["held"] == 15


def test_what_was_held_is_sent_when_there_is_room_again(shop: Workplace) -> None:
    shop.run("--workers", "1")
    changed = ("backfill", *RANGE, "--changed-only", "--output", "json")
    refused = shop.do(*changed)
    assert refused.code == 2
    assert "would send 15 events, 15 more than the 0" in refused.error["message"]
    shop.configure(budget={**DAILY, "per_day": 1000})
    assert shop.do(*changed).json["events"]["accepted"] == 15
    assert (sent(shop, OPEN), sent(shop, PURCHASE)) == (40, 10)
    assert shop.do(*changed).json["events"]["read"] == 0


def test_a_bound_without_types_only_warns(shop: Workplace) -> None:
    shop.configure(budget={"per_month": 20})
    report = shop.run()
    assert report["events"]["accepted"] == 50
    assert report["warnings"]["budget_month_used_up"] == 1
    assert report["budget"]["stopped"] == []


def test_a_run_that_is_killed_leaves_no_event_uncounted(shop: Workplace) -> None:
    shop.configure(budget=DAILY, amplitude={"max_events": 5}, workers=1)
    shop.inject("- do: {delay: 0.2}")
    process = shop.start("run")
    wait_until(lambda: shop.amplitude.stats()["events_held"] >= 5, "the first events arrive")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: shop.amplitude.stats()["in_flight"] == 0, "the last requests end")
    assert spent(shop) >= len(shop.accepted_ids())
    shop.recover()
    report = shop.run()
    assert report["budget"]["day"]["spent"] >= len(shop.accepted_ids())
    assert sent(shop, OPEN) <= 25


def test_text_reports_say_what_is_spent_and_what_it_costs(shop: Workplace) -> None:
    out = shop.do("run", "--workers", "1").out
    assert "35 of 25 events in 20" in out
    assert "15 events of users.messages.email.Open" in out
    assert "8.75 EUR in 20" in out
    assert "35 of 25 events in 20" in shop.do("status").out


def test_status_tells_the_budget_and_what_is_stopped(shop: Workplace) -> None:
    shop.run("--workers", "1")
    budget = shop.do("status", "--output", "json").json["budget"]
    assert (budget["day"]["spent"], budget["day"]["warned"], budget["stopped"]) == (35, True, [])
    assert budget["cost"]["month"] == "8.75"
    write(shop, OPEN, 5, hour=8)
    shop.configure(budget=DAILY, source={"lookback": "9999d"})
    refreshed = shop.do("status", "--refresh", "--output", "json").json["budget"]
    assert refreshed["stopped"] == [OPEN]


def test_without_a_budget_nobody_is_told_of_one(workplace: Workplace) -> None:
    write(workplace, OPEN, 5)
    assert "budget" not in workplace.run()
    assert "budget" not in workplace.do("status", "--output", "json").json
    assert "budget" not in workplace.do("plan", "--output", "json").json


def test_a_plan_says_what_is_left_what_is_held_and_what_it_costs(shop: Workplace) -> None:
    plan = shop.do("plan", "--exact", "--output", "json").json["budget"]
    assert (plan["to_send"], plan["over"], plan["held"]) == (50, {"day": 25}, 25)
    assert plan["cost"]["to_send"] == "12.50"
    out = shop.do("plan", "--exact").out
    assert "25 events more than budget.per_day leaves" in out
    assert "12.50 EUR" in out


def test_a_backfill_over_the_budget_is_refused_before_it_touches_anything(shop: Workplace) -> None:
    shop.configure(budget={"per_month": 10})
    refused = shop.do("backfill", *RANGE, "--output", "json")
    assert (refused.code, refused.error["type"]) == (2, "UsageError")
    assert "(an estimate)" in refused.error["message"]
    assert "more than the 10 that budget.per_month leaves" in refused.error["message"]
    assert "--over-budget" in refused.error["remedy"]
    assert not shop.ledger.exists()
    assert shop.accepted_ids() == []


def test_a_backfill_may_be_told_to_go_over_the_budget(shop: Workplace) -> None:
    shop.configure(budget={"per_day": 10, "stop": ["*"]})
    report = shop.do("backfill", *RANGE, "--over-budget", "--output", "json").json
    assert report["events"]["accepted"] == 50
    assert report["budget"]["day"]["spent"] == 50


def test_a_large_first_run_has_to_be_confirmed(shop: Workplace) -> None:
    shop.configure(budget={"first_run_events": 5})
    for command in (["run"], ["backfill", *RANGE]):
        refused = shop.do(*command, "--output", "json")
        assert refused.code == 2
        assert "budget.first_run_events is 5" in refused.error["message"]
        assert "--confirm-first-run" in refused.error["remedy"]
    assert not shop.ledger.exists()
    assert shop.run("--confirm-first-run")["events"]["accepted"] == 50
    write(shop, OPEN, 20, hour=9)
    assert shop.do("backfill", *RANGE).code == 0, "only the first run has to be confirmed"


def spent(place: Workplace) -> int:
    """What the state says is spent today."""
    status: dict[str, Any] = place.do("status", "--output", "json").json
    day: int = status["budget"]["day"]["spent"]
    return day
