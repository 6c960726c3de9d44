from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from braze_etl.braze.currents.keys import CurrentsKey, date_folder, integration_of, parse_key

ID = "69cadaaed2d51b7c75b1a3e5"
FOLDER = f"dataexport.prod-01.S3.integration.{ID}"
HOUR = datetime(2026, 10, 1, 5, tzinfo=UTC)


def _parsed(key: str) -> CurrentsKey:
    found = parse_key(key)
    assert found is not None
    return found


@pytest.mark.parametrize("tail", [f"version=6/us-01/{FOLDER}+0+123456.avro", f"421/a/{FOLDER}+3+7.avro"])
def test_both_layouts_say_connector_type_and_hour(tail: str) -> None:
    key = f"currents/{FOLDER}/event_type=users.messages.email.Open/date=2026-10-01-05/{tail}"
    assert parse_key(key) == CurrentsKey(ID, "users.messages.email.Open", HOUR)


@pytest.mark.parametrize("connection", ["S3", "GCS", "AzureBlob", "Another"])
@pytest.mark.parametrize("cluster", ["prod-01", "prod-05", "eu-99"])
def test_no_cluster_or_connection_is_enumerated(cluster: str, connection: str) -> None:
    folder = f"dataexport.{cluster}.{connection}.integration.{ID}"
    found = _parsed(f"x/{folder}/event_type=a.B/date=2026-10-01-05/version=6/us-01/{folder}+0+1.avro")
    assert found.integration == ID


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "currents",
        "a/b/c",
        "with space/ü",
        "date=2020-01-01-00",
        "event_type=x/date=2020-01-01-00",
        "a//b",
    ],
)
def test_any_prefix_may_stand_before_it(prefix: str) -> None:
    below = f"{FOLDER}/event_type=a.B/date=2026-10-01-05/version=6/us-01/{FOLDER}+0+1.avro"
    found = _parsed(f"{prefix}/{below}" if prefix else below)
    assert (found.event_type, found.hour) == ("a.B", HOUR)


@pytest.mark.parametrize("tail", ["file.avro", "version=6/file.avro", "a/b/c/d.avro", "6/.avro"])
def test_an_unknown_tail_is_taken_if_it_is_avro(tail: str) -> None:
    found = _parsed(f"{FOLDER}/event_type=a.B/date=2026-10-01-05/{tail}")
    assert (found.integration, found.event_type) == (ID, "a.B")


@pytest.mark.parametrize("prefix", ["", "copied/here/"])
def test_a_key_below_the_integration_folder_takes_it_from_the_file(prefix: str) -> None:
    found = _parsed(f"{prefix}event_type=a.B/date=2026-10-01-05/version=6/us-01/{FOLDER}+0+1.avro")
    assert found.integration == ID


def test_the_case_of_an_event_type_is_kept() -> None:
    found = _parsed(
        f"{FOLDER}/event_type=users.messages.email.click/date=2026-10-01-05/1/a/{FOLDER}+0+1.avro"
    )
    assert found.event_type == "users.messages.email.click"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "currents/",
        f"currents/{FOLDER}/",
        "dashboards/export.csv",
        f"{FOLDER}/event_type=a.B/date=2026-10-01-05/version=6/us-01/{FOLDER}+0+1.csv",
        f"{FOLDER}/event_type=a.B/date=2026-10-01-05/version=6/us-01/{FOLDER}+0+1.avro.tmp",
        f"{FOLDER}/event_type=a.B/date=2026-13-01-99/version=6/us-01/{FOLDER}+0+1.avro",
        f"{FOLDER}/event_type=a.B/date=2026-02-30-00/1/a/{FOLDER}+0+1.avro",
        f"{FOLDER}/event_type=a.B/date=2026-10-01-24/1/a/{FOLDER}+0+1.avro",
        f"{FOLDER}/event_type=a.B/date=2026-10-01/1/a/{FOLDER}+0+1.avro",
        f"{FOLDER}/event_type=a.B/date=0000-10-01-01/1/a/{FOLDER}+0+1.avro",
        f"{FOLDER}/event_type=/date=2026-10-01-05/1/a/{FOLDER}+0+1.avro",
        f"{FOLDER}/date=2026-10-01-05/event_type=a.B/1/a/{FOLDER}+0+1.avro",
        f"{FOLDER}/event_type=a.B/extra/date=2026-10-01-05/1/a/{FOLDER}+0+1.avro",
        "other/event_type=a.B/date=2026-10-01-05/part-0.avro",
        f"{FOLDER}/event_type=a.B/date=2026-10-01-05/1/\udcff/{FOLDER}+0+1.avro",
        f"{FOLDER}/event_type=a.B/date=\uff12\uff10\uff12\uff16-10-01-05/1/a/{FOLDER}+0+1.avro",
    ],
)
def test_other_objects_are_no_currents_files(key: str) -> None:
    assert parse_key(key) is None


def test_the_folder_of_an_hour_is_utc() -> None:
    east = timezone(timedelta(hours=2))
    assert date_folder(datetime(2026, 10, 1, 1, 30, tzinfo=east)) == "date=2026-09-30-23"


def test_an_integration_folder_is_told_from_others() -> None:
    assert integration_of(FOLDER) == ID
    assert integration_of("dataexport") is None
