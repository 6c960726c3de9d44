"""What was set aside, sent again or given up: by real processes, from a folder and from S3."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest

from braze_etl.clock import SystemClock
from braze_etl.sandbox.amplitude.project import Project
from braze_etl.sandbox.amplitude.replies import Reply
from braze_etl.state.ledger import LeaseOwner, LedgerIdentity
from braze_etl.state.opening import open_ledger
from tests.s3_server import Bucket
from tests.workplace import KEY, Workplace, Written, balanced

REPAIRED = {"min_id_length": 1}
"""The mapping is fixed: ids of fewer than five characters are good."""


@pytest.fixture
def export(workplace: Workplace) -> Written:
    return workplace.export(events=3000, awkward=0.1, records_per_file=400)


def quarantine(place: Workplace, *arguments: str) -> dict[str, Any]:
    return place.do("quarantine", *arguments, "--output", "json").json


def replay(place: Workplace, *arguments: str) -> dict[str, Any]:
    return balanced(quarantine(place, "replay", *arguments))


def reasons(listed: dict[str, Any]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for line in listed["counts"]:
        counts[line["reason"]] += line["entries"]
    return counts


def spoilt(export: Written, kind: str) -> list[str]:
    return sorted({record["id"] for record in export.where(lambda record: record.get("awkward") == kind)})


def file_books(place: Workplace) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(place.ledger)) as connection:
        return connection.execute(
            "SELECT key, state, accepted, filtered, quarantined, deferred FROM files ORDER BY key"
        ).fetchall()


@pytest.fixture(params=["folder", "s3"])
def stores(request: pytest.FixtureRequest, workplace: Workplace, export: Written) -> dict[str, Any]:
    """Where export and quarantine lie, as sections of the configuration: in folders, or in S3."""
    if request.param == "folder":
        return {}
    bucket: Bucket = request.getfixturevalue("bucket")
    client = boto3.client("s3", endpoint_url=bucket.endpoint_url)
    for path in workplace.files():
        key = f"currents/{path.relative_to(workplace.source).as_posix()}"
        client.upload_file(str(path), bucket.name, key)
    return {
        "source": {"uri": f"{bucket.uri}/currents", "endpoint_url": bucket.endpoint_url},
        "quarantine": {"uri": f"{bucket.uri}/aside"},
    }


def test_a_mapping_that_is_fixed_later_repairs_the_past(
    workplace: Workplace, export: Written, stores: dict[str, Any]
) -> None:
    workplace.configure(**stores)
    first = workplace.run()
    assert first["reasons"]["invalid_user_id"] > 0
    before = file_books(workplace)

    workplace.configure(**stores, amplitude=REPAIRED)
    report = replay(workplace, "--reason", "invalid_user_id")
    short = spoilt(export, "short_user_id")
    assert report["command"] == "quarantine replay"
    assert set(short) <= set(workplace.accepted_ids())
    assert report["events"]["accepted"] == len(export.where(lambda r: r.get("awkward") == "short_user_id"))
    # Reserved words stay what they were, and nothing is new: exit 0.
    assert report["reasons"] == {"invalid_user_id": report["events"]["quarantined"]}
    assert report["exit_code"] == 0
    left = reasons(quarantine(workplace, "list"))
    assert left["invalid_user_id"] == first["reasons"]["invalid_user_id"] - report["events"]["accepted"]
    assert left["redacted_identity"] == first["reasons"]["redacted_identity"]

    after = file_books(workplace)
    assert [sum(row[2:]) for row in after] == [sum(row[2:]) for row in before]
    moved = sum(row[2] for row in after) - sum(row[2] for row in before)
    assert moved == report["events"]["accepted"]
    assert workplace.run()["files"]["discovered"] == 0


def test_entries_are_chosen_by_reason_type_file_age_and_id(workplace: Workplace, export: Written) -> None:
    workplace.run()
    everything = quarantine(workplace, "list", "--limit", "100000")
    entries = everything["entries"]
    some = entries[0]

    def listed(*arguments: str) -> list[str]:
        chosen = quarantine(workplace, "list", "--limit", "100000", *arguments)
        assert chosen["total"] == len(chosen["entries"])
        return sorted(entry["id"] for entry in chosen["entries"])

    def those(field: str, value: str) -> list[str]:
        return sorted(entry["id"] for entry in entries if entry[field] == value)

    assert listed("--reason", some["reason"]) == those("reason", some["reason"])
    assert listed("--event-type", some["event_type"]) == those("event_type", some["event_type"])
    assert listed("--file", some["key"]) == those("key", some["key"])
    assert listed("--id", some["id"][:8]) == [some["id"]]
    assert listed("--since", "1h") == sorted(entry["id"] for entry in entries)
    assert listed("--until", "1h") == []
    assert workplace.do("quarantine", "list", "--reason", "bored").code == 2
    assert workplace.do("quarantine", "list", "--id", "xyz").code == 2
    assert quarantine(workplace, "list", "--limit", "1")["total"] == len(entries)


def test_entries_are_dropped_by_selectors_and_all_only_when_told(
    workplace: Workplace, export: Written
) -> None:
    workplace.run()
    before = reasons(quarantine(workplace, "list"))
    refused = workplace.do("quarantine", "drop", "--output", "json")
    assert refused.code == 2
    assert "--all" in refused.error["remedy"]
    assert workplace.do("quarantine", "drop", "--all", "--since", "1h").code == 2

    dropped = quarantine(workplace, "drop", "--reason", "redacted_identity")
    assert dropped["dropped"] == before["redacted_identity"]
    assert reasons(dropped) == {"redacted_identity": dropped["dropped"]}
    assert "redacted_identity" not in reasons(quarantine(workplace, "list"))
    assert quarantine(workplace, "drop", "--all")["dropped"] == before["invalid_user_id"]
    assert quarantine(workplace, "list")["total"] == 0
    # What was given up is not sent by any later run.
    assert workplace.run()["files"]["discovered"] == 0
    assert quarantine(workplace, "drop", "--all")["dropped"] == 0


def test_a_replay_that_changes_nothing_can_be_repeated(workplace: Workplace, export: Written) -> None:
    workplace.run()
    before = quarantine(workplace, "list", "--limit", "100000")
    books = file_books(workplace)
    for _ in range(2):
        report = replay(workplace)
        assert report["exit_code"] == 0
        assert report["events"]["read"] == report["events"]["quarantined"] == before["total"]
    assert quarantine(workplace, "list", "--limit", "100000") == before
    assert file_books(workplace) == books


class Picky(Project):
    """A project that says so of every event with a short user id."""

    def __init__(self, status: int, words: Callable[[list[int], list[str]], dict[str, Any]]) -> None:
        super().__init__(api_key=KEY)
        self._status, self._words = status, words

    def _events_refusal(self, request: Any) -> Reply | None:
        users = [event.get("user_id", "") for event in request.events]
        short = [index for index, user in enumerate(users) if 0 < len(user) < 5]
        if not short:
            return super()._events_refusal(request)
        said = self._words(short, [users[index] for index in short])
        return Reply(self._status, {"code": self._status, "error": "No", **said})


def test_what_is_refused_for_another_reason_gets_a_new_entry_in_place_of_the_old(
    workplace: Workplace, export: Written
) -> None:
    workplace.run()
    before = reasons(quarantine(workplace, "list"))
    books = file_books(workplace)
    workplace.configure(amplitude=REPAIRED, quarantine={"payload": True})
    workplace.become(Picky(400, lambda indexes, _: {"events_with_invalid_fields": {"user_id": indexes}}))
    report = replay(workplace, "--reason", "invalid_user_id")
    short = len(export.where(lambda record: record.get("awkward") == "short_user_id"))
    assert report["exit_code"] == 3
    assert report["reasons"] == {"rejected": short, "invalid_user_id": before["invalid_user_id"] - short}
    after = quarantine(workplace, "list", "--reason", "rejected", "--limit", "1")
    assert reasons(after)["rejected"] == short
    assert after["entries"][0]["detail"] == "HTTP 400: No (invalid user_id)"
    assert quarantine(workplace, "list")["total"] == before.total()
    assert file_books(workplace) == books
    payload = quarantine(workplace, "show", after["entries"][0]["id"])["payload"]
    assert payload["id"] in spoilt(export, "short_user_id")


def test_what_is_throttled_in_a_replay_is_sent_by_a_later_run(workplace: Workplace, export: Written) -> None:
    workplace.run()
    short = len(export.where(lambda record: record.get("awkward") == "short_user_id"))
    workplace.configure(amplitude=REPAIRED)
    kept = workplace.project
    workplace.become(Picky(429, lambda _, users: {"throttled_users": dict.fromkeys(users, 31)}))
    report = replay(workplace, "--reason", "invalid_user_id")
    assert report["exit_code"] == 4
    assert report["events"]["deferred"] == short
    left = reasons(quarantine(workplace, "list"))
    assert left["invalid_user_id"] == report["events"]["quarantined"]

    workplace.become(kept)
    workplace.let_waits_pass()
    assert workplace.run()["events"]["accepted"] == short
    assert set(spoilt(export, "short_user_id")) <= set(workplace.accepted_ids())
    assert sum(row[5] for row in file_books(workplace)) == 0


def test_a_replay_killed_in_the_middle_is_finished_by_the_next(workplace: Workplace, export: Written) -> None:
    workplace.run()
    total = sum(sum(row[2:]) for row in file_books(workplace))
    short = len(export.where(lambda record: record.get("awkward") == "short_user_id"))
    workplace.configure(amplitude={**REPAIRED, "max_events": 5})
    for _ in range(3):
        process = workplace.start("quarantine", "replay", "--output", "json", BRAZE_ETL_LOG_LEVEL="debug")
        assert process.stderr is not None
        for line in process.stderr:
            if "task settled" in line:
                break
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    report = replay(workplace)
    assert report["files"]["remaining"] == 0
    assert set(spoilt(export, "short_user_id")) <= set(workplace.accepted_ids())
    left = reasons(quarantine(workplace, "list"))
    books = file_books(workplace)
    assert sum(row[4] for row in books) == left.total()
    assert sum(sum(row[2:]) for row in books) == total
    assert left["invalid_user_id"] == len(
        export.where(lambda record: record.get("awkward") == "reserved_user_id")
    )
    assert short > 0


def test_what_is_damaged_or_gone_stays_as_it_was(workplace: Workplace, export: Written) -> None:
    first, second, *_ = workplace.files()
    content = first.read_bytes()
    first.write_bytes(content[:-20])
    workplace.run()
    before = quarantine(workplace, "list", "--limit", "100000")
    assert reasons(before)["damaged_block"] == 1
    states = [row[1] for row in file_books(workplace)]

    os.utime(second)  # replaced, as far as anybody can tell
    report = replay(workplace)
    assert report["exit_code"] == 0
    assert report["files"]["failed"] == 1
    assert report["files"]["remaining"] == 0
    assert report["events"]["quarantined"] == before["total"]
    assert quarantine(workplace, "list", "--limit", "100000") == before
    assert [row[1] for row in file_books(workplace)] == states


def overwrite(path: Path, content: bytes) -> None:
    """Change what is in a file and neither its size nor its time: to a folder, the etag."""
    before = path.stat()
    assert len(content) == before.st_size
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_could_not_be_read_is_replayed_when_it_can_be(workplace: Workplace, export: Written) -> None:
    broken, damaged, *_ = workplace.files()
    contents = {path: path.read_bytes() for path in (broken, damaged)}
    overwrite(broken, b"?" * len(contents[broken]))
    overwrite(damaged, contents[damaged][:-20] + b"?" * 20)
    report = workplace.run()
    assert report["files"]["failed"] == 2
    set_aside = reasons(quarantine(workplace, "list"))
    assert (set_aside["unreadable_file"], set_aside["damaged_block"]) == (1, 1)

    for path, content in contents.items():
        overwrite(path, content)
    report = replay(workplace, "--reason", "unreadable_file", "--reason", "damaged_block")
    assert report["files"]["done"] == 2
    assert not {"unreadable_file", "damaged_block"} & set(reasons(quarantine(workplace, "list")))
    assert workplace.accepted_ids() == export.must_arrive()
    assert {row[1] for row in file_books(workplace)} == {file_books(workplace)[-1][1]}


def test_entries_for_bytes_that_were_replaced_stay_aside_as_their_replay_says(
    workplace: Workplace, export: Written
) -> None:
    path, *_ = workplace.files()
    content = path.read_bytes()
    overwrite(path, content[:-20] + b"?" * 20)
    workplace.run()
    os.utime(path)  # replaced, and no better
    workplace.run()
    listed = quarantine(workplace, "list", "--reason", "damaged_block")["entries"]
    (gone, there) = sorted(listed, key=lambda entry: str(entry["at"]))

    overwrite(path, content)
    report = replay(workplace, "--reason", "damaged_block")
    assert (report["files"]["done"], report["files"]["failed"]) == (1, 1)
    assert report["reasons"]["damaged_block"] == 1
    assert "closed" not in report
    (left,) = quarantine(workplace, "list", "--reason", "damaged_block")["entries"]
    assert (left["id"], left["id"] == there["id"]) == (gone["id"], False)


def payloads(place: Workplace) -> Iterator[Path]:
    return place.folder.glob("state/quarantine/payloads/**/*.jsonl")


def test_without_payload_nothing_of_a_record_is_stored(workplace: Workplace, export: Written) -> None:
    workplace.run()
    kept = b"".join(
        path.read_bytes() for path in workplace.folder.glob("state/quarantine/**/*") if path.is_file()
    )
    refused = export.where(lambda record: record.get("awkward") in ("short_user_id", "reserved_user_id"))
    assert refused
    assert not any(record["id"].encode() in kept for record in refused)
    assert not re.search(rb'"u\d+"', kept)
    assert KEY.encode() not in kept
    assert not list(payloads(workplace))


def test_a_payload_is_shown_and_replayed_when_its_source_is_gone(
    workplace: Workplace, export: Written
) -> None:
    workplace.configure(quarantine={"payload": True})
    result = workplace.do("run", "--output", "json")
    short = spoilt(export, "short_user_id")
    listed = workplace.do("quarantine", "list", "--limit", "100000", "--output", "json")
    (some, *_) = (e for e in listed.json["entries"] if e["reason"] == "invalid_user_id")
    shown = quarantine(workplace, "show", some["id"])
    assert shown["payload"]["id"] in {*short, *spoilt(export, "reserved_user_id")}
    assert shown["payload"]["id"] not in result.out + result.err + listed.out

    for path in workplace.files():
        path.unlink()
    workplace.configure(quarantine={"payload": True}, amplitude=REPAIRED)
    report = replay(workplace, "--reason", "invalid_user_id")
    assert report["exit_code"] == 0
    assert set(short) <= set(workplace.accepted_ids())
    # The payloads of what was accepted went with their entries.
    left = b"".join(path.read_bytes() for path in payloads(workplace))
    assert left
    assert not any(id_.encode() in left for id_ in short)


def test_expired_payloads_are_not_shown_and_go_with_the_next_run(
    workplace: Workplace, export: Written
) -> None:
    workplace.configure(quarantine={"payload": True})
    workplace.run()
    (kept, *_) = payloads(workplace)
    id_ = quarantine(workplace, "list", "--limit", "1")["entries"][0]["id"]
    workplace.configure(quarantine={"payload": True, "payload_ttl": "0.001s"})
    assert "payload" not in quarantine(workplace, "show", id_)
    old = kept.parent.parent / "2026-01-01"
    kept.parent.rename(old)
    workplace.run()
    assert not list(payloads(workplace))
    assert quarantine(workplace, "show", id_)["id"] == id_


def test_nobody_writes_to_the_quarantine_while_a_run_is_at_work(
    workplace: Workplace, export: Written
) -> None:
    workplace.run()
    depth = quarantine(workplace, "list")["total"]
    identity = LedgerIdentity("default", "default", "US")
    owner = LeaseOwner("another", "host", 1, "run")
    with (
        closing(open_ledger(f"sqlite:///{workplace.ledger}", identity, clock=SystemClock())) as ledger,
        ledger.lease(owner),
    ):
        assert workplace.do("quarantine", "replay", "--output", "json").code == 11
        assert workplace.do("quarantine", "drop", "--all", "--output", "json").code == 11
    assert quarantine(workplace, "list")["total"] == depth
