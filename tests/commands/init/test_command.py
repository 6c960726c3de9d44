"""From an unknown source to a first delivery, as somebody does who has just installed it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.commands.terminal import on_a_terminal, plain
from tests.deploy.gatekeeper import gatekeeper
from tests.deploy.policies import Grant
from tests.s3_server import Bucket
from tests.workplace import KEY, Workplace

FEW = ("users.messages.email.*", "users.behaviors.CustomEvent")
ENV = {"AMPLITUDE_API_KEY": KEY, "BRAZE_ETL_CONFIG": "braze-etl.yaml"}


@pytest.fixture
def shop(workplace: Workplace) -> Workplace:
    """An export of the last hours."""
    workplace.export(events=400, start=datetime.now(UTC) - timedelta(hours=4), event_types=FEW)
    return workplace


def deliver_to(place: Workplace) -> None:
    """Point the written configuration at the workplace's Amplitude, which nobody could have guessed."""
    path = place.folder / "braze-etl.yaml"
    text = path.read_text()
    path.write_text(text.replace("  region: US\n", f"  region: US\n  endpoint: {place.amplitude.url}\n"))


def test_the_first_day_from_init_to_a_delivery(shop: Workplace) -> None:
    made = shop.do("init", "--source", "export", "--region", "US", "--project", "acme")
    assert made.code == 0
    assert "users.messages.email.Open" in made.out
    assert "then: BRAZE_ETL_STATE_CREATE=auto braze-etl doctor" in made.out
    deliver_to(shop)
    assert shop.do("config", "check", **ENV).code == 0
    assert shop.do("doctor", **ENV).code == 1, "as it is, every run is refused for want of a ledger"
    assert shop.do("doctor", BRAZE_ETL_STATE_CREATE="auto", **ENV).code == 0
    planned = shop.do("plan", "--output", "json", **ENV).json
    assert planned["to_send"] > 0
    assert shop.do("run", **ENV).code == 2, "without a ledger nothing is sent"
    first = shop.do("run", "--output", "json", BRAZE_ETL_STATE_CREATE="auto", **ENV).json
    assert first["exit_code"] == 0
    sent = {event["event_type"] for event in shop.project.events()}
    assert "[Appboy] Email Open" in sent
    assert not sent & {"[Appboy] Email Send", "[Appboy] Email Delivery"}
    assert not [name for name in sent if "Custom Event" in name]
    assert all("email_address" not in event["event_properties"] for event in shop.project.events())
    assert shop.do("run", **ENV).code == 0


def test_a_first_run_far_above_the_estimate_has_to_be_confirmed(shop: Workplace) -> None:
    shop.do("init", "--source", "export", "--region", "US")
    deliver_to(shop)
    shop.export(events=9000, start=datetime.now(UTC) - timedelta(hours=4), event_types=FEW)
    refused = shop.do("run", BRAZE_ETL_STATE_CREATE="auto", **ENV)
    assert refused.code == 2
    assert "--confirm-first-run" in refused.err


def test_a_bucket_is_looked_at_and_gets_its_state_beside_it(shop: Workplace, bucket: Bucket) -> None:
    client: Any = boto3.client("s3", endpoint_url=bucket.endpoint_url)
    for path in shop.files():
        key = f"currents/{path.relative_to(shop.source).as_posix()}"
        client.put_object(Bucket=bucket.name, Key=key, Body=path.read_bytes())
    reach = ("--endpoint-url", bucket.endpoint_url, "--source-region", "us-east-1")
    made = shop.do("init", "--source", f"{bucket.uri}/currents", *reach, "--region", "US", "--output", "json")
    assert made.json["by_event_type"]["users.messages.email.Open"]["events"] > 0
    assert made.json["codecs"] == {"null": made.json["codecs"]["null"]}
    deliver_to(shop)
    checked = shop.do("doctor", "--output", "json", BRAZE_ETL_STATE_CREATE="auto", **ENV).json
    assert checked["exit_code"] == 0, [each for each in checked["checks"] if each["status"] == "fail"]
    assert shop.do("run", BRAZE_ETL_STATE_CREATE="auto", **ENV).code == 0
    assert shop.accepted_ids()
    listed = client.list_objects_v2(Bucket=bucket.name, Prefix="braze-etl/")["Contents"]
    assert {found["Key"].split("/")[2] for found in listed} == {"ledger"}


def test_a_lost_ledger_is_told_as_that_and_not_as_a_first_run(shop: Workplace) -> None:
    shop.do("init", "--source", "export", "--region", "US")
    deliver_to(shop)
    assert shop.do("run", BRAZE_ETL_STATE_CREATE="auto", **ENV).code == 0
    (shop.folder / "state/default.db").unlink()
    shop.export(events=9000, start=datetime.now(UTC) - timedelta(hours=4), event_types=FEW)
    refused = shop.do("run", **ENV)
    assert refused.code == 2
    assert "There is no ledger at" in refused.err
    assert "--confirm-first-run" not in refused.err


def test_a_whole_bucket_is_narrowed_to_where_the_files_are(shop: Workplace) -> None:
    (shop.folder / "bucket").mkdir()
    shop.source.rename(shop.folder / "bucket/currents")
    made = shop.do("init", "--source", "bucket", "--region", "US")
    assert "source.uri: bucket/currents, where all of it lies" in made.out
    assert "  uri: bucket/currents\n" in (shop.folder / "braze-etl.yaml").read_text()


def test_two_connectors_that_write_the_same_are_told_at_once(workplace: Workplace) -> None:
    start = datetime.now(UTC) - timedelta(hours=4)
    workplace.export(events=400, start=start, event_types=FEW, integrations=2)
    made = workplace.do("init", "--source", "export", "--region", "US")
    assert "event types, such as users.behaviors.CustomEvent, come from" in made.out
    assert made.code == 0


def test_a_source_that_ended_long_ago_comes_with_a_hint_at_backfill(workplace: Workplace) -> None:
    workplace.export(events=100, start=datetime(2026, 3, 1, tzinfo=UTC), event_types=FEW)
    made = workplace.do("init", "--source", "export", "--region", "US")
    assert "a run would find nothing to send" in made.out
    assert "`braze-etl backfill`" in made.out


def test_files_that_may_not_be_read_are_counted_with_the_right_that_is_missing(
    shop: Workplace, bucket: Bucket
) -> None:
    client: Any = boto3.client("s3", endpoint_url=bucket.endpoint_url)
    for path in shop.files():
        key = f"currents/{path.relative_to(shop.source).as_posix()}"
        client.put_object(Bucket=bucket.name, Key=key, Body=path.read_bytes())
    with gatekeeper(bucket.endpoint_url, [Grant("s3:ListBucket", f"arn:aws:s3:::{bucket.name}")]) as gate:
        made = shop.do("init", "--source", f"{bucket.uri}/currents", "--endpoint-url", gate.url)
    (told,) = [line for line in made.out.splitlines() if "could not be read" in line]
    asked = told.split()[2]
    assert told.startswith(f"{asked} of {asked} sampled files could not be read")
    assert "-> allow s3:GetObject" in made.out


@pytest.mark.parametrize("state", ["foo/bar", "/abs/x.db", "sqlite:///export/x.db"])
def test_a_state_that_no_command_could_use_is_refused_at_once(shop: Workplace, state: str) -> None:
    refused = shop.do("init", "--source", "export", "--state", state)
    assert refused.code == 2
    assert "lies below" in refused.err or "no place for a ledger" in refused.err
    assert not (shop.folder / "braze-etl.yaml").exists()


def test_on_a_narrow_terminal_no_name_is_broken(shop: Workplace) -> None:
    long = "users.behaviors.pushnotification.TokenStateChange"
    shop.export(events=50, start=datetime.now(UTC) - timedelta(hours=4), event_types=(long,))
    words = ("init", "--source", "export", "--force")
    code, _, told = on_a_terminal(shop, *words, width=80, stdout_too=True)
    (line,) = [line for line in plain(told).splitlines() if line.startswith(f"{long} ")]
    assert code == 0
    assert len(line) <= 80
    assert "%" in line


def test_a_file_that_is_there_is_left_alone_unless_forced(shop: Workplace) -> None:
    target = shop.folder / "mine.yaml"
    target.write_text("mine")
    refused = shop.do("init", "--source", "export", "-o", "mine.yaml")
    assert (refused.code, target.read_text()) == (2, "mine")
    assert "--force" in refused.err
    assert shop.do("init", "--source", "export", "-o", "mine.yaml", "--force").code == 0
    assert "start_at" in target.read_text()


def test_a_region_that_was_not_given_is_told_in_the_file(shop: Workplace) -> None:
    shop.do("init", "--source", "export")
    assert "The region was not given" in (shop.folder / "braze-etl.yaml").read_text()


def test_a_source_that_is_not_there_writes_nothing(workplace: Workplace) -> None:
    missing = workplace.do("init", "--source", "nowhere", "--output", "json")
    assert missing.code == 1
    assert missing.error["type"] == "StoreError"
    assert not (workplace.folder / "braze-etl.yaml").exists()


def test_a_folder_without_currents_files_is_a_mistake_of_the_caller(workplace: Workplace) -> None:
    Path(workplace.source / "x").mkdir(parents=True)
    assert workplace.do("init", "--source", "export").code == 2


def test_an_option_that_the_configuration_would_refuse_is_refused_at_once(shop: Workplace) -> None:
    refused = shop.do("init", "--source", "export", "--project", "")
    assert refused.code == 2
    assert not (shop.folder / "braze-etl.yaml").exists()


def test_the_file_is_written_where_no_folder_is_missing(shop: Workplace) -> None:
    refused = shop.do("init", "--source", "export", "-o", "no/such/folder.yaml")
    assert refused.code == 2
    assert "can't be written" in refused.err
