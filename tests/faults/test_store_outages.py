"""A source that refuses, answers with something else, or lies: the whole program, from the run to the alarm.

Nothing of a file is settled on a failure of rights or of the store, a run that can read nothing is red and
says why, nobody's watchdog is told that all is well, and the next good run delivers everything.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.monitoring.watching import Watcher, watching
from tests.small_s3 import BUCKET, LOGIN, Answer, Asked, SmallS3, denied, refused, small_s3
from tests.workplace import Result, Workplace, Written, balanced, ended


@dataclass
class Site:
    """A workplace whose source is a small S3, and a service that watches it."""

    place: Workplace
    s3: SmallS3
    watcher: Watcher

    def configure(self, **source: str) -> None:
        of_s3 = {
            "uri": f"s3://{BUCKET}",
            "endpoint_url": self.s3.url,
            "region": "us-east-1",
            "lookback": "400d",
        }
        url = self.watcher.url
        notify = {"webhook": f"{url}/hook", "dead_man": f"{url}/ping", "on": ["failed"]}
        self.place.configure(
            source={**of_s3, **source}, notify=notify, metrics={"textfile": "braze_etl.prom"}, workers=1
        )

    def export(self, **spec: Any) -> Written:
        """Some mail, in a few files."""
        return self.place.export(
            **{"event_types": ("users.messages.email.*",), "events": 120, "hours": 2, **spec}
        )

    def run(self, *arguments: str) -> Result:
        """A run, or another command that ends with a report; its books balance."""
        result = self.place.do(*(arguments or ("run",)), "--output", "json")
        balanced(result.json)
        return result

    def fails(self, *words: str, remedy: str = "") -> dict[str, Any]:
        """A run that fails with these words in report and log, settles nothing, and is no success."""
        pings = self.watcher.asked("/ping")
        result = self.run()
        report, error = result.json, result.error
        assert (result.code, report["exit_code"], error["type"]) == (1, 1, "StoreError"), result.err
        assert all(word in error["message"] for word in words), error
        assert remedy in error["remedy"]
        (line,) = [line for line in lines_of(result) if line["level"] == "error"]
        assert (line["error"], line["remedy"]) == (error["message"], error["remedy"])
        assert (report["files"]["done"], report["files"]["failed"], report["events"]["read"]) == (0, 0, 0)
        self.leaves_the_quarantine_empty()
        assert self.watcher.asked("/ping") == pings
        metrics = (self.place.folder / "braze_etl.prom").read_text()
        assert 'braze_etl_last_run_error{command="run",error="StoreError",pipeline="default"} 1.0' in metrics
        return report

    def delivers(self, expected: list[str], *arguments: str, code: int = 0) -> dict[str, Any]:
        """A good run, after which Amplitude holds just these."""
        pings = self.watcher.asked("/ping")
        result = self.run(*arguments)
        assert result.code == code, result.err
        assert self.place.accepted_ids() == expected
        assert self.watcher.asked("/ping") == pings + (not arguments)
        return result.json

    def leaves_the_quarantine_empty(self) -> None:
        assert not list((self.place.folder / "state").rglob("*.jsonl*"))


def hour_of(record: dict[str, Any]) -> str:
    """The hour of the file that a record lies in."""
    return str(record["key"]).partition("date=")[2][:13]


def lines_of(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.err.splitlines()]


@pytest.fixture
def site(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    workplace.source.mkdir()
    with small_s3(workplace.source) as s3, watching() as watcher:
        found = Site(workplace, s3, watcher)
        found.configure()
        yield found


def of(key: str, twist: Callable[[Asked, Answer], Answer]) -> Callable[[Asked, Answer], Answer]:
    """Do it to one object alone."""
    return lambda asked, answer: twist(asked, answer) if asked.key == key else answer


def instead(body: bytes) -> Callable[[Asked, Answer], Answer]:
    """Another body with the same status."""
    return lambda _, answer: answer.but(body)


def test_without_the_right_to_read_the_run_fails_and_all_of_it_arrives_once_it_is_back(site: Site) -> None:
    written = site.export()
    site.s3.on_get = denied
    report = site.fails("access denied: s3:GetObject on s3://acme/", remedy="allow s3:GetObject")
    assert report["unavailable"]["access_denied"]["files"] == report["files"]["discovered"]
    assert report["warnings"]["out_of_reach_files"] == report["files"]["remaining"] > 10
    assert site.watcher.told("/hook")[0]["topics"] == {"failed": "begun"}
    site.s3.on_get = lambda _, answer: refused(answer, "KMS.DisabledException", 400)
    site.fails("KMS.DisabledException", remedy="encryption")
    site.s3.on_get = lambda _, answer: refused(answer, "ExpiredToken", 400)
    site.fails("the credentials for s3://acme/", "have expired", remedy="renew")
    site.s3.behave()
    site.delivers(written.must_arrive())


def test_one_denied_file_stays_due_beside_good_ones_however_often(site: Site) -> None:
    written = site.export()
    (key, *_) = [str(path.relative_to(site.place.source)) for path in site.place.files()]
    site.s3.on_get = of(key, denied)
    first = site.run()
    files = first.json["files"]
    assert (first.code, files["remaining"], files["failed"]) == (4, 1, 0)
    (warned,) = [line for line in lines_of(first) if line["message"] == "a file stays due"]
    assert (warned["level"], warned["kind"]) == ("warning", "access_denied")
    assert f"access denied: s3:GetObject on s3://acme/{key}" in warned["error"]
    for _ in range(3):
        assert site.fails(key)["files"]["remaining"] == 1
    site.s3.behave()
    report = site.delivers(written.must_arrive())
    assert report["files"]["done"] == 1


def test_a_denied_replay_leaves_what_was_set_aside(site: Site) -> None:
    site.export(hours=1, awkward=0.3)
    assert site.run().code == 3
    depth = site.place.do("quarantine", "list", "--output", "json").json
    site.s3.on_get = denied
    replayed = site.run("quarantine", "replay")
    assert (replayed.code, replayed.json["events"]["read"]) == (1, 0)
    assert "access denied: s3:GetObject" in replayed.error["message"]
    assert site.place.do("quarantine", "list", "--output", "json").json == depth
    site.s3.behave()
    assert site.run("quarantine", "replay").code in (0, 3)


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root, whom no mode stops")
def test_a_folder_whose_files_may_not_be_read_fails_the_run(workplace: Workplace) -> None:
    """In the way of a share whose rights were lost: it can be listed, and nothing in it be opened."""
    written = workplace.export(events=60, hours=1, event_types=("users.messages.email.*",))
    workplace.configure(workers=1)
    rights = "-dac_override,-dac_read_search"
    prefix = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"] if os.geteuid() == 0 else []

    def run() -> Result:
        command = [*prefix, *workplace.command("run", "--output", "json")]
        return ended(workplace.start(command=command))

    for path in workplace.files():
        path.chmod(0)
    result = run()
    assert (result.code, result.json["files"]["failed"]) == (1, 0)
    assert "Permission denied" in result.error["message"]
    workplace.files()[0].chmod(0o600)
    result = run()
    assert (result.code, result.json["files"]["done"]) == (4, 1)
    for path in workplace.files():
        path.chmod(0o600)
    assert run().code == 0
    assert workplace.accepted_ids() == written.must_arrive()


def test_what_is_no_answer_of_s3_is_no_empty_bucket(site: Site) -> None:
    written = site.export()
    for body, words in (
        (LOGIN, "is no listing of S3's"),
        (b"", "is no listing of S3's"),
        (b"<ListBucketResult><Name>acme</Name><IsTruncated>false</IsTrun", "is not S3"),
        (b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>", "is no listing of S3's"),
        (b"<a><Name>other</Name><IsTruncated>false</IsTruncated></a>", "the bucket 'other' answered"),
    ):
        site.s3.on_list = instead(body)
        assert site.fails("s3://acme", words)["files"]["discovered"] == 0
    site.s3.behave()
    site.delivers(written.must_arrive())


def test_an_event_folder_that_is_listed_and_shows_nothing_is_told(site: Site) -> None:
    written = site.export()
    empty = b"<a><Name>acme</Name><IsTruncated>false</IsTruncated></a>"

    def hidden(asked: Asked, answer: Answer) -> Answer:
        return answer.but(empty) if "email.Click" in asked.query.get("prefix", "") else answer

    site.s3.on_list = hidden
    result = site.run()
    assert result.json["warnings"]["empty_event_folders"] == 1
    (line,) = [line for line in lines_of(result) if line["message"] == "the listing gives cause to look"]
    assert line["empty_event_folders"] == 1
    site.s3.behave()
    assert "empty_event_folders" not in site.delivers(written.must_arrive())["warnings"]


def test_a_store_that_keeps_no_bound_and_no_order_sends_what_is_due_and_nothing_else(site: Site) -> None:
    """What lies before `start_at` would flood a project; a backfill of a range would find nothing of it."""
    written = site.export(events=300, hours=6, start=datetime(2026, 10, 5, tzinfo=UTC), duplicates=0)
    due = [each for each in written.records if hour_of(each) >= "2026-10-05-04"]
    ranged = [each for each in written.records if "2026-10-05-01" <= hour_of(each) < "2026-10-05-03"]
    site.configure(start_at="2026-10-05T04")
    site.s3.ignores = frozenset({"start-after", "prefix", "delimiter"})
    site.s3.order, site.s3.page, site.s3.again = (lambda keys: sorted(keys)[::-1]), 7, 1
    report = site.delivers(written.must_arrive(due))
    assert report["warnings"]["unordered_folders"] > 0
    arguments = ("backfill", "--from", "2026-10-05T01", "--until", "2026-10-05T03")
    site.delivers(sorted({*written.must_arrive(due), *written.must_arrive(ranged)}), *arguments)
    site.s3.behave()
    assert site.run().json["files"]["discovered"] == 0


def test_a_store_without_etags_is_read_and_one_that_never_ends_is_given_up(site: Site) -> None:
    written = site.export()
    site.s3.page, site.s3.ignores = 3, frozenset({"continuation-token"})
    site.fails("s3://acme gives the same part of its listing again and again")
    site.s3.behave()
    site.s3.etags = False
    site.delivers(written.must_arrive())
    assert site.run().json["files"]["discovered"] == 0
    site.place.files()[0].write_bytes(site.place.files()[0].read_bytes() + b"more")
    assert site.run().json["files"]["discovered"] == 1


LIES: dict[str, tuple[Callable[[Asked, Answer], Answer], str]] = {
    "another content": (lambda _, answer: answer.but(ETag='"other"'), "is listed as before, and still"),
    "412": (lambda _, answer: refused(answer, "PreconditionFailed", 412), "was replaced"),
    "404": (lambda _, answer: refused(answer, "NoSuchKey", 404), "no longer there"),
    "a login page": (lambda _, answer: answer.but(LOGIN, ETag=None), f"and came with {len(LOGIN)}"),
    "no ETag": (lambda _, answer: answer.but(ETag=None), "without its ETag"),
    "shorter": (lambda _, answer: answer.but(answer.body[:-20]), "bytes, and came with"),
    "longer": (lambda _, answer: answer.but(answer.body + b"more"), "bytes, and came with"),
}


def test_a_file_that_comes_otherwise_than_it_was_listed_stays_due(site: Site) -> None:
    written = site.export(hours=1)
    for twist, words in LIES.values():
        site.s3.on_get = twist
        report = site.fails(words)
        assert report["unavailable"]["not_as_listed"]["files"] == report["files"]["discovered"]
    site.s3.behave()
    (key, *others) = [str(path.relative_to(site.place.source)) for path in site.place.files()]
    site.s3.on_get = of(key, LIES["a login page"][0])
    result = site.run()
    assert (result.code, result.json["files"]["done"]) == (4, len(others))
    site.leaves_the_quarantine_empty()
    site.s3.behave()
    site.delivers(written.must_arrive())


def test_only_what_a_new_listing_does_not_have_is_gone(site: Site) -> None:
    written = site.export(duplicates=0)
    gone, changed, *_ = site.place.files()
    original = changed.read_bytes()

    def meanwhile(asked: Asked, answer: Answer) -> Answer:
        """Each happens behind the listing, and right before the file is asked for in its listed version."""
        if asked.key == str(gone.relative_to(site.place.source)):
            gone.unlink(missing_ok=True)
            return refused(answer, "NoSuchKey", 404)
        if asked.key == str(changed.relative_to(site.place.source)):
            changed.write_bytes(original + b"x")
            return refused(answer, "PreconditionFailed", 412)
        return answer

    site.s3.on_get = meanwhile
    result = site.run()
    assert (result.code, result.json["files"]["failed"], result.json["files"]["remaining"]) == (4, 1, 1)
    assert result.json["reasons"]["source_gone"] == 1
    assert result.json["unavailable"]["replaced"]["files"] == 1
    site.s3.behave()
    changed.write_bytes(original)
    lost = {
        record["id"]
        for record in written.records
        if record["key"] == str(gone.relative_to(site.place.source))
    }
    site.delivers([id_ for id_ in written.must_arrive() if id_ not in lost])
