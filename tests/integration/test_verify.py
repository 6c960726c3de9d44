"""What was delivered, held against what Amplitude exports: real processes, from a folder and from S3."""

from __future__ import annotations

import io
import json
import sqlite3
import time
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import Request, urlopen

import pytest

from braze_etl.sandbox.amplitude.event_store import Drops
from braze_etl.sandbox.amplitude.project import Project
from braze_etl.sandbox.amplitude.read_api import ReadOptions
from tests.faults.processes import kill, wait_until
from tests.s3_server import Bucket
from tests.workplace import KEY, Workplace, open_workplace

SECRET = "fedcba9876543210fedcba9876543210"
RANGE = ("--from", "2026-10-01", "--to", "2026-10-03")
AT_ONCE = ("--settle", "0s")
OPEN = "users.messages.email.Open"


class Place:
    """A workplace whose Amplitude can be read, with or without the documented delay."""

    def __init__(self, work: Workplace, **sections: Any) -> None:
        self.work = work
        self._sections = sections
        self.reopen()
        self.configure()

    def reopen(self, *, delay: float = 0.0, **options: Any) -> None:
        self.work.become(Project(api_key=KEY, reads=ReadOptions(SECRET, delay), **options))

    def configure(self, **sections: Any) -> None:
        amplitude = {"secret_key": SECRET, "read_endpoint": self.work.amplitude.url}
        self.work.configure(**{"amplitude": amplitude, **self._sections, **sections})

    def drop(self, *event_types: str, users: tuple[str, ...] = (), one_in: int | None = None) -> None:
        """Have Amplitude answer 200 to these, and hold none."""
        self.work.project.drops = Drops(frozenset(event_types), frozenset(users), one_in)

    def held(self) -> list[str]:
        return self.work.accepted_ids()

    def received(self) -> int:
        return int(self.work.amplitude.stats()["events_received"])

    def verify(self, *options: str, code: int = 0) -> dict[str, Any]:
        """Verify at once; the facts, whose sums are checked."""
        settle = () if "--settle" in options else AT_ONCE
        chosen = () if "--run" in options else RANGE
        result = self.work.do("verify", *chosen, *settle, "--output", "json", *options)
        assert result.code == code, result.out + result.err
        facts = result.json
        for name, total in facts["total"].items():
            for part in ("by_event_type", "by_amplitude_event_type"):
                assert sum(tally[name] for tally in facts[part].values()) == total
        total = facts["total"]
        assert total["expected"] == total["present"] + total["missing"] + total["too_early"]
        return facts

    def missing_ids(self, *options: str) -> list[str]:
        """All that a verification finds missing, by the file that it writes."""
        path = self.work.folder / "missing.ndjson"
        self.verify("--missing", str(path), *options, code=6)
        return sorted(json.loads(line)["insert_id"] for line in path.read_text().splitlines())


@pytest.fixture
def place(workplace: Workplace) -> Place:
    return Place(workplace)


@pytest.fixture(params=["folder", "s3"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """With files and ledger in a folder, and in S3."""
    with open_workplace(tmp_path) as work:
        if request.param == "folder":
            yield Place(work)
            return
        bucket: Bucket = request.getfixturevalue("bucket")
        access = {"endpoint_url": bucket.endpoint_url}
        state = {"uri": f"{bucket.uri}/state", **access}
        quarantine = {"uri": f"{bucket.uri}/aside", **access}
        yield Place(work, state=state, quarantine=quarantine)


def test_all_is_there(anywhere: Place) -> None:
    export = anywhere.work.export(events=1500, duplicates=0.02, awkward=0.05)
    anywhere.work.run("--ok-exit", "3")
    facts = anywhere.verify()
    expected = len(export.must_arrive())
    assert facts["total"] == {
        "expected": expected,
        "present": expected,
        "missing": 0,
        "repeated": 0,
        "too_early": 0,
    }
    assert (facts["foreign"], facts["missing"], facts["reasons"], facts["repair"]) == ({}, [], [], None)
    assert facts["duplicates"] == anywhere.work.project.stats()["duplicates"]
    assert facts["by_event_type"][OPEN]["expected"] == len(
        {record["id"] for record in export.where(lambda each: each["event_type"] == OPEN)}
        & set(export.must_arrive())
    )


def test_what_amplitude_drops_is_named_exactly_repaired_exactly_and_found(anywhere: Place) -> None:
    export = anywhere.work.export(events=2000, awkward=0.02, duplicates=0.01)
    user = next(each["external_user_id"] for each in export.records if each["external_user_id"])
    anywhere.drop("[Appboy] Email Open", users=(user,), one_in=50)
    anywhere.work.run("--ok-exit", "3")
    before, received = anywhere.held(), anywhere.received()
    lost = sorted(set(export.must_arrive()).difference(before))
    assert len(lost) > 50

    assert anywhere.missing_ids() == lost
    assert anywhere.received() == received, "a verification sends nothing"

    anywhere.drop()
    facts = anywhere.verify("--repair")
    assert facts["total"]["missing"] == facts["repaired"] == len(lost)
    assert facts["repair"]["exit_code"] == 0
    assert anywhere.received() == received + len(lost), "no event is sent that was there"
    assert anywhere.held() == export.must_arrive()

    clean = anywhere.verify()
    assert (clean["total"]["present"], clean["total"]["missing"]) == (len(export.must_arrive()), 0)
    assert anywhere.work.run()["files"]["discovered"] == 0, "the ledger knows all of them as before"


def test_blocked_types_are_left_alone_and_named_as_the_reason(place: Place) -> None:
    export = place.work.export(events=800)
    place.drop("[Appboy] Email Open", one_in=40)
    place.work.run()
    received = place.received()
    blocked = {each["id"] for each in export.where(lambda each: each["event_type"] == OPEN)}
    lost = set(export.must_arrive()).difference(place.held())
    place.drop("[Appboy] Email Open")

    facts = place.verify("--repair", code=6)
    assert facts["left_alone"] == {"blocked": len(lost & blocked)}
    assert facts["repaired"] == len(lost - blocked) == place.received() - received
    first = facts["reasons"][0]
    assert (first["reason"], first["name"], first["events"]) == (
        "type_blocked",
        "[Appboy] Email Open",
        len(lost & blocked),
    )
    assert set(export.must_arrive()).difference(place.held()) == lost & blocked


def test_persons_of_whom_nothing_is_there_are_counted_and_not_named(place: Place) -> None:
    export = place.work.export(events=800)
    user = next(each["external_user_id"] for each in export.records if each["external_user_id"])
    place.drop(users=(user,))
    place.work.run()
    result = place.work.do("verify", *RANGE, *AT_ONCE)
    facts = place.verify(code=6)
    assert result.code == 6
    assert "nothing is there of 1 persons" in result.out
    assert [reason["reason"] for reason in facts["reasons"]] == ["persons"]
    assert user not in result.out + result.err + json.dumps(facts)


def test_what_was_accepted_a_moment_ago_is_too_early(place: Place) -> None:
    export = place.work.export(events=300)
    place.drop(one_in=10)
    place.work.run()
    facts = place.verify("--settle", "24h")
    assert facts["total"]["too_early"] == facts["total"]["expected"] == len(export.must_arrive())
    assert facts["hours"]["count"] == 0, "nothing is downloaded for them"


def test_an_hour_that_amplitude_has_not_loaded_is_too_early_whatever_settle_says(place: Place) -> None:
    place.reopen(delay=7200.0)
    place.work.export(events=300)
    place.work.run()
    facts = place.verify()
    assert facts["total"]["too_early"] == facts["total"]["expected"] > 0


def post(place: Place, *events: dict[str, Any]) -> None:
    """Send events as somebody else."""
    body = json.dumps({"api_key": KEY, "events": list(events)}).encode()
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(f"{place.work.amplitude.url}/batch", body, headers)) as answer:
        assert answer.status == 200


def test_repeats_and_events_of_others_are_counted(place: Place) -> None:
    export = place.work.export(events=300)
    place.work.run()
    held = next(each for each in place.work.project.events() if each["event_type"] == "[Appboy] Email Open")
    again = {"event_type": held["event_type"], "insert_id": held["insert_id"], "user_id": "somebody else"}
    other = {"event_type": "other", "user_id": "somebody else"}
    post(place, *({**again, "device_id": f"device-{number}", "library": "Braze"} for number in range(2)))
    post(place, {**other, "library": "http/2.0"}, {**other, "library": "Braze", "insert_id": "theirs"})
    facts = place.verify()
    assert facts["total"]["repeated"] == facts["by_event_type"][OPEN]["repeated"] == 2
    assert facts["total"]["present"] == len(export.must_arrive())
    assert facts["foreign"] == {"Braze": 1, "http/2.0": 1}


def test_one_run_is_verified_by_its_id_also_after_its_repair(place: Place) -> None:
    first = place.work.export(events=300, hours=1)
    run_id = place.work.run()["run_id"]
    place.drop(one_in=10)
    second = place.work.export(events=300, hours=1, start=datetime(2026, 10, 2, tzinfo=UTC), seed=2)
    other = place.work.run()["run_id"]
    facts = place.verify("--run", run_id)
    assert facts["total"]["expected"] == len(first.must_arrive())
    assert (facts["run_id"], facts["from"]) == (run_id, None)

    lost = place.verify("--run", other, code=6)["total"]
    assert lost["expected"] == len(second.must_arrive())
    place.drop()
    repaired = place.verify("--run", other, "--repair")
    assert repaired["repaired"] == lost["missing"]
    again = place.verify("--run", other)["total"]
    assert (again["expected"], again["missing"]) == (lost["expected"], 0)
    its_own = place.verify("--run", repaired["repair"]["run_id"])["total"]
    assert (its_own["expected"] >= lost["missing"], its_own["missing"]) == (True, 0)
    result = place.work.do("verify", "--run", "unheard-of", *AT_ONCE)
    assert (result.code, "unheard-of" in result.err) == (2, True)


def test_without_a_range_it_is_the_last_day_that_is_settled(place: Place) -> None:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    yesterday = place.work.export(events=200, hours=1, start=today - timedelta(hours=5), duplicates=0)
    place.configure(source={"start_at": f"{today - timedelta(days=2):%Y-%m-%d}"})
    place.work.run()
    place.work.export(events=100, hours=1, start=today - timedelta(hours=30), duplicates=0)
    place.work.run()
    result = place.work.do("verify", *AT_ONCE, "--output", "json")
    assert (result.code, result.json["until"]) == (0, f"{today:%Y-%m-%d}T00:00:00Z")
    assert result.json["total"]["expected"] == len(yesterday.must_arrive())
    both = place.work.do("verify", "--run", "r1", *RANGE, "--output", "json")
    assert (both.code, "exclude each other" in both.error["message"]) == (2, True)


def test_a_repair_that_fails_ends_as_a_run_that_fails(place: Place) -> None:
    place.work.export(events=300)
    place.drop(one_in=10)
    place.work.run()
    place.drop()
    place.work.inject("- {when: {path: /batch}, do: {reply: {status: 401}}}")
    facts = place.verify("--repair", code=1)
    assert (facts["repaired"], facts["repair"]["exit_code"]) == (0, 1)
    assert facts["error"]["type"] == "KeyRefusedError"
    place.work.recover()
    assert place.verify("--repair")["repaired"] == facts["total"]["missing"] > 0


def test_raw_export_files_in_a_folder_do_as_well_and_need_no_secret_key(place: Place) -> None:
    place.work.export(events=600)
    place.drop(one_in=20)
    place.work.run()
    hours = place.verify(code=6)["hours"]
    first, last = (hours[end].replace("-", "")[:11] for end in ("from", "to"))
    token = b64encode(f"{KEY}:{SECRET}".encode()).decode()
    url = f"{place.work.amplitude.url}/api/2/export?start={first}&end={last}"
    with urlopen(Request(url, headers={"Authorization": f"Basic {token}"})) as answer:
        zipfile.ZipFile(io.BytesIO(answer.read())).extractall(place.work.folder / "raw")
    by_api = place.verify(code=6)
    place.configure(amplitude={"secret_key": ""})
    by_files = place.verify("--export", "raw", code=6)
    for name in ("total", "by_event_type", "foreign", "missing", "reasons"):
        assert by_files[name] == by_api[name]
    refused = place.work.do("verify", *RANGE)
    assert (refused.code, "amplitude.secret_key" in refused.err) == (2, True)


def test_nothing_is_expected_of_what_is_open_set_aside_or_dropped(place: Place) -> None:
    export = place.work.export(events=600, awkward=0.1)
    users = [each["external_user_id"] for each in export.records if each["external_user_id"]]
    devices = [each["device_id"] for each in export.records if each["device_id"]]
    place.reopen(silenced_devices=devices[:3])
    throttled = {"code": 429, "error": "Too many requests", "throttled_users": {users[0]: 31}}
    place.work.inject(
        f"- when: {{user_id: {users[0]}}}\n  do: {{reply: {json.dumps({'status': 429, 'body': throttled})}}}"
    )
    report = place.work.run("--ok-exit", "3,4")
    assert report["reasons"]["silenced"] >= 1 <= report["reasons"]["throttled"]
    held = len(place.held())
    assert place.verify()["total"]["expected"] == held
    assert place.work.do("quarantine", "drop", "--all").code == 0
    assert place.verify()["total"]["expected"] == held, "nobody misses what was given up"


def test_nobody_misses_events_of_whoever_was_erased_and_none_is_sent_again(place: Place) -> None:
    export = place.work.export(events=300)
    user = next(each["external_user_id"] for each in export.records if each["external_user_id"])
    place.drop(users=(user,))
    place.work.run()
    assert place.verify(code=6)["total"]["missing"] > 0
    assert place.work.do("erase", "--user", user).code == 0
    received = place.received()
    assert place.verify("--repair")["total"]["missing"] == 0
    assert place.received() == received


def test_files_that_another_mapping_has_judged_are_not_compared(place: Place) -> None:
    place.work.export(events=300)
    files = place.work.run()["files"]["done"]
    place.configure(mapping={"unknown_fields": "drop"})
    facts = place.verify()
    assert facts["total"]["expected"] == 0
    assert facts["files"]["compared"] == 0 < facts["not_comparable"]["other_mapping"] <= files
    assert "other than the one in force" not in place.work.do("verify", *RANGE, *AT_ONCE).err
    assert "by another mapping" in place.work.do("verify", *RANGE, *AT_ONCE).out


def test_what_is_older_than_deduplication_is_repaired_on_request_only(place: Place) -> None:
    export = place.work.export(events=300)
    week = 8 * 86_400
    behind = [week]
    place.reopen(clock=lambda: time.time() - behind[0])
    place.drop(one_in=10)
    place.work.run()
    lost = len(set(export.must_arrive()).difference(place.held()))
    age(place, week)
    behind[0] = 0
    place.drop()
    facts = place.verify("--repair", code=6)
    assert (facts["left_alone"], facts["repaired"]) == ({"older_than_deduplication": lost}, 0)
    assert place.verify("--repair", "--beyond-dedup")["repaired"] == lost
    assert place.held() == export.must_arrive()


def age(place: Place, seconds: int) -> None:
    """Have the ledger say that all was sent so long ago."""
    with closing(sqlite3.connect(place.work.ledger)) as connection, connection:
        connection.execute("UPDATE files SET sent_from = sent_from - ?, sent_to = sent_to - ?", [seconds] * 2)


def test_daily_totals_are_a_hint(place: Place) -> None:
    export = place.work.export(events=400)
    place.work.run()
    all_there = place.verify("--counts")
    assert all_there["total"]["present"] == len(export.must_arrive())
    assert sum(count["held"] for count in all_there["counts"]) == len(export.must_arrive())
    assert all_there["hours"]["count"] == all_there["downloaded"] == 0

    place.reopen()
    place.drop("[Appboy] Email Open")
    assert place.work.do("backfill", *RANGE, "--resend").code == 0
    facts = place.verify("--counts", code=6)
    lacking = {count["name"] for count in facts["counts"] if count["held"] < count["expected"]}
    assert lacking == {"[Appboy] Email Open"}
    assert facts["by_event_type"][OPEN]["present"] == 0 < facts["total"]["missing"]
    assert place.work.do("verify", *RANGE, "--counts", "--repair").code == 2


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for temporary files whose path is short: sockets lie there, too."""
    with TemporaryDirectory(prefix="v") as path:
        yield Path(path)


def test_a_verification_that_is_killed_leaves_nothing_that_keeps_the_next_from_its_work(
    place: Place, folder: Path
) -> None:
    export = place.work.export(events=600)
    place.drop(one_in=10)
    place.work.run()
    lost = len(set(export.must_arrive()).difference(place.held()))
    place.work.inject("- when: {path: /api/2/export}\n  do: {hang: 60}")
    process = place.work.start("verify", *RANGE, *AT_ONCE, TMPDIR=str(folder))
    wait_until(lambda: any(folder.glob("*/expected-*")), "the files are read")
    kill(process.pid)
    process.communicate()
    assert len(list(folder.glob("braze-etl-verify-*"))) == 1
    place.work.recover()
    place.drop()
    assert place.verify("--repair")["repaired"] == lost


def test_a_signal_ends_a_verification_soon_and_nothing_stays(place: Place, folder: Path) -> None:
    place.work.export(events=300)
    place.work.run()
    place.work.inject("- when: {path: /api/2/export}\n  do: {hang: 60}")
    process = place.work.start("verify", *RANGE, *AT_ONCE, TMPDIR=str(folder))
    wait_until(lambda: any(folder.glob("*/expected-*")), "the files are read")
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert list(folder.glob("braze-etl-*")) == []
