"""Every reply that Amplitude, or something on the way to it, has been seen to give (amplitude.md, 1.3)."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from braze_etl.sandbox.amplitude.project import Project
from braze_etl.sandbox.amplitude.replies import Reply
from tests.faults.conftest import SMALL, Picky, deliver_all, nothing_is_lost
from tests.workplace import KEY, Workplace, Written, balanced

# Request 1 is the probe of the key.
FIRST_BATCH = {"request": 2}

PASSING: dict[str, dict[str, Any]] = {
    "a 200 whose body says 429": {
        "status": 200,
        "headers": {"Retry-After": 1},
        "body": {"code": 429, "error": "Too many requests"},
    },
    "a 200 that is not JSON": {"status": 200, "body": "<html>welcome to the guest network</html>"},
    "a 200 without a body": {"status": 200},
    "a 400 that names no event": {"status": 400, "body": {"code": 400, "error": "Invalid event JSON"}},
    "a 400 that names events out of range": {
        "status": 400,
        "body": {
            "code": 400,
            "error": "Invalid field values on some events",
            "events_with_invalid_fields": {"time": [100, 5000, -1]},
        },
    },
    "a 400 of a proxy": {"status": 400, "body": "<html>bad request</html>"},
    "a 403 from a firewall": {"status": 403, "body": {"code": 403, "error": "Forbidden"}},
    "a 408": {"status": 408},
    "a 413 for a whole batch": {"status": 413, "body": {"code": 413, "error": "Payload too large"}},
    "a 429 with nothing but a code": {"status": 429, "headers": {"Retry-After": 1}, "body": {"code": 429}},
    "a 429 for the whole project": {
        "status": 429,
        "headers": {"Retry-After": 1},
        "body": {"code": 429, "error": "Too many requests for this project", "eps_threshold": 1000},
    },
    "a 500": {"status": 500, "body": {"code": 500, "error": "Internal server error"}},
    "a 502 with an HTML page": {"status": 502, "body": "<html>bad gateway</html>"},
    "a 503 that says when": {"status": 503, "headers": {"Retry-After": 1}},
    "a 504 with an HTML page": {"status": 504, "body": "<html>gateway time-out</html>"},
}

NAMED: dict[str, tuple[str, dict[str, Any]]] = {
    "missing fields": ("rejected", {"events_with_missing_fields": {"event_type": [0, 3]}}),
    "invalid fields": ("rejected", {"events_with_invalid_fields": {"time": [0], "ip": [3, 0]}}),
    "invalid id lengths": ("rejected", {"events_with_invalid_id_lengths": {"user_id": [3, 0]}}),
    "silenced events": ("silenced", {"error": "Events silenced for device_id", "silenced_events": [0, 3]}),
    "events in and out of range": ("rejected", {"events_with_invalid_fields": {"time": [0, 3, 777]}}),
}


def script(when: dict[str, Any], do: dict[str, Any], times: int | None = None) -> str:
    rule = {"when": when, "do": do} | ({"times": times} if times else {})
    text: str = yaml.safe_dump([rule])
    return text


def a_user(written: Written) -> str:
    """The user with the most events that are to arrive."""
    users: list[str] = [
        record["external_user_id"] for record in written.records if record["external_user_id"]
    ]
    return max(set(users), key=users.count)


def ids_of(written: Written, user: str) -> set[str]:
    mine = written.where(lambda record: record["external_user_id"] == user)
    return set(written.must_arrive(mine))


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_overcome_within_the_run(place: Workplace, name: str) -> None:
    written = place.export(events=350, hours=1)
    place.inject(script(FIRST_BATCH, {"reply": PASSING[name]}))
    report = place.run()
    assert report["exit_code"] == 0, report
    assert report["requests"]["retried"] > 0
    assert report["events"]["quarantined"] == report["events"]["deferred"] == 0
    nothing_is_lost(place, written)
    assert place.amplitude.stats()["duplicates"] == written.summary.duplicates


@pytest.mark.parametrize("name", NAMED)
def test_a_400_that_names_events_costs_these_and_no_other(place: Workplace, name: str) -> None:
    written = place.export(events=350, hours=1, duplicates=0)
    reason, lists = NAMED[name]
    body = {"code": 400, "error": "Invalid field values on some events", **lists}
    place.inject(script(FIRST_BATCH, {"reply": {"status": 400, "body": body}}))
    report = place.run()
    assert report["exit_code"] == 3
    assert report["reasons"][reason] == report["events"]["quarantined"] == 2
    assert len(place.accepted_ids()) == len(written.must_arrive()) - 2
    entries = place.do("quarantine", "list", "--output", "json").json["entries"]
    assert {entry["reason"] for entry in entries} == {reason}
    assert all(body["error"] in entry["detail"] for entry in entries)


def test_lists_that_name_only_the_first_bad_event_are_worked_off_one_by_one(place: Workplace) -> None:
    written = place.export(events=350, hours=1, duplicates=0)
    bad = set(written.must_arrive()[::40])

    def refuse(events: list[dict[str, Any]]) -> Reply | None:
        found = [index for index, event in enumerate(events) if event["insert_id"] in bad]
        body = {
            "error": "Invalid field values on some events",
            "events_with_invalid_fields": {"ip": found[:1]},
        }
        return Reply(400, {"code": 400, **body}) if found else None

    place.become(Picky(refuse))
    report = place.run()
    assert report["reasons"]["rejected"] == len(bad) > 3
    nothing_is_lost(place, written, but=tuple(bad))


def test_silenced_devices_are_set_aside_and_delay_nobody(place: Workplace) -> None:
    written = place.export(events=500, hours=1, duplicates=0)
    devices = [record["device_id"] for record in written.records if record["device_id"]]
    silenced = max(set(devices), key=devices.count)
    place.become(Project(api_key=KEY, silenced_devices=[silenced]))
    report = place.run()
    mine = written.must_arrive(written.where(lambda record: record["device_id"] == silenced))
    assert report["exit_code"] == 3
    assert report["reasons"]["silenced"] == len(mine) > 0
    nothing_is_lost(place, written, but=tuple(mine))


REFUSALS = {
    "a 400 without a list": (Reply(400, {"code": 400, "error": "Invalid event JSON"}), "rejected"),
    "a 413 down to a single event": (Reply(413, {"code": 413, "error": "Payload too large"}), "too_large"),
    "a 403 from a firewall": (Reply(403, {"code": 403, "error": "Forbidden"}), "rejected"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_one_event_that_is_always_refused_is_found_among_the_others(place: Workplace, name: str) -> None:
    written = place.export(events=350, hours=1, duplicates=0)
    bad = written.must_arrive()[137]
    refusal, reason = REFUSALS[name]
    place.become(Picky(lambda events: refusal if any(e["insert_id"] == bad for e in events) else None))
    report = place.run()
    assert report["exit_code"] == 3
    assert report["reasons"][reason] == 1
    nothing_is_lost(place, written, but=(bad,))


def test_a_lower_events_ingested_is_warned_of_and_counted_and_nothing_is_sent_again(place: Workplace) -> None:
    written = place.export(events=350, hours=1, duplicates=0)
    short = {"reply": {"status": 200, "body": {"code": 200, "events_ingested": 1}}}
    place.inject(script({"after": 1}, {"ingest_then": short}))
    result = place.do("run", "--output", "json")
    report = result.json
    assert report["exit_code"] == 0
    assert report["requests"]["short_ingests"] == report["requests"]["sent"] > 1
    assert report["warnings"]["short_ingests"] == report["requests"]["sent"]
    assert '"level":"warning"' in result.err
    assert "short_ingests" in result.err
    nothing_is_lost(place, written)
    assert place.amplitude.stats()["duplicates"] == 0


THROTTLED: dict[str, dict[str, Any]] = {
    "users": {"throttled_users": {"USER": 31}},
    "devices": {"throttled_devices": {"DEVICE": 31}},
    "events": {"throttled_events": [0]},
    "a daily quota": {"exceeded_daily_quota_users": {"USER": 500001}},
}


@pytest.mark.parametrize("name", THROTTLED)
def test_a_429_that_names_its_victims_leaves_their_records_open_and_the_others_pass(
    place: Workplace, name: str
) -> None:
    written = place.export(events=400, hours=1, duplicates=0, anonymous=0.0)
    user = a_user(written)

    def refuse(events: list[dict[str, Any]]) -> Reply | None:
        mine = [index for index, event in enumerate(events) if event.get("user_id") == user]
        if not mine:
            return None
        body = {"code": 429, "error": "Too many requests for some devices and users", "eps_threshold": 30}
        devices = {events[index]["device_id"]: 31 for index in mine if events[index].get("device_id")}
        lists: dict[str, dict[str, Any]] = {
            "users": {"throttled_users": {user: 31}},
            "devices": {"throttled_devices": devices, "throttled_events": mine},
            "events": {"throttled_events": mine},
            "a daily quota": {"exceeded_daily_quota_users": {user: 500_001}},
        }
        return Reply(429, {**body, **lists[name]})

    place.become(Picky(refuse))
    report = place.run()
    assert report["exit_code"] == 4
    assert report["events"]["deferred"] >= len(ids_of(written, user)) > 0
    assert report["files"]["remaining"] > 0
    assert set(place.accepted_ids()).isdisjoint(ids_of(written, user))
    assert report["events"]["accepted"] == len(place.accepted_ids())
    status = place.do("status", "--output", "json").json
    assert status["deferred"] == report["events"]["deferred"]

    waiting = place.run()
    assert waiting["exit_code"] == 4
    assert waiting["requests"]["sent"] == 0
    assert waiting["succeeded"]  # nothing is due before its time

    held = place.accepted_ids()
    place.become(Project(api_key=KEY))
    place.let_waits_pass()
    deliver_all(place)
    assert sorted([*held, *place.accepted_ids()]) == written.must_arrive()


FATAL: dict[str, tuple[dict[str, Any], str]] = {
    "a key that is refused in the middle": (
        {"reply": {"status": 400, "body": {"code": 400, "error": f"Invalid API key: {KEY}"}}},
        "amplitude.api_key",
    ),
    "a request that lost its events on the way": (
        {"reply": {"status": 400, "body": {"code": 400, "error": "Request", "missing_field": "events"}}},
        "amplitude.endpoint",
    ),
    "a path that is not there": ({"reply": {"status": 404, "body": "not found"}}, "amplitude.endpoint"),
    "a redirect": ({"redirect": "http://127.0.0.1:9/elsewhere"}, "redirects are not followed"),
    "a 401 of a proxy": ({"reply": {"status": 401}}, "amplitude.api_key"),
    "nothing but 503": ({"reply": {"status": 503}}, "everything undelivered stays open"),
    "nothing but 403": (
        {"reply": {"status": 403, "body": {"code": 403, "error": "Forbidden"}}},
        "everything undelivered stays open",
    ),
    "nothing but 429": (
        {"reply": {"status": 429, "body": {"code": 429}}},
        "everything undelivered stays open",
    ),
    "nothing but pages of a login portal": (
        {"reply": {"status": 200, "body": "<html>log in</html>"}},
        "everything undelivered stays open",
    ),
}


@pytest.mark.parametrize("name", FATAL)
def test_what_ends_a_run_ends_it_with_exit_1_and_everything_stays_open(place: Workplace, name: str) -> None:
    written = place.export(events=350, hours=1, duplicates=0)
    fault, remedy = FATAL[name]
    give_up_after = "2s" if name.startswith("nothing but") else "10s"
    place.configure(amplitude={**SMALL, "give_up_after": give_up_after, "concurrency": 1}, workers=1)
    place.inject(script({"after": 2}, fault))
    result = place.do("run", "--output", "json")
    assert result.code == 1, result
    assert remedy in result.error["remedy"]
    assert KEY not in result.out + result.err
    assert len(place.accepted_ids()) == 100
    deliver_all(place)
    nothing_is_lost(place, written)
    assert place.amplitude.stats()["duplicates"] <= 100


@pytest.mark.parametrize("body", ["<html>too large</html>", {"code": 413, "error": "Payload too large"}])
def test_a_413_to_small_events_is_a_failure_of_the_way_and_sets_nothing_aside(
    place: Workplace, body: object
) -> None:
    written = place.export(events=350, hours=1, duplicates=0)
    place.configure(amplitude={**SMALL, "give_up_after": "2s"}, workers=1)
    place.inject(script({"after": 2}, {"reply": {"status": 413, "body": body}}))
    result = place.do("run", "--output", "json")
    assert result.code == 1, result
    assert "proxy" in result.error["message"]
    assert balanced(result.json)["events"]["quarantined"] == 0
    deliver_all(place)
    nothing_is_lost(place, written)


def test_a_wrong_key_or_region_is_found_before_the_first_event_is_sent(place: Workplace) -> None:
    place.export(events=50, hours=1)
    wrong = {"reply": {"status": 400, "body": {"code": 400, "error": f"Invalid API key: {KEY}"}}}
    place.inject(script({}, wrong))
    result = place.do("run", "--output", "json")
    assert result.code == 1
    assert "amplitude.region" in result.error["remedy"]
    assert place.amplitude.stats()["events_received"] == 0
    assert place.amplitude.stats()["requests"] == {"400": 1}
    assert KEY not in result.out + result.err


def test_a_key_that_only_a_real_batch_gets_refused_for_ends_the_run_too(place: Workplace) -> None:
    place.export(events=50, hours=1)
    place.configure(amplitude={**SMALL, "api_key": "f" * 32}, workers=1)
    result = place.do("run", "--output", "json")
    assert result.code == 1
    assert "amplitude.api_key" in result.error["remedy"]
    assert place.amplitude.stats()["events_held"] == 0
    assert "f" * 32 not in result.out + result.err


def test_a_proxy_that_refuses_gzip_costs_one_request_and_then_gets_plain_bodies(place: Workplace) -> None:
    written = place.export(events=350, hours=1)
    place.configure(amplitude={**SMALL, "gzip": True, "concurrency": 1}, workers=1)
    place.inject("- do: {refuse_gzip: true}")
    report = place.run()
    assert report["exit_code"] == 0
    assert place.amplitude.stats()["requests"]["415"] == 1
    nothing_is_lost(place, written)
