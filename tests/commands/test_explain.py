"""`braze-etl explain`: the life of one event, over each outcome, as the whole program tells it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from braze_etl.flows.currents_to_amplitude.explain.search import RecordPlace
from braze_etl.sandbox.amplitude.event_store import Drops
from braze_etl.sandbox.amplitude.project import Project
from braze_etl.sandbox.amplitude.read_api import ReadOptions
from braze_etl.sandbox.amplitude.replies import Reply
from fixtures.generate import sample_record, write_avro
from tests.faults.conftest import Picky
from tests.workplace import KEY, Workplace

OPEN = "users.messages.email.Open"
HOUR = "2026-10-01-05"
SINCE = ("--from", "2026-10-01T05", "--to", "2026-10-01T07")


def file_of(place: Workplace, name: str = "1", *, kind: str = OPEN, hour: str = HOUR) -> Path:
    folder = place.source / f"dataexport.prod-01.S3.integration.abc/event_type={kind}/date={hour}"
    return folder / f"version=10/production/dataexport.prod-01.S3.integration.abc+0+{name}.avro"


def key_of(place: Workplace, path: Path) -> str:
    return path.relative_to(place.source).as_posix()


def record(number: int, kind: str = OPEN, **fields: Any) -> dict[str, Any]:
    made = sample_record(kind, number) | {"id": f"event-{number:04}", "machine_open": None}
    return made | {"external_user_id": f"customer-{number:04}", "time": 1_790_830_000 + number} | fields


def write(place: Workplace, *records: dict[str, Any], **where: Any) -> str:
    path = file_of(place, **where)
    write_avro(path, where.get("kind", OPEN), records)
    return key_of(place, path)


def explained(place: Workplace, id_: str, *words: str) -> dict[str, Any]:
    result = place.do("explain", id_, *words, "--output", "json")
    assert result.code == 0, (result.out, result.err)
    return result.json


def outcome(place: Workplace, id_: str) -> dict[str, Any]:
    found: dict[str, Any] = explained(place, id_, *SINCE)["outcome"]
    return found


def test_an_event_that_amplitude_took_has_its_file_its_run_and_the_time_it_was_sent(
    workplace: Workplace,
) -> None:
    key = write(workplace, record(1), record(2))
    run = workplace.run()
    found = explained(workplace, "event-0002", *SINCE)
    assert found["position"].startswith(f"{key}#")
    assert (found["event_type"], found["file"]["hour"]) == (OPEN, "2026-10-01T05:00:00Z")
    assert (found["file"]["state"], found["file"]["run_id"], found["file"]["command"]) == (
        "done",
        run["run_id"],
        "run",
    )
    assert run["started_at"][:19] <= found["file"]["sent_from"][:19] <= run["finished_at"][:19]
    assert found["verdict"] == {"sent": True, "name": "[Appboy] Email Open", "rule": "preset native"}
    assert (found["outcome"]["ending"], found["outcome"]["sent_as"]) == ("accepted", "[Appboy] Email Open")
    by_place = explained(workplace, found["position"])
    assert by_place == found


def test_no_id_of_a_person_is_shown_unless_it_is_asked_for(workplace: Workplace) -> None:
    write(workplace, record(1, email_address="mail@example.com"))
    workplace.run()
    personal = ("customer-0001", "mail@example.com")
    for words in ((), ("--output", "json")):
        shown = workplace.do("explain", "event-0001", *SINCE, *words).out
        assert not [each for each in personal if each in shown]
        assert "campaign_id" in shown
    ids = explained(workplace, "event-0001", *SINCE, "--show-ids")
    assert (ids["identity"], ids["record"]["external_user_id"]) == ("customer-0001", "customer-0001")
    assert ids["record"]["email_address"] == "***"
    whole = workplace.do("explain", "event-0001", *SINCE, "--record").out
    assert all(each in whole for each in personal)


FILTERS: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "nobody": (
        {"external_user_id": None, "device_id": None},
        {},
        "no_identity",
        "mapping.identity.anonymous",
    ),
    "a choice": (
        {"machine_open": "true"},
        {"choose": {"exclude": [{"events": OPEN, "where": {"machine_open": "*"}}]}},
        "not_selected",
        "mapping.choose",
    ),
    "a list": ({}, {"privacy": {"suppress": "gone.txt"}}, "suppressed", "mapping.privacy.suppress"),
    "a shared id": ({}, {"identity": {"shared": ["customer-0001"]}}, "shared_id", "mapping.identity.shared"),
    "a table": (
        {},
        {"identity": {"lookup": {"uri": "ids.csv", "missing": "filter"}}},
        "unknown_user",
        "mapping.identity.lookup",
    ),
    "a test event": (
        {"id": "event-0001-filler-events", "time": 2_033_802_504, "send_id": "f123456789"},
        {},
        "test_event",
        "mapping.test_events",
    ),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_filtered_event_has_the_rule_behind_it(workplace: Workplace, name: str) -> None:
    fields, mapping, reason, rule = FILTERS[name]
    (workplace.folder / "gone.txt").write_text("customer-0001\n")
    (workplace.folder / "ids.csv").write_text("braze_id,amplitude_id\nsomebody-else,another\n")
    workplace.configure(mapping=mapping)
    written = record(1, **fields)
    write(workplace, written, record(2))
    workplace.run()
    found = outcome(workplace, written["id"])
    assert (found["ending"], found["reason"], found["rule"]) == ("filtered", reason, rule)
    assert found["detail"]
    assert "customer-0001" not in found["detail"]


@pytest.mark.parametrize(
    ("kind", "mapping", "reason", "rule"),
    [
        ("agentconsole.ToolInvocation", {}, "not_in_native", "the preset"),
        (
            OPEN,
            {"choose": {"exclude": [{"events": "users.messages.email.*"}]}},
            "not_selected",
            "mapping.choose",
        ),
    ],
)
def test_a_type_that_is_not_sent_has_the_rule_behind_it(
    workplace: Workplace, kind: str, mapping: dict[str, Any], reason: str, rule: str
) -> None:
    workplace.configure(mapping=mapping)
    write(workplace, record(1, kind), kind=kind)
    workplace.run()
    found = outcome(workplace, "event-0001")
    assert (found["ending"], found["reason"]) == ("filtered", reason)
    assert found["rule"].startswith(rule)


def test_the_mapping_that_judged_then_is_told_apart_from_the_one_in_force(workplace: Workplace) -> None:
    write(workplace, record(1))
    workplace.run()
    workplace.configure(mapping={"choose": {"exclude": [{"events": OPEN}]}})
    found = explained(workplace, "event-0001", *SINCE)
    assert (found["verdict"]["sent"], found["verdict"]["reason"]) == (False, "not_selected")
    assert found["outcome"]["ending"] == "accepted"


def test_an_event_that_the_budget_held_is_filtered_by_it(workplace: Workplace) -> None:
    workplace.configure(budget={"per_day": 1, "stop": ["*"]}, workers=1)
    write(workplace, record(1))
    write(workplace, record(2), name="2", hour="2026-10-01-06")
    workplace.run("--confirm-first-run")
    found = outcome(workplace, "event-0002")
    assert (found["ending"], found["reason"], found["rule"]) == ("filtered", "held", "budget.stop")


def test_an_event_that_was_set_aside_has_its_entry_and_then_what_became_of_it(workplace: Workplace) -> None:
    write(workplace, record(1, external_user_id="u1"), record(2), record(3, external_user_id="u3"))
    assert workplace.run()["exit_code"] == 3
    found = outcome(workplace, "event-0001")
    assert (found["ending"], found["reason"]) == ("quarantined", "invalid_user_id")
    assert workplace.do("quarantine", "show", found["entry"]).code == 0
    workplace.configure(amplitude={"min_id_length": 1})
    other = outcome(workplace, "event-0003")["entry"]
    assert workplace.do("quarantine", "replay", "--id", found["entry"]).code == 0
    assert outcome(workplace, "event-0001")["ending"] == "accepted"
    workplace.configure()
    assert workplace.do("quarantine", "drop", "--id", other).code == 0
    found = outcome(workplace, "event-0003")
    assert (found["ending"], found["reason"]) == ("dropped", "invalid_user_id")


def test_an_event_that_amplitude_refuses_has_its_words_without_the_person(workplace: Workplace) -> None:
    write(workplace, record(1), record(2))
    body = "{code: 400, error: 'user customer-0001 is bad', events_with_invalid_fields: {time: [0]}}"
    workplace.inject(f"- when: {{request: 2}}\n  do: {{reply: {{status: 400, body: {body}}}}}")
    assert workplace.run()["exit_code"] == 3
    found = outcome(workplace, "event-0001")
    assert (found["ending"], found["reason"], found["rule"]) == (
        "quarantined",
        "rejected",
        "Amplitude's answer",
    )
    assert "customer-0001" not in found["detail"]
    assert outcome(workplace, "event-0002")["ending"] == "accepted"


def test_an_event_that_waits_has_the_earliest_time(workplace: Workplace) -> None:
    write(workplace, record(1), record(2))
    user = "customer-0001"

    def refuse(events: list[dict[str, Any]]) -> Reply | None:
        body = {"code": 429, "error": "Too many requests", "exceeded_daily_quota_users": {user: 500_001}}
        return Reply(429, body) if any(event.get("user_id") == user for event in events) else None

    workplace.become(Picky(refuse))
    assert workplace.run()["exit_code"] == 4
    found = outcome(workplace, "event-0001")
    assert (found["ending"], found["reason"]) == ("deferred", "daily_quota")
    assert found["not_before"] > "2026"
    workplace.become(Project(api_key=KEY))
    workplace.let_waits_pass()
    workplace.run()
    assert outcome(workplace, "event-0001")["ending"] == "accepted"


def test_a_record_in_a_damaged_block_is_in_the_entry_of_its_stretch(workplace: Workplace) -> None:
    path = file_of(workplace)
    records = [record(number) for number in range(400)]
    write_avro(path, OPEN, records, "deflate", 4000)
    workplace.run()
    place = RecordPlace.parse(explained(workplace, "event-0200", *SINCE)["position"])
    assert place is not None
    workplace.ledger.unlink()
    data = bytearray(path.read_bytes())
    data[place.block + 40 : place.block + 60] = bytes(20)
    path.write_bytes(data)
    assert workplace.run()["exit_code"] == 3
    found = explained(workplace, str(place))
    assert (found["outcome"]["ending"], found["outcome"]["reason"]) == ("quarantined", "damaged_block")
    assert (found["record"], found["verdict"], found["file"]["state"]) == (None, None, "failed")
    missed = workplace.do("explain", "event-0200", *SINCE, "--output", "json")
    assert (missed.code, "1 stretches of them are damaged" in missed.error["message"]) == (1, True)


def test_an_event_that_no_run_has_read_says_why(workplace: Workplace) -> None:
    write(workplace, record(1))
    found = explained(workplace, "event-0001", *SINCE)
    assert (found["outcome"]["ending"], found["file"]["state"]) == ("due", None)
    assert found["verdict"]["sent"]
    workplace.run()
    write(workplace, record(2), hour="2026-09-30-05")
    early = explained(workplace, "event-0002", "--from", "2026-09-30", "--to", "2026-09-30")
    assert early["outcome"]["ending"] == "before_start"
    workplace.configure(source={"event_types": ["!users.messages.email.*"]})
    write(workplace, record(3), name="3")
    key = key_of(workplace, file_of(workplace, "3"))
    left_out = explained(workplace, "event-0003", "--file", key)
    assert (left_out["outcome"]["ending"], left_out["outcome"]["rule"]) == (
        "not_selected",
        "source.event_types",
    )


def test_a_file_that_changed_since_is_told_of(workplace: Workplace) -> None:
    write(workplace, record(1))
    workplace.run()
    write(workplace, record(1), record(2))
    assert outcome(workplace, "event-0002")["ending"] == "changed"


def test_a_file_that_is_gone_leaves_what_the_books_say(workplace: Workplace) -> None:
    write(workplace, record(1, external_user_id="u1"), record(2))
    workplace.run()
    aside, sent = (explained(workplace, each, *SINCE)["position"] for each in ("event-0001", "event-0002"))
    file_of(workplace).unlink()
    found = explained(workplace, aside)
    assert (found["outcome"]["ending"], found["record"]) == ("quarantined", None)
    assert explained(workplace, sent)["outcome"]["ending"] == "unknown"


@pytest.mark.parametrize(
    ("id_", "words", "code", "said"),
    [
        ("nobody-knows", SINCE, 1, "1 files of the hours from 2026-10-01T05:00:00Z to before"),
        ("nobody-knows", (), 1, "0 files of the hours"),
        ("nobody-knows", ("--file", "KEY"), 1, "1 files, 0.0 MB"),
        ("KEY#1000000#0", (), 0, ""),
        ("KEY2#100#0", (), 1, "not in the source"),
        ("some.avro#100#0", (), 2, "no key of a Currents file"),
        ("nobody-knows", ("--until", "2026-10-01", "--from", "2026-10-02"), 2, "the range is empty"),
    ],
)
def test_what_is_not_found_is_told_with_what_was_searched(
    workplace: Workplace, id_: str, words: tuple[str, ...], code: int, said: str
) -> None:
    key = write(workplace, record(1))
    workplace.run()
    names = {"KEY": key, "KEY2": key.replace("+1.avro", "+2.avro")}
    whole, _, rest = id_.partition("#")
    asked = f"{names.get(whole, whole)}#{rest}" if rest else id_
    result = workplace.do("explain", asked, *(names.get(word, word) for word in words), "--output", "json")
    assert result.code == code, result.out
    assert code == 0 or said in result.error["message"]


def test_the_number_of_a_record_that_its_block_does_not_have_is_refused(workplace: Workplace) -> None:
    write(workplace, record(1))
    place = RecordPlace.parse(explained(workplace, "event-0001", *SINCE)["position"])
    assert place is not None
    result = workplace.do("explain", f"{place.key}#{place.block}#7", "--output", "json")
    assert (result.code, "has 1 records" in result.error["message"]) == (1, True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a/b.avro#12#3", RecordPlace("a/b.avro", 12, 3)),
        ("a#b.avro#12#3", RecordPlace("a#b.avro", 12, 3)),
        ("a/b.avro#12", None),
        ("#12#3", None),
        ("a#12#-1", None),
        ("0a1b2c3d-0000-4000-8000-00000000000a", None),
    ],
)
def test_a_position_is_told_from_an_insert_id(text: str, expected: RecordPlace | None) -> None:
    assert RecordPlace.parse(text) == expected
    assert expected is None or str(expected) == text


def test_that_the_person_was_erased_is_told(workplace: Workplace) -> None:
    write(workplace, record(1), record(2))
    workplace.run()
    assert workplace.do("erase", "--user", "customer-0001").code == 0
    found = outcome(workplace, "event-0001")
    assert (found["ending"], "was erased here" in found["notes"][0]) == ("accepted", True)
    assert outcome(workplace, "event-0002")["notes"] == []


def read_side(place: Workplace, **fields: Any) -> None:
    """Configure the secret key, and the stand-in as what is read from."""
    amplitude = {"secret_key": "wrong-secret-0001", "read_endpoint": place.amplitude.url}
    place.configure(amplitude={**amplitude, **fields})


def presence(place: Workplace, id_: str, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = explained(place, id_, *SINCE, *words)["amplitude"]
    return found


def test_amplitude_is_asked_whether_it_has_the_event(workplace: Workplace) -> None:
    read_side(workplace)
    workplace.project.drops = Drops(users=frozenset({"customer-0002"}))
    write(workplace, *(record(number) for number in range(1, 4)))
    write(workplace, record(4, external_user_id="customer-0001"), name="2", hour="2026-10-01-06")
    write(workplace, record(5, external_user_id=None), name="3", hour="2026-10-01-06")
    workplace.run()
    write(workplace, record(6, external_user_id="customer-0001"), name="4", hour="2026-10-01-07")
    there = presence(workplace, "event-0004")
    assert (there["has_it"], "as [Appboy] Email Open, uploaded 20" in there["words"]) == (True, True)
    assert presence(workplace, "event-0002") == {
        "has_it": False,
        "words": "it knows nobody by the id of this event",
    }
    assert explained(workplace, "event-0002", *SINCE)["outcome"]["ending"] == "accepted"
    not_sent = presence(workplace, "event-0006")
    assert (not_sent["has_it"], "not among the 2 events" in not_sent["words"]) == (False, True)
    assert presence(workplace, "event-0005")["has_it"] is None
    assert presence(workplace, "event-0004", "--no-ask") == {"has_it": None, "words": "not asked"}
    text = workplace.do("explain", "event-0004", *SINCE).out
    assert "yes: as [Appboy] Email Open" in text
    assert "customer-0001" not in text


def test_without_a_secret_key_or_with_a_wrong_one_the_rest_is_told(workplace: Workplace) -> None:
    write(workplace, record(1))
    workplace.run()
    assert presence(workplace, "event-0001")["words"].endswith("amplitude.secret_key is not set")
    read_side(workplace, secret_key="${AMPLITUDE_SECRET_KEY}")  # a variable that is not set
    assert "AMPLITUDE_SECRET_KEY" in presence(workplace, "event-0001")["words"]
    workplace.become(Project(api_key=KEY, reads=ReadOptions(secret_key="another")))
    read_side(workplace)
    refused = presence(workplace, "event-0001")
    assert (refused["has_it"], "refused the keys" in refused["words"]) == (None, True)
    assert "wrong-secret-0001" not in refused["words"]
