"""Changing one's mind, through the real program: what a mapping held comes once, and nothing else again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.generate import sample_record, write_avro
from tests.faults.poison import poison
from tests.faults.processes import kill, wait_until
from tests.s3_server import Bucket
from tests.workplace import Result, Workplace, balanced, open_workplace

OPEN, ORPHAN, PURCHASE = "users.messages.email.Open", "users.UserOrphan", "users.behaviors.Purchase"
RANGE = ("--from", "2026-10-01", "--to", "2026-10-03")
_CONNECTOR = "dataexport.prod-01.S3.integration.ab"


class Place:
    """A workplace with an export of three types, of which a first mapping holds some records."""

    def __init__(self, work: Workplace, state: dict[str, Any]) -> None:
        self.work = work
        self._state = state
        self._number = 0

    def decide(self, budget: dict[str, Any] | None = None, **mapping: Any) -> None:
        """Configure a mapping."""
        self.work.configure(
            mapping=mapping,
            state=self._state,
            workers=1,
            amplitude={"max_events": 5, "concurrency": 1},
            budget=budget or {},
        )

    def write(self, event_type: str, *users: str | None, hour: int = 5, day: str = "2026-10-01") -> list[str]:
        """Write a file with a record for each of *users* (None: nobody); their ids."""
        folder = f"{_CONNECTOR}/event_type={event_type}/date={day}-{hour:02}/version=12/us-01"
        records = []
        for user in users:
            self._number += 1
            record = sample_record(event_type, self._number)
            record["external_user_id"] = user
            if user is None and "device_id" in record:
                record["device_id"] = None
            records.append(record)
        path = self.work.source / folder / f"{_CONNECTOR}+0+{self._number}.avro"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_avro(path, event_type, records, sync_interval=500)
        return [record["id"] for record in records]

    def run(self) -> dict[str, Any]:
        return self.work.run("--ok-exit", "3")

    def plan(self, *options: str) -> dict[str, Any]:
        return self.work.do("plan", "--changed-only", *RANGE, "--output", "json", *options).json

    def backfill(self, *options: str) -> Result:
        return self.work.do("backfill", "--changed-only", *RANGE, "--output", "json", *options)

    def held(self) -> list[str]:
        return self.work.accepted_ids()

    def received(self) -> int:
        return int(self.work.amplitude.stats()["events_received"])


@pytest.fixture(params=["sqlite", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with open_workplace(tmp_path) as work:
        state = {}
        if request.param == "s3":
            bucket: Bucket = request.getfixturevalue("bucket")
            state = {"uri": f"{bucket.uri}/state", "endpoint_url": bucket.endpoint_url}
        yield Place(work, state)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Place]:
    with open_workplace(tmp_path) as work:
        yield Place(work, {})


def test_what_was_held_comes_once_and_what_was_accepted_not_again(place: Place) -> None:
    place.decide()
    sent = place.write(OPEN, "user-anna", None, "user-ben", "x")
    orphans = place.write(ORPHAN, "user-anna", "user-carl")
    place.write(PURCHASE, "user-anna", hour=6)
    assert place.run()["events"] == {
        "read": 7,
        "accepted": 3,
        "filtered": 3,
        "quarantined": 1,
        "deferred": 0,
    }
    before, received = place.held(), place.received()

    place.decide(send=[ORPHAN], identity={"anonymous": "braze_id"})
    plan = place.plan()
    assert (plan["to_send"], plan["files"], plan["not_comparable"]) == (3, 2, 0)
    assert plan["reasons"] == {"not_in_native": 2, "no_identity": 1}
    assert plan["by_event_type"][ORPHAN] == {"files": 1, "to_send": 2, "reasons": {"not_in_native": 2}}
    assert place.held() == before, "a plan sends nothing"

    result = place.backfill()
    report = balanced(result.json)
    assert report["exit_code"] == 0, report
    assert report["events"]["read"] == report["events"]["accepted"] == 3
    assert '"to_send":2,"reasons":{"not_in_native":2}' in result.err, "the plan is told first"
    assert place.held() == sorted([*before, *orphans, sent[1]])
    assert place.received() == received + 3

    assert place.backfill().json["files"]["discovered"] == 0
    assert place.received() == received + 3


def test_a_backfill_that_is_killed_between_send_and_settlement_is_repeated_and_amplitude_keeps_one(
    local: Place,
) -> None:
    local.decide()
    orphans = local.write(ORPHAN, *[f"user-{number}" for number in range(40)])
    local.run()
    local.decide(send=[ORPHAN])
    local.work.inject("- do: {delay: 0.3}")
    process = local.work.start("backfill", "--changed-only", *RANGE)
    wait_until(lambda: local.work.amplitude.stats()["events_held"] >= 10, "some arrive")
    kill(process.pid)
    process.communicate()
    wait_until(lambda: local.work.amplitude.stats()["in_flight"] == 0, "the last requests end")
    local.work.recover()
    report = balanced(local.backfill().json)
    assert report["exit_code"] == 0, report
    assert report["events"]["accepted"] == 40
    assert local.held() == sorted(orphans)
    assert local.work.amplitude.stats()["duplicates"] >= 10


def test_events_that_the_budget_held_are_sent_when_it_reaches_again(local: Place) -> None:
    local.decide(budget={"per_month": 25, "stop": [OPEN]})
    ids = local.write(OPEN, *[f"user-{number}" for number in range(40)])
    local.run()
    assert local.held() == sorted(ids[:25])
    refused = local.backfill()
    assert (refused.code, refused.error["type"]) == (2, "UsageError")
    assert "15" in refused.error["message"]
    assert balanced(local.backfill("--over-budget").json)["events"]["accepted"] == 15
    assert local.held() == sorted(ids)
    assert local.received() == 40


def test_nothing_is_sent_by_another_content_of_a_look_up_table(
    local: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the table of today the eight that were accepted would seem filtered, and go again by other ids."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    table, users = tmp_path / "lk.csv", [f"user-{number:02}" for number in range(20)]

    def decide(known: list[str], missing: str) -> None:
        table.write_text("".join(f"{user},amp-{user}\n" for user in known))
        local.decide(identity={"lookup": {"uri": str(table), "missing": missing}})

    decide(users[:8], "filter")
    ids = local.write(OPEN, *users)
    assert local.run()["events"]["filtered"] == 12
    assert local.held() == sorted(ids[:8])
    decide(users[8:], "pass")
    assert local.plan()["not_comparable_because"] == {"mapping_unknown": 1}
    report = balanced(local.backfill().json)
    assert report["events"]["read"] == 0
    assert local.received() == 8


def test_it_is_not_to_be_combined_with_resend(local: Place) -> None:
    result = local.backfill("--resend")
    assert (result.code, result.error["type"]) == (2, "UsageError")


def test_without_a_range_all_is_meant_that_the_ledger_knows_also_from_before_its_start(place: Place) -> None:
    place.decide()
    old = place.write(ORPHAN, "user-anna", day="2026-06-01")
    unknown = place.write(ORPHAN, "user-ben", day="2026-05-01")
    orphans = place.write(ORPHAN, "user-carl")
    assert place.run()["events"]["filtered"] == 1
    place.work.do("backfill", "--from", "2026-06-01", "--to", "2026-06-01")
    place.decide(send=[ORPHAN])
    whole = ("--changed-only", "--output", "json")
    assert place.work.do("plan", *whole).json["to_send"] == 2
    assert place.work.do("plan", *whole, "--to", "2026-06-01").json["to_send"] == 1
    assert place.work.do("plan", *whole, "--from", "2026-06-02").json["to_send"] == 1
    report = balanced(place.work.do("backfill", *whole).json)
    assert report["events"]["accepted"] == 2
    assert place.held() == sorted([*old, *orphans])
    assert not set(unknown) & set(place.held()), "a file that was never settled is none that has changed"


def orphans_of_three_hours(local: Place) -> list[str]:
    """Have the ledger know six files of which a change of the mapping sends every record; their ids."""
    local.decide()
    ids = [id_ for hour in (5, 6, 7) for _ in range(2) for id_ in local.write(ORPHAN, "a-user", hour=hour)]
    local.run()
    local.decide(send=[ORPHAN])
    return ids


def test_a_worker_that_is_killed_while_it_compares_costs_nothing(local: Place) -> None:
    ids = orphans_of_three_hours(local)
    environ = poison(local.work.folder, {"date=2026-10-01-06": "_kill_once"}, comparing=True)
    report = balanced(local.work.do("backfill", "--changed-only", *RANGE, "--output", "json", **environ).json)
    assert (report["exit_code"], report["events"]["accepted"]) == (0, 6)
    assert local.held() == sorted(ids)


def test_a_file_that_kills_who_compares_it_is_left_alone_by_its_name_and_the_others_are_sent(
    local: Place,
) -> None:
    ids = orphans_of_three_hours(local)
    killer = local.write(ORPHAN, "a-user", hour=8)
    local.decide()
    local.run()
    local.decide(send=[ORPHAN])
    environ = poison(local.work.folder, {"date=2026-10-01-08": "_kill"}, comparing=True)
    plan = local.work.do("plan", "--changed-only", *RANGE, "--output", "json", **environ).json
    assert (plan["to_send"], plan["not_comparable_because"]) == (6, {"unreadable": 1})
    result = local.work.do("backfill", "--changed-only", *RANGE, "--output", "json", **environ)
    assert (result.code, balanced(result.json)["events"]["accepted"]) == (0, 6)
    assert "reading it ended a worker process" in result.err
    assert "date=2026-10-01-08" in result.err
    assert local.held() == sorted(ids)
    assert local.backfill().json["events"]["accepted"] == 1, "it stays as it was"
    assert local.held() == sorted([*ids, *killer])


def test_a_stop_while_a_worker_hangs_in_a_comparison_ends_the_run_in_its_time(local: Place) -> None:
    ids = orphans_of_three_hours(local)
    local.work.configure(mapping={"send": [ORPHAN]}, workers=1, amplitude={"timeout": "2s"})
    environ = poison(local.work.folder, {"date=2026-10-01-07": "_sleep"}, comparing=True)
    command = ("backfill", "--changed-only", *RANGE, "--output", "json")
    process = local.work.start(*command, command=None, **environ)
    asleep = local.work.folder / "poisoned.txt"
    wait_until(asleep.exists, "a worker hangs")
    process.terminate()
    out, _ = process.communicate(timeout=30)
    report = json.loads(out)
    assert (process.returncode, report["exit_code"], report["events"]["read"]) == (143, 143, 0)
    assert local.held() == []
    assert balanced(local.backfill().json)["events"]["accepted"] == 6
    assert local.held() == sorted(ids)
