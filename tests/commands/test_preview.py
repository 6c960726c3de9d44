"""`braze-etl preview`: a record beside its event, field by field, and why a record is not sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from braze_etl.cli import run_command_line
from fixtures.generate import sample_record, write_avro

OPEN = "users.messages.email.Open"
PURCHASE = "users.behaviors.Purchase"
CONFIG = """\
source: {uri: export}
amplitude: {region: US}
mapping:
  choose: {exclude: [{events: users.messages.email.Open, where: {machine_open: "*"}}]}
  rules:
    - {rule: no campaign names, drop: campaign_name}
    - {rename: {ip_pool: Pool}, copy: {campaign_id: Campaign}, set: {channel: mail}}
    - {events: users.behaviors.Purchase, rename: {properties.size: Size}, lift: device}
  privacy: {drop: user_agent, hash: email_address, salt: s}
"""

Preview: TypeAlias = Callable[..., str]


@pytest.fixture
def preview(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Preview:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    Path("config.yaml").write_text(CONFIG)

    def command(event_type: str, *records: dict[str, Any], words: tuple[str, ...] = ()) -> str:
        write_avro(tmp_path / "some.avro", event_type, list(records))
        with pytest.raises(SystemExit) as ended:
            run_command_line(("preview", "some.avro", "-c", "config.yaml", *words))
        assert not ended.value.code
        return capsys.readouterr().out

    return command


def an_open(**fields: Any) -> dict[str, Any]:
    return sample_record(OPEN) | {
        "id": "0a1b2c3d-0000-4000-8000-00000000000a", "external_user_id": "customer-0001",
        "time": 1_790_000_000,
        "campaign_id": "c-1", "campaign_name": "Sale", "ip_pool": "main", "machine_open": None,
        "email_address": "ann@people.example", "user_agent": "Mozilla", "timezone": "UTC", **fields,
    }  # fmt: skip


def rows(out: str) -> dict[str, list[str]]:
    """The words of each line by the first of them."""
    lines = [line.split() for line in out.splitlines() if line.strip()]
    return {words[0]: words[1:] for words in lines}


def test_as_text_each_field_stands_beside_what_became_of_it_and_who_decided(preview: Preview) -> None:
    out = preview(OPEN, an_open(), words=("--output", "text"))
    shown = rows(out)
    assert f"record 1 of {OPEN}: sent as [Appboy] Email Open" in out
    assert out.splitlines()[1].split() == ["field", "in", "Currents", "in", "Amplitude", "by"]
    assert shown["campaign_name"] == ["Sale", "rule", "'no", "campaign", "names'"]
    assert shown["ip_pool"] == ["main", "Pool", "=", "main", "rule", "2"]
    assert shown["campaign_id"][:4] == ["c-1", "campaign_id", "=", "c-1"]
    assert "Campaign = c-1" in out
    assert shown["external_user_id"] == ["customer-0001", "user_id", "=", "customer-0001", "identity"]
    assert shown["time"] == ["1790000000", "time", "=", "1790000000000", "identity"]
    assert shown["timezone"] == ["UTC", "preset", "native"]
    assert shown["user_agent"][0] == "Mozilla"
    assert "privacy" in " ".join(shown["user_agent"])
    assert "channel = mail" in out
    assert "email_address = " in out
    assert "email_address = ann@" not in out


def test_a_record_that_is_not_sent_is_shown_with_the_rule_that_filtered_it(preview: Preview) -> None:
    out = preview(OPEN, an_open(machine_open="true"), words=("--output", "text"))
    assert (
        f"record 1 of {OPEN}: not sent: not_selected (excluded by choose.exclude 1 (machine_open: *))" in out
    )
    assert rows(out)["machine_open"] == ["true"]


def test_keys_of_a_json_text_stand_beside_it(preview: Preview) -> None:
    record = sample_record(PURCHASE) | {
        "external_user_id": "customer-0001", "properties": '{"size": "M", "gift": true}', "price": 9.5,
        "platform": "ios", "os_version": "18.1", "device_model": "iPhone",
    }  # fmt: skip
    out = preview(PURCHASE, record, words=("--output", "text"))
    assert "Size = M" in out
    assert "[Purchase property] gift = true" in out
    assert rows(out)["price"][:4] == ["9.5", "price", "=", "9.5"]
    assert out.count("platform = ios") == 2  # at the top, and a property


def test_as_json_there_is_one_object_a_line_and_the_record_is_not_in_it(preview: Preview) -> None:
    out = preview(OPEN, an_open(), an_open(machine_open="true"), an_open(external_user_id="ab"))
    first, second, third = map(json.loads, out.splitlines())
    assert first["event_type"] == "[Appboy] Email Open"
    assert first["event_properties"]["Pool"] == "main"
    assert "campaign_name" not in first["event_properties"]
    assert second == {
        "not_sent": "not_selected",
        "detail": "excluded by choose.exclude 1 (machine_open: *)",
    }
    assert third["not_sent"] == "invalid_user_id"
    assert "ann@people.example" not in out


def test_no_more_records_are_shown_than_were_asked_for(preview: Preview) -> None:
    records = [an_open(id=f"id-{number}") for number in range(9)]
    assert len(preview(OPEN, *records).splitlines()) == 5
    assert len(preview(OPEN, *records, words=("-n", "2")).splitlines()) == 2
    assert "record 2 of" in preview(OPEN, *records, words=("-n", "2", "--output", "text"))


def test_what_amplitude_can_not_take_is_shown_as_it_would_be_sent(preview: Preview) -> None:
    out = preview(OPEN, an_open(campaign_id="a\0b", ip_pool="x" * 2000))
    event = json.loads(out)
    assert event["event_properties"]["campaign_id"] == "ab"
    assert event["event_properties"]["Pool"] == "x" * 1024
