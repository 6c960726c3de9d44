from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.workplace import Workplace

OPENS = ("users.messages.email.Open",)


@pytest.fixture
def shop(workplace: Workplace) -> Workplace:
    """An export of the last hours."""
    workplace.export(events=100, start=datetime.now(UTC) - timedelta(hours=4), event_types=OPENS)
    return workplace


def test_a_pipeline_that_is_well_is_told_line_by_line(shop: Workplace) -> None:
    result = shop.do("doctor")
    assert (result.code, result.err) == (0, "")
    for name in ("config", "source.read", "records.ids", "state.ledger", "amplitude.key"):
        assert any(line.startswith("ok") and f" {name} " in line for line in result.out.splitlines()), name
    assert result.out.splitlines()[-1].endswith("skipped")
    assert list(shop.project.events()) == []


def test_json_has_every_check_with_status_and_remedy(shop: Workplace) -> None:
    found = shop.do("doctor", "--output", "json").json
    assert found["exit_code"] == 0
    assert sum(found["counts"].values()) == len(found["checks"])
    assert {each["status"] for each in found["checks"]} <= {"ok", "warn", "fail", "skipped"}
    assert all(bool(each["remedy"]) is (each["status"] in {"warn", "fail"}) for each in found["checks"])


def test_a_failure_hides_no_other_and_ends_with_1(shop: Workplace) -> None:
    shop.configure(amplitude={"api_key": "f" * 32}, source={"uri": "nowhere"})
    found = shop.do("doctor", "--output", "json")
    status = {each["check"]: each["status"] for each in found.json["checks"]}
    assert found.code == found.json["exit_code"] == 1
    assert (status["source.list"], status["source.read"]) == ("fail", "skipped")
    assert (status["amplitude.reachable"], status["amplitude.key"]) == ("ok", "fail")
    text = shop.do("doctor")
    assert text.code == 1
    assert "-> Check `amplitude.api_key`" in text.out


def test_a_variable_that_is_not_set_is_one_failure_and_not_the_end(shop: Workplace) -> None:
    shop.configure(amplitude={"api_key": "${AMPLITUDE_API_KEY}"})
    found = shop.do("doctor", "--output", "json", AMPLITUDE_API_KEY="").json
    status = {each["check"]: each["status"] for each in found["checks"]}
    assert (status["environment"], status["amplitude.key"], status["source.read"]) == (
        "fail",
        "skipped",
        "ok",
    )


def test_a_broken_configuration_ends_with_2(shop: Workplace) -> None:
    shop.configure(source={"no_such_key": 1})
    result = shop.do("doctor", "--output", "json")
    assert result.code == 2
    assert result.error["type"] == "ConfigError"


def test_the_key_is_never_shown(shop: Workplace) -> None:
    shop.configure(amplitude={"api_key": "abcdefabcdefabcdefabcdefabcdefab"})
    for form in ("text", "json"):
        assert "abcdefabcdef" not in shop.do("doctor", "--output", form).out


def test_send_test_sends_one_marked_event(shop: Workplace) -> None:
    result = shop.do("doctor", "--send-test")
    assert result.code == 0
    (event,) = shop.project.events()
    assert event["event_type"] == "[braze_etl] Test"
    assert event["device_id"] in result.out


def test_after_a_run_the_ledger_and_the_schedule_are_told(shop: Workplace) -> None:
    shop.run()
    found = {each["check"]: each for each in shop.do("doctor", "--output", "json").json["checks"]}
    assert "schema" in found["state.ledger"]["seen"]
    assert "last complete listing" in found["schedule"]["seen"]
    assert found["state.lease"]["seen"] == "free"
