from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

# The session's S3 and the workplace come from the conftest files.


def test_everything_due_arrives_once_and_the_books_balance(workplace: Any) -> None:
    written = workplace.export(events=6000, awkward=0.02, duplicates=0.02, codec="mixed", layout="both")
    report = workplace.run()
    assert workplace.accepted_ids() == written.must_arrive()
    assert report["exit_code"] == 3
    assert report["files"]["done"] == report["files"]["discovered"] == written.summary.files
    assert report["events"]["read"] == written.summary.events
    awkward = [record["awkward"] for record in written.records if record.get("awkward")]
    assert report["reasons"]["redacted_identity"] == awkward.count("redacted_user_id")
    assert report["reasons"]["test_event"] == awkward.count("test_event")
    refused = awkward.count("short_user_id") + awkward.count("reserved_user_id")
    assert report["reasons"]["invalid_user_id"] == refused
    assert report["events"]["quarantined"] == refused + awkward.count("redacted_user_id")


def test_a_second_run_sends_nothing(workplace: Any) -> None:
    workplace.export(events=500)
    workplace.run()
    before = workplace.amplitude.stats()["events_received"]
    report = workplace.run()
    assert report["exit_code"] == 0
    assert report["files"] == {"discovered": 0, "done": 0, "failed": 0, "remaining": 0, "bytes": 0}
    assert workplace.amplitude.stats()["events_received"] == before


def test_the_ledger_says_when_each_file_was_accepted(workplace: Any) -> None:
    workplace.export(events=500)
    report = workplace.run()
    with closing(sqlite3.connect(workplace.ledger)) as ledger:
        times = ledger.execute("SELECT accepted, sent_from, sent_to FROM files").fetchall()
    since, until = (
        int(datetime.fromisoformat(report[name]).timestamp()) for name in ("started_at", "finished_at")
    )
    sent = [(first, last) for accepted, first, last in times if accepted]
    assert sent
    assert all(since <= first <= last <= until for first, last in sent)
    assert all((first, last) == (None, None) for accepted, first, last in times if not accepted)


def test_a_source_that_deletes_files_too_soon_is_told(workplace: Any, bucket: Any) -> None:
    client: Any = boto3.client("s3", endpoint_url=bucket.endpoint_url)
    rule = {"Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
    client.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration={"Rules": [rule]})
    workplace.configure(source={"uri": bucket.uri, "endpoint_url": bucket.endpoint_url})
    result = workplace.do("run", "--output", "json")
    assert result.code == 0
    assert "lifecycle rule" in result.err


def test_a_lost_ledger_is_told_and_what_it_knew_arrives_once_more_and_counts_once(workplace: Any) -> None:
    workplace.export(events=300, hours=2, duplicates=0)
    workplace.run()
    held = workplace.accepted_ids()
    shutil.rmtree(workplace.folder / "state")
    result = workplace.do("run", "--output", "json")
    assert "this ledger is new" in result.err
    assert result.json["events"]["accepted"] == len(held)
    assert workplace.accepted_ids() == held


def test_the_same_from_s3_with_several_integrations_under_a_prefix(workplace: Any, bucket: Any) -> None:
    written = workplace.export(events=1500, integrations=2, layout="both", codec="mixed")
    upload(workplace.source, bucket, "some/where/")
    workplace.configure(source={"uri": f"{bucket.uri}/some/where", "endpoint_url": bucket.endpoint_url})
    report = workplace.run()
    assert report["exit_code"] in (0, 3)
    assert workplace.accepted_ids() == written.must_arrive()
    assert workplace.run()["files"]["discovered"] == 0


def test_the_quarantine_may_lie_in_s3(workplace: Any, bucket: Any) -> None:
    workplace.export(events=600, awkward=0.1)
    quarantine = {"uri": f"{bucket.uri}/aside", "endpoint_url": bucket.endpoint_url}
    workplace.configure(quarantine=quarantine)
    report = workplace.run()
    listed = workplace.do("quarantine", "list", "--output", "json").json
    assert listed["total"] == report["events"]["quarantined"] > 0
    shown = workplace.do("quarantine", "show", listed["entries"][0]["id"], "--output", "json").json
    assert shown == listed["entries"][0]


def test_what_is_no_currents_file_is_counted_and_left_alone(workplace: Any) -> None:
    written = workplace.export(events=200)
    folder = next(workplace.source.glob("dataexport.*/event_type=*/date=*"))
    (folder / "notes.csv").write_text("a,b\n")
    (workplace.source / "dashboard-export.json").write_text("{}")
    report = workplace.run()
    assert report["listing"]["foreign"] == 2
    assert report["files"]["discovered"] == written.summary.files


def test_an_old_bucket_does_not_flood_a_project(workplace: Any) -> None:
    written = workplace.export(events=2000, hours=4)
    workplace.configure(source={"start_at": "2026-10-01T02"})
    workplace.run()
    late = [record for record in written.records if hour_of(record) >= "2026-10-01-02"]
    assert workplace.accepted_ids() == written.must_arrive(late)
    status = workplace.do("status", "--output", "json").json
    assert status["before_start"]["files"] == len({r["key"] for r in written.records if r not in late})

    report = workplace.do(
        "backfill", "--from", "2026-10-01T00", "--until", "2026-10-01T01", "--output", "json"
    ).json
    assert report["command"] == "backfill"
    first = [record for record in written.records if hour_of(record) == "2026-10-01-00"]
    assert workplace.accepted_ids() == written.must_arrive([*late, *first])

    again = workplace.do("backfill", "--from", "2026-10-01", "--to", "2026-10-01", "--output", "json").json
    assert workplace.accepted_ids() == written.must_arrive()
    assert again["files"]["discovered"] == len(
        {r["key"] for r in written.records if hour_of(r) == "2026-10-01-01"}
    )


def test_a_backfill_resends_when_told_to_and_amplitude_keeps_one(workplace: Any) -> None:
    written = workplace.export(events=300)
    workplace.run()
    arguments = ("backfill", "--from", "2026-10-01", "--to", "2026-10-01", "--output", "json")
    assert workplace.do(*arguments).json["files"]["discovered"] == 0
    report = workplace.do(*arguments, "--resend", "--event-type", "users.messages.*").json
    assert 0 < report["files"]["done"] < written.summary.files
    assert workplace.accepted_ids() == written.must_arrive()
    assert workplace.amplitude.stats()["duplicates"] > 0


def test_late_files_of_old_hours_are_found_by_the_next_run(workplace: Any) -> None:
    written = workplace.export(events=400)
    held_back = sorted(workplace.source.rglob("*.avro"))[::3]
    elsewhere = [(path, workplace.folder / f"late-{number}") for number, path in enumerate(held_back)]
    for path, hidden in elsewhere:
        path.rename(hidden)
    # Listings look back from now; the data must lie within the look-back.
    workplace.configure(source={"lookback": "3650d"})
    workplace.run()
    for path, hidden in elsewhere:
        hidden.rename(path)
    report = workplace.run()
    assert report["files"]["done"] == len(held_back)
    assert workplace.accepted_ids() == written.must_arrive()


@pytest.mark.parametrize("gzip", [True, False])
def test_bodies_are_compressed_when_asked_for(workplace: Any, gzip: bool) -> None:
    workplace.export(events=500)
    workplace.configure(amplitude={"gzip": gzip})
    requests = workplace.run()["requests"]
    assert (requests["bytes_wire"] < requests["bytes_raw"] / 3) is gzip


def test_small_requests_carry_the_same_events(workplace: Any) -> None:
    written = workplace.export(events=800)
    workplace.configure(amplitude={"max_events": 50, "max_bytes": "20KB"})
    report = workplace.run()
    assert report["requests"]["sent"] >= len(written.must_arrive()) / 50
    assert workplace.accepted_ids() == written.must_arrive()


def test_the_other_endpoint_takes_the_same_events(workplace: Any) -> None:
    written = workplace.export(events=400)
    workplace.configure(amplitude={"endpoint": f"{workplace.amplitude.url}/2/httpapi"})
    workplace.run()
    assert workplace.accepted_ids() == written.must_arrive()


def test_mapping_options_reach_the_events(workplace: Any) -> None:
    workplace.export(events=2000, awkward=0.05)
    workplace.configure(
        mapping={"send": ["users.UserOrphan"], "test_events": "send", "identity": {"anonymous": "braze_id"}}
    )
    report = workplace.run()
    assert "test_event" not in report["reasons"]
    events = workplace.project.events()
    assert any(event["event_type"] == "[Appboy] User Orphan" for event in events)
    assert any(event.get("device_id", "").startswith("braze:") for event in events)


def test_the_environment_can_soften_exit_codes_and_the_report_keeps_the_true_one(workplace: Any) -> None:
    workplace.export(events=300, awkward=0.2)
    result = workplace.do("run", "--output", "json", BRAZE_ETL_OK_EXIT="3,4")
    assert result.code == 0
    assert result.json["exit_code"] == 3


def test_a_person_reads_a_table_and_json_never_mixes_with_logs(
    workplace: Any, balance: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    workplace.export(events=300)
    text = workplace.do("run")
    assert "users.messages.email.Send" in text.out
    assert "everything due was delivered" in text.out
    assert '"message":"files are due"' in text.err
    balance(workplace.do("run", "--output", "json").json)


def hour_of(record: dict[str, Any]) -> str:
    key: str = record["key"]
    return key.split("/date=")[1][:13]


def upload(folder: Path, bucket: Any, prefix: str) -> None:
    client = boto3.client("s3", endpoint_url=bucket.endpoint_url)
    for path in folder.rglob("*.avro"):
        client.upload_file(str(path), bucket.name, prefix + path.relative_to(folder).as_posix())
