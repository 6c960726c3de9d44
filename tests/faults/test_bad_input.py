"""Input that is not what it should be: one clear sentence, the right exit code, nothing else touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults.confined import confined
from tests.faults.conftest import SMALL, deliver_all, nothing_is_lost
from tests.workplace import Workplace, balanced, ended


def key_of(place: Workplace, path: Path) -> str:
    return path.relative_to(place.source).as_posix()


def test_bad_files_are_set_aside_and_their_good_blocks_and_all_other_files_arrive(place: Workplace) -> None:
    written = place.export(events=6000, hours=1, duplicates=0, codec="mixed")
    by_size = sorted(place.files(), key=lambda path: path.stat().st_size)
    empty, garbage, headless = by_size[:3]
    truncated, damaged = by_size[-1], by_size[-2]
    empty.write_bytes(b"")
    garbage.write_bytes(b"<html>no such bucket</html>" * 100)
    headless.write_bytes(headless.read_bytes()[100:])
    truncated.write_bytes(truncated.read_bytes()[:-5000])
    data = bytearray(damaged.read_bytes())
    data[-9000:-8980] = bytes(20)
    damaged.write_bytes(data)

    report = place.run()
    assert report["exit_code"] == 3
    assert report["files"]["failed"] == 5
    assert report["reasons"]["unreadable_file"] == 3
    assert report["reasons"]["damaged_block"] == 2
    gone = {key_of(place, path) for path in (empty, garbage, headless)}
    partly = {key_of(place, path) for path in (truncated, damaged)}
    arrived = set(place.accepted_ids())
    assert set(written.must_arrive(written.where(lambda r: r["key"] not in gone | partly))) <= arrived
    assert arrived.isdisjoint(written.must_arrive(written.where(lambda r: r["key"] in gone)))
    for key in partly:
        mine = set(written.must_arrive([record for record in written.records if record["key"] == key]))
        assert len(mine) * 0.5 < len(mine & arrived) < len(mine)

    again = place.run()
    assert again["exit_code"] == 0
    assert again["files"]["discovered"] == 0
    entries = place.do("quarantine", "list", "--output", "json").json["entries"]
    assert {entry["key"] for entry in entries if entry["reason"] == "unreadable_file"} == gone


def test_entries_of_a_bad_file_are_closed_by_the_delivery_of_the_whole_one(place: Workplace) -> None:
    written = place.export(events=3000, hours=1, duplicates=0, codec="mixed")
    truncated, garbage = sorted(place.files(), key=lambda path: path.stat().st_size)[-2:]
    contents = {path: path.read_bytes() for path in (truncated, garbage)}
    truncated.write_bytes(contents[truncated][:-3000])
    garbage.write_bytes(b"?" * 500)
    report = place.run()
    assert (report["exit_code"], report["files"]["failed"]) == (3, 2)

    for path, content in contents.items():
        path.write_bytes(content)
    result = place.do("run", "--output", "json", "--log-format", "json")
    report = balanced(result.json)
    assert (result.code, report["files"]["done"], report["closed"]) == (0, 2, 2)
    assert "entries were closed" in result.err
    assert place.accepted_ids() == written.must_arrive()
    assert place.do("quarantine", "list", "--output", "json").json["entries"] == []
    assert place.do("status", "--output", "json").json["quarantined"] == 0
    assert "closed" not in place.run()


def test_a_file_that_may_not_be_read_stops_no_other_file(place: Workplace) -> None:
    written = place.export(events=350, hours=1, duplicates=0)
    secret = place.files()[3]
    secret.chmod(0o000)
    command = confined(place.command("run", "--output", "json"), obey_modes=True)
    result = ended(place.start(command=command))
    report = balanced(result.json)
    assert result.code == 4
    assert report["files"]["done"] == report["files"]["discovered"] - 1
    assert key_of(place, secret) in report["unavailable"]["access_denied"]["message"]
    others = written.where(lambda record: record["key"] != key_of(place, secret))
    assert place.accepted_ids() == written.must_arrive(others)
    secret.chmod(0o644)
    assert place.run()["exit_code"] == 0
    assert place.accepted_ids() == written.must_arrive()


def test_a_link_that_leads_nowhere_is_no_file_and_stops_no_other(place: Workplace) -> None:
    written = place.export(events=350, hours=1, duplicates=0)
    gone = place.files()[5]
    gone.unlink()
    gone.symlink_to(place.folder / "nowhere")
    report = place.run()
    assert report["exit_code"] == 0
    others = written.where(lambda record: record["key"] != key_of(place, gone))
    assert place.accepted_ids() == written.must_arrive(others)


def test_a_missing_folder_fails_the_run_and_is_found_when_it_is_back(place: Workplace) -> None:
    written = place.export(events=100, hours=1)
    place.source.rename(place.folder / "elsewhere")
    result = place.do("run", "--output", "json")
    assert result.code == 1
    assert "export" in result.error["message"]
    assert result.error["remedy"]
    (place.folder / "elsewhere").rename(place.source)
    deliver_all(place)
    nothing_is_lost(place, written)


def test_a_folder_for_temporary_files_that_takes_no_socket_is_named(place: Workplace) -> None:
    deep = place.folder / ("d" * 90)
    deep.mkdir()
    result = place.do("run", "--output", "json", TMPDIR=str(deep))
    assert result.code == 2
    assert "temporary files" in result.error["message"]
    assert "TMPDIR" in result.error["remedy"]


def test_a_start_that_was_changed_afterwards_is_told_to_have_no_effect(place: Workplace) -> None:
    place.export(events=20, hours=1)
    assert "no effect" not in place.do("run").err
    place.configure(source={"start_at": "2026-09-01T05"})
    told = place.do("run").err
    assert "source.start_at has no effect any more" in told
    assert "2026-09-01T05:00:00Z" in told
    assert "backfill --from" in told


def test_a_bucket_that_does_not_exist_is_named(place: Workplace, s3_server: str) -> None:
    place.configure(source={"uri": "s3://no-such-bucket-here/currents", "endpoint_url": s3_server})
    result = place.do("run", "--output", "json")
    assert result.code == 1
    assert "no-such-bucket-here" in result.error["message"]
    assert result.error["remedy"]


USAGE: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown key": ({"amplitud": {}}, "amplitude"),
    "an unknown key in a section": ({"amplitude": {"give_up": "3s"}}, "amplitude.give_up_after"),
    "a duration without a unit": ({"amplitude": {"timeout": 20}}, "amplitude.timeout"),
    "a region that is none": ({"amplitude": {"region": "ASIA"}}, "amplitude.region"),
    "an empty key": ({"amplitude": {"api_key": ""}}, "amplitude.api_key"),
}


@pytest.mark.parametrize("name", USAGE)
def test_a_bad_configuration_is_refused_before_anything_is_touched(place: Workplace, name: str) -> None:
    sections, word = USAGE[name]
    place.configure(**sections)
    result = place.do("run", "--output", "json")
    assert result.code == 2
    assert word in result.error["message"]
    assert not place.ledger.exists()
    assert place.amplitude.stats()["requests"] == {}


def test_a_rate_of_our_own_is_kept_over_all_workers(place: Workplace) -> None:
    written = place.export(events=700, hours=1, duplicates=0, records_per_file=50)
    place.configure(amplitude={**SMALL, "rate": 300}, workers=2)
    report = place.run()
    nothing_is_lost(place, written)
    # The first batch of each worker goes at once.
    assert report["seconds"] > (len(written.must_arrive()) - 2 * 100) / 300
