"""A clock that is wrong, through the real program: no ledger is born under it, and every run says so."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import boto3
import pytest

from braze_etl.clock import hour_of
from tests.monitoring.watching import watching
from tests.s3_server import Bucket
from tests.workplace import Workplace, ended

NOW = datetime.now(UTC)


@pytest.fixture
def place(workplace: Workplace) -> Workplace:
    """One whose ledger is to begin 48 hours ago, with files of the last hours."""
    workplace.configure(source={"start_at": None})
    workplace.export(events=200, hours=4, start=hour_of(NOW) - timedelta(hours=5))
    return workplace


def tell(place: Workplace, ours_ahead: timedelta) -> None:
    """Amplitude's first answer, that to the probe, tells a time by which our clock is ahead."""
    date = format_datetime(datetime.now(UTC) - ours_ahead, usegmt=True)
    body = "{code: 400, error: no events}"
    place.inject(
        f"- when: {{request: 1}}\n  do: {{reply: {{status: 400, headers: {{Date: '{date}'}}, body: {body}}}}}"
    )


@pytest.mark.parametrize("ahead", [timedelta(days=3), -timedelta(days=365 * 50)], ids=["ahead", "behind"])
def test_no_ledger_is_born_under_a_clock_that_is_wrong(place: Workplace, ahead: timedelta) -> None:
    tell(place, ahead)
    result = place.do("run", "--output", "json")
    assert (result.code, result.error["type"]) == (1, "StateError")
    assert ("ahead of" if ahead > timedelta(0) else "behind") in result.error["message"]
    assert "Set the clock" in result.error["remedy"]
    assert "Nothing was touched" in result.err
    assert not place.ledger.parent.exists()
    assert place.accepted_ids() == []
    place.recover()
    report = place.run()
    assert (report["exit_code"], report["files"]["remaining"]) == (0, 0)
    assert place.accepted_ids(), "all of the last 48 hours"


def test_where_amplitude_is_silent_the_store_is_the_witness(place: Workplace, bucket: Bucket) -> None:
    """The program's clock is three days ahead for real; that of the bucket's server is right."""
    faketime = shutil.which("faketime")
    if faketime is None:
        print("skipped: faketime is not here (Debian package faketime); no clock was put ahead")
        pytest.skip("faketime is not here (Debian package faketime)")
    client = boto3.client("s3", endpoint_url=bucket.endpoint_url)
    path = place.files()[0]
    client.upload_file(str(path), bucket.name, path.relative_to(place.source).as_posix())
    place.configure(
        source={"uri": bucket.uri, "endpoint_url": bucket.endpoint_url, "start_at": None},
        amplitude={"endpoint": "http://127.0.0.1:9"},
    )
    command = [faketime, "-f", "+3d", sys.executable, "-m", "braze_etl", "run", "--output", "json"]
    result = ended(place.start(command=command))
    assert (result.code, result.error["type"]) == (1, "StateError")
    assert "ahead of that of S3" in result.error["message"]
    assert not place.ledger.parent.exists()


@pytest.mark.parametrize("minutes", [5, -5])
def test_a_clock_that_is_minutes_off_is_told_and_delivers(place: Workplace, minutes: int) -> None:
    tell(place, timedelta(minutes=minutes))
    result = place.do("run", "--output", "json")
    assert (result.code, result.json["warnings"]["clock_differs"]) == (0, 1)
    assert "the clock of this machine is wrong" in result.err
    assert ("ahead of" if minutes > 0 else "behind") in result.err
    place.recover()
    assert "clock_differs" not in place.run()["warnings"]


def test_a_beginning_in_the_future_is_refused_and_nothing_is_touched(place: Workplace) -> None:
    place.configure(source={"start_at": (NOW + timedelta(days=30)).date().isoformat()})
    result = place.do("run", "--output", "json")
    assert (result.code, result.error["type"]) == (2, "ConfigError")
    assert "source.start_at" in result.error["remedy"]
    assert not place.ledger.parent.exists()


def test_a_ledger_that_was_born_under_a_wrong_clock_fails_once_the_clock_is_right(place: Workplace) -> None:
    place.source.rename(place.folder / "kept")
    place.source.mkdir()
    place.run()
    with closing(sqlite3.connect(place.ledger)) as connection, connection:
        connection.execute("UPDATE ledger SET start_at = start_at + 3 * 86400 * 1000000")
    place.source.rmdir()
    (place.folder / "kept").rename(place.source)
    with watching() as watcher:
        notify = {"webhook": f"{watcher.url}/hook", "dead_man": f"{watcher.url}/ping"}
        place.configure(source={"start_at": None}, notify=notify)
        result = place.do("run", "--output", "json")
        assert (result.code, result.error["type"]) == (1, "StateError")
        assert "until then all is skipped" in result.err
        assert watcher.asked("/ping") == 0
        assert watcher.told("/hook")[0]["topics"]["failed"] == "begun"
    checks = {check["check"]: check for check in place.do("doctor", "--output", "json").json["checks"]}
    assert checks["state.ledger"]["status"] == "fail"
    place.ledger.unlink()  # the remedy
    assert place.run()["exit_code"] == 0
    assert place.accepted_ids()
