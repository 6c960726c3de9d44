"""The state in S3, and `state unlock` and `state copy`, as their users have them: processes and a real S3."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pytest

from tests.faults.processes import kill, wait_until
from tests.workplace import KEY, Workplace, ended

SLOW = {"max_events": 10, "concurrency": 1}


def on_s3(place: Workplace, bucket: Any, **sections: Any) -> None:
    """Keep the state of *place* in the bucket."""
    state = {"uri": f"{bucket.uri}/state", "endpoint_url": bucket.endpoint_url}
    place.configure(state=state, **sections)


def at_work(place: Workplace, bucket: Any) -> Any:
    """A run of one worker that takes long, and has delivered something."""
    on_s3(place, bucket, workers=1, amplitude=SLOW)
    place.inject("- do: {delay: 3}")
    run = place.start("run", "--output", "json")
    wait_until(lambda: place.amplitude.stats()["events_held"] > 0, "an event arrives")
    return run


def test_a_run_keeps_its_state_in_s3_and_the_next_one_finds_it(workplace: Any, bucket: Any) -> None:
    written = workplace.export(events=800)
    on_s3(workplace, bucket)
    assert workplace.run()["files"]["done"] == written.summary.files
    assert workplace.run()["files"]["discovered"] == 0
    assert workplace.accepted_ids() == written.must_arrive()
    assert not (workplace.folder / "state").exists()
    status = workplace.do("status", "--output", "json").json
    assert [run["exit_code"] for run in status["runs"]] == [0, 0]
    assert status["lease"] is None
    assert workplace.do("plan", "--output", "json").json["files"] == 0


def test_a_store_that_is_not_there_fails_the_run_with_its_remedy(workplace: Any, bucket: Any) -> None:
    workplace.export(events=50)
    nowhere = {"uri": "s3://no-such-bucket/state", "endpoint_url": bucket.endpoint_url}
    workplace.configure(state=nowhere)
    result = workplace.do("run", "--output", "json")
    assert (result.code, result.error["type"]) == (1, "StateError")
    assert "there is no bucket no-such-bucket" in result.error["message"]
    assert "URI" in result.error["remedy"]


@pytest.mark.skipif(sys.platform != "linux", reason="stops processes")
class TestTwoRuns:
    def test_the_second_exits_11_and_a_run_after_a_kill_starts_at_once(
        self, workplace: Any, bucket: Any
    ) -> None:
        written = workplace.export(events=200, hours=1, duplicates=0)
        first = at_work(workplace, bucket)
        second = workplace.do("run", "--output", "json")
        assert second.code == 11
        assert f"process {first.pid}, since" in second.error["message"]
        assert ", until 20" in second.error["message"]
        assert f"process {first.pid}" in workplace.do("status", "--output", "json").json["lease"]
        kill(first.pid)
        first.communicate()
        workplace.recover()
        assert workplace.run()["exit_code"] == 0
        assert workplace.accepted_ids() == written.must_arrive()

    def test_a_stopped_holder_that_was_unlocked_stores_nothing_when_it_goes_on(
        self, workplace: Any, bucket: Any
    ) -> None:
        written = workplace.export(events=200, hours=1, duplicates=0)
        first = at_work(workplace, bucket)
        os.kill(first.pid, signal.SIGSTOP)
        shown = workplace.do("state", "unlock")
        assert shown.code == 2
        assert f"process {first.pid}" in shown.out
        unlocked = workplace.do("state", "unlock", "--yes", "--output", "json").json
        assert unlocked["released"] is True
        assert unlocked["holder"]["pid"] == first.pid
        workplace.recover()
        done = workplace.run()["files"]["done"]
        os.kill(first.pid, signal.SIGCONT)
        result = ended(first)
        assert result.code == 1
        assert "taken over while this run stood still" in result.error["message"]
        assert done == written.summary.files
        assert workplace.accepted_ids() == written.must_arrive()
        assert workplace.run()["files"]["discovered"] == 0


class TestUnlock:
    def test_a_free_lease_is_said_to_be_free(self, workplace: Any, bucket: Any) -> None:
        workplace.export(events=50)
        on_s3(workplace, bucket)
        workplace.run()
        assert workplace.do("state", "unlock").out == "the lease is free\n"

    def test_a_missing_ledger_is_not_created(self, workplace: Any) -> None:
        result = workplace.do("state", "unlock")
        assert result.code == 1
        assert "There is no ledger" in result.err
        assert not workplace.ledger.exists()

    def test_a_lock_of_the_operating_system_ends_with_its_process(self, workplace: Any) -> None:
        workplace.export(events=200, hours=1, duplicates=0)
        workplace.configure(workers=1, amplitude=SLOW)
        workplace.inject("- do: {delay: 0.5}")
        run = workplace.start("run", "--output", "json")
        wait_until(lambda: workplace.amplitude.stats()["events_held"] > 0, "an event arrives")
        result = workplace.do("state", "unlock", "--yes", "--output", "json")
        assert result.code == 11
        assert f"process {run.pid}" in result.error["message"]
        assert "the lease ends with its process" in result.error["remedy"]
        workplace.recover()
        assert ended(run).code == 0


class TestCopy:
    def test_a_copy_there_and_back_goes_on_where_the_original_stood(
        self, workplace: Any, bucket: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", bucket.endpoint_url)
        written = workplace.export(events=300)
        workplace.run()
        result = workplace.do("state", "copy", "config.yaml", f"{bucket.uri}/moved", "--output", "json").json
        assert result["files"] == {"done": written.summary.files}
        assert (result["runs"], result["to"]) == (1, f"{bucket.uri}/moved")
        workplace.configure(state={"uri": f"{bucket.uri}/moved"})
        assert workplace.run()["files"]["discovered"] == 0
        back = workplace.do("state", "copy", f"{bucket.uri}/moved", "sqlite:///back/ledger.db")
        assert back.code == 0
        assert f"{written.summary.files:,} done" in back.out
        workplace.configure(state={"uri": "sqlite:///back/ledger.db"})
        assert workplace.run()["files"]["discovered"] == 0
        assert len(workplace.do("status", "--output", "json").json["runs"]) == 3

    def test_a_place_in_use_and_a_missing_one_are_refused(self, workplace: Any) -> None:
        workplace.export(events=50)
        workplace.run()
        full = workplace.do("state", "copy", "sqlite:///state/braze-etl.db", "sqlite:///b.db")
        assert full.code == 0
        again = workplace.do("state", "copy", "sqlite:///state/braze-etl.db", "sqlite:///b.db")
        assert again.code == 1
        assert "is not empty" in again.err
        assert workplace.do("state", "copy", "config.yaml", "config.yaml").code == 2
        missing = workplace.do("state", "copy", "sqlite:///none.db", "sqlite:///c.db")
        assert missing.code == 1
        assert "There is no ledger at none.db" in missing.err
        assert not (workplace.folder / "c.db").exists()
        workplace.configure(state={"uri": "sqlite:///none.db"})
        unlocked = workplace.do("state", "unlock", "--yes")
        assert "There is no ledger at none.db yet" in unlocked.err
        assert "never" not in unlocked.err
        assert workplace.do("state", "copy", "postgres://x/y", "sqlite:///c.db").code == 2

    def test_the_state_of_another_project_is_not_copied_into_a_configuration(self, workplace: Any) -> None:
        workplace.export(events=50)
        workplace.run()
        amplitude = {"region": "EU", "api_key": KEY, "project": "other"}
        workplace.configure(state={"uri": "sqlite:///c.db"}, amplitude=amplitude)
        result = workplace.do("state", "copy", "sqlite:///state/braze-etl.db", "config.yaml")
        assert result.code == 2
        assert "belongs to project 'default' in region US" in result.err
        assert not (workplace.folder / "c.db").exists()
