"""A source that is not the one that was delivered from, through the real program: nothing of it is sent."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from prometheus_client.parser import text_string_to_metric_families

from braze_etl.clock import hour_of, iso
from tests.monitoring.watching import Watcher, watching
from tests.s3_server import Bucket
from tests.workplace import Result, Workplace, Written, open_workplace

SOURCE = {"uri": "export", "start_at": "2026-10-01", "lookback": "36500d"}


@dataclass
class Watched:
    """A workplace with somebody who watches it."""

    place: Workplace
    watcher: Watcher

    def configure(self, **sections: Any) -> None:
        notify = {"webhook": f"{self.watcher.url}/hook", "dead_man": f"{self.watcher.url}/ping"}
        metrics = {"textfile": "braze_etl.prom"}
        self.place.configure(**{"source": SOURCE, "notify": notify, "metrics": metrics, **sections})

    def run(self, *words: str) -> Result:
        return self.place.do("run", "--output", "json", *words)

    def status(self) -> dict[str, Any]:
        return self.place.do("status", "--output", "json").json

    def metric(self, name: str) -> dict[tuple[str, ...], float]:
        """The samples of one metric, by their labels but for the pipeline."""
        found = {}
        for family in text_string_to_metric_families((self.place.folder / "braze_etl.prom").read_text()):
            for sample in family.samples:
                if sample.name == name:
                    labels = {key: value for key, value in sample.labels.items() if key != "pipeline"}
                    found[tuple(labels.values())] = sample.value
        return found

    def pings(self) -> int:
        return self.watcher.asked("/ping")

    def topics(self) -> list[dict[str, str]]:
        return [message["topics"] for message in self.watcher.told("/hook")]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with open_workplace(tmp_path) as place, watching() as watcher:
        watched = Watched(place, watcher)
        watched.configure()
        yield watched


def recent(place: Workplace, **spec: Any) -> Written:
    """An export whose last hour is the one before this."""
    start = hour_of(datetime.now(UTC)) - timedelta(hours=6)
    return place.export(**{"events": 400, "hours": 6, "start": start, **spec})


def refused(watched: Watched, words: str, *, runs: int = 1) -> dict[str, Any]:
    """A run sends nothing, is no success for anybody, and says so everywhere; so do the next ones."""
    before, pings = watched.place.accepted_ids(), watched.pings()
    succeeded = watched.metric("braze_etl_last_success_timestamp_seconds")
    for _ in range(runs):
        result = watched.run()
        assert (result.code, result.error["type"]) == (1, "SourceError")
        assert words in result.error["message"]
        assert words in result.err
        assert "--accept-source" in result.error["remedy"]
        assert result.json["requests"]["sent"] == 0
    assert watched.place.accepted_ids() == before
    assert watched.pings() == pings
    assert watched.topics()[-1]["failed"] == "begun"
    assert watched.metric("braze_etl_last_run_error") == {("run", "SourceError"): 1}
    assert watched.metric("braze_etl_last_success_timestamp_seconds") == succeeded
    return result.json


def test_the_same_files_under_another_prefix_are_sent_once_somebody_accepts_them(watched: Watched) -> None:
    place = watched.place
    place.export(events=400, hours=6)
    place.run("--ok-exit", "3")
    held = len(list(place.project.events()))
    (place.folder / "elsewhere").mkdir()
    place.source.rename(place.folder / "elsewhere/export")
    watched.configure(source={**SOURCE, "uri": "elsewhere"})
    plan = place.do("plan", "--output", "json").json
    assert plan["unfamiliar_files"] == plan["files"] >= 10
    assert "another prefix" in place.do("plan").out
    report = refused(watched, "another prefix", runs=2)
    assert report["warnings"]["unfamiliar_files"] == plan["files"]
    backfill = place.do("plan", "--from", "2026-10-01", "--to", "2026-10-02", "--output", "json").json
    assert backfill["unfamiliar_files"] == 0, "a backfill is for files that the ledger does not know"
    accepted = watched.run("--accept-source")
    assert (accepted.code, accepted.json["files"]["done"]) == (0, plan["files"])
    assert len(list(place.project.events())) == held, "with the same insert_ids, which Amplitude knows"
    again = watched.run()
    assert (again.code, again.json["files"]["discovered"]) == (0, 0)
    assert watched.pings() == 3


@pytest.mark.parametrize("what", ["emptied", "misspelt"])
def test_a_source_that_holds_nothing_any_more_is_a_failure(watched: Watched, what: str) -> None:
    place = watched.place
    written = recent(place)
    assert watched.run().code == 0
    assert watched.status()["exit_code"] == 0
    if what == "emptied":
        place.source.rename(place.folder / "kept")
        for path in (place.folder / "kept").rglob("date=*"):  # the folders stay
            (place.source / path.relative_to(place.folder / "kept")).mkdir(parents=True)
    else:
        (place.folder / "exprot").mkdir()
        watched.configure(source={**SOURCE, "uri": "exprot"})
    planned = place.do("plan")
    assert planned.code == 0
    assert "`run` would be refused. There is no Currents file below exp" in planned.out
    refused(watched, "no Currents file below")
    assert watched.run("--accept-source").code == 0
    assert place.do("plan", "--output", "json").json["refusal"] is None
    shutil.rmtree(place.source)
    if what == "emptied":
        (place.folder / "kept").rename(place.source)
    else:
        (place.folder / "exprot").rmdir()
        recent(place, seed=7)
        watched.configure()
    assert watched.run().code == 0
    assert place.accepted_ids() == written.must_arrive()


def test_a_bucket_is_judged_like_a_folder(watched: Watched, bucket: Bucket) -> None:
    """In S3 every prefix exists, also one that nobody ever wrote to; what marks a folder is no file."""
    place = watched.place
    written = recent(place)
    client = boto3.client("s3", endpoint_url=bucket.endpoint_url)
    for path in place.files():
        key = f"currents/{path.relative_to(place.source).as_posix()}"
        client.upload_file(str(path), bucket.name, key)
    client.put_object(Bucket=bucket.name, Key="curents/", Body=b"")
    source = {**SOURCE, "uri": f"{bucket.uri}/currents", "endpoint_url": bucket.endpoint_url}
    watched.configure(source=source)
    assert watched.run().code == 0
    watched.configure(source={**source, "uri": f"{bucket.uri}/curents"})
    refused(watched, f"no Currents file below {bucket.uri}/curents")
    watched.configure(source=source)
    assert watched.run().code == 0
    assert place.accepted_ids() == written.must_arrive()


def test_a_new_ledger_that_finds_nothing_says_so_and_status_does_not_call_it_well(watched: Watched) -> None:
    watched.place.source.mkdir()
    result = watched.run()
    assert (result.code, result.json["warnings"]) == (0, {"nothing_selected": 1})
    assert "there is no event type below source.uri" in result.err
    assert '"message":"nothing was due"' in result.err
    assert "nothing is due: nothing below source.uri is selected" in result.json["causes"][0]
    status = watched.status()
    assert (status["exit_code"], status["source"]["stale"]) == (5, True)
    assert "no file was found yet, QUIET" in watched.place.do("status").out
    assert watched.topics()[-1] == {"stale": "begun"}
    recent(watched.place)
    assert watched.run().code == 0
    assert watched.status()["exit_code"] == 0


@pytest.mark.parametrize("below", [False, True])
def test_an_integration_that_is_not_there_is_told_with_those_that_are(watched: Watched, below: bool) -> None:
    """Also where the keys begin below its folder: then the names of files tell."""
    place = watched.place
    recent(place)
    (connector,) = place.source.glob("dataexport.*")
    there = connector.name.rpartition(".")[2]
    uri = f"export/{connector.name}" if below else "export"
    watched.configure(source={**SOURCE, "uri": uri, "integrations": ["no-such-id"]})
    result = watched.run()
    assert result.json["warnings"] == {"nothing_selected": 1}
    (line,) = [line for line in result.err.splitlines() if "nothing of what lies" in line]
    assert there in line
    assert watched.status()["exit_code"] == 5
    assert watched.metric("braze_etl_warnings_total")["nothing_selected",] == 1


def test_a_source_that_has_gone_quiet_is_told_everywhere_and_so_is_that_it_speaks_again(
    watched: Watched,
) -> None:
    place, now = watched.place, hour_of(datetime.now(UTC))
    place.export(events=400, hours=6, start=now - timedelta(hours=35))
    newest = now - timedelta(hours=30)
    result = watched.run()
    report = result.json
    assert (result.code, watched.pings()) == (0, 1), "a quiet source is no failure"
    assert report["source"] == {"newest_hour": iso(newest), "stale_after_hours": 24.0, "stale": True}
    assert "the source is quiet" in result.err
    status = watched.status()
    assert (status["exit_code"], status["window"]["at_risk"]) == (5, False)
    assert status["source"] == report["source"]
    assert f"{iso(newest)} (30." in place.do("status").out
    assert "QUIET" in place.do("status").out
    assert watched.metric("braze_etl_source_newest_hour_timestamp_seconds") == {(): newest.timestamp()}
    stale_at = newest + timedelta(hours=24)
    assert watched.metric("braze_etl_source_stale_timestamp_seconds") == {(): stale_at.timestamp()}
    assert watched.topics() == [{"stale": "begun"}]
    watched.configure(source={**SOURCE, "lookback": "1h"})
    assert watched.run().json["source"]["newest_hour"] == iso(newest), "remembered, though none is listed"
    watched.configure(window={"source_stale_after": "48h"})
    assert watched.status()["exit_code"] == 0
    watched.configure()
    recent(place, seed=9)
    assert watched.run().json["source"]["stale"] is False
    assert watched.status()["exit_code"] == 0
