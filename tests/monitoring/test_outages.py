"""Complete outages, seen from outside: exit code, log, dead man's switch, metrics, webhook, the next run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.faults.confined import confined
from tests.faults.conftest import SMALL
from tests.monitoring.test_whole_program import lines_of, samples, sections
from tests.monitoring.watching import Watcher
from tests.workplace import Result, Workplace, balanced, ended


class Operator:
    """Whoever watches over the job, and gives it its commands."""

    def __init__(self, place: Workplace, watcher: Watcher) -> None:
        self.place = place
        self.watcher = watcher
        self._before: tuple[float | None, int] = None, 0

    def configure(self, **others: Any) -> None:
        told = sections(self.watcher)
        amplitude = {**SMALL, **others.pop("amplitude", {})}
        self.place.configure(**{**told, "workers": 1, "amplitude": amplitude, **others})

    def run(self, *arguments: str, file_size: int | None = None) -> Result:
        """A run; with *file_size*, on a disk that has no room for larger files."""
        self._before = self.last_success, self.watcher.asked("/ping")
        words = ("run", "--output", "json", *arguments)
        if file_size is None:
            result = self.place.do(*words)
        else:
            command = confined(self.place.command(*words), file_size=file_size)
            result = ended(self.place.start(command=command))
        if "events" in result.json:
            balanced(result.json)
        return result

    def is_red(self, result: Result, code: int) -> None:
        """No success in any place that somebody may look at, and one word of it at the webhook."""
        assert (result.code, result.json["succeeded"]) == (code, False)
        assert (self.last_success, self.watcher.asked("/ping")) == self._before
        assert self.watcher.told("/hook")[-1]["topics"]["failed"] == "begun"

    @property
    def last_success(self) -> float | None:
        if not (self.place.folder / "braze_etl.prom").exists():
            return None
        return samples(self.place).get(("braze_etl_last_success_timestamp_seconds", "run"))


@pytest.fixture
def operator(workplace: Workplace, watcher: Watcher) -> Operator:
    found = Operator(workplace, watcher)
    found.configure()
    return found


def warnings(result: Result, message: str) -> list[dict[str, Any]]:
    return [line for line in lines_of(result) if line["level"] == "warning" and line["message"] == message]


OUT_OF_REACH = {
    "refused": ("[]", "http://127.0.0.1:9", "refused", "connection was refused"),
    "time-outs": ("- do: {hang: 3}", None, "timeout", "did not answer in time"),
    "resets": ("- do: {reset: during_reply}", None, "reset", "broke before the whole reply"),
    "server errors": ("- do: {reply: {status: 503, body: busy}}", None, "503", "HTTP 503: busy"),
    "no endpoint": ("- do: {reply: {status: 404, body: no app}}", None, "404", "HTTP 404: no app"),
    "a firewall": ("- do: {reply: {status: 403, body: shut}}", None, "403", "HTTP 403: shut"),
}


def test_an_amplitude_out_of_reach_is_no_success_however_short_the_run(operator: Operator) -> None:
    place = operator.place
    written = place.export(events=300, hours=1, duplicates=0)
    for script, endpoint, kind, words in OUT_OF_REACH.values():
        url = endpoint or place.amplitude.url
        place.inject(script)
        operator.configure(amplitude={"give_up_after": "10m", "endpoint": url}, workers=2)
        result = operator.run("--max-runtime", "2s")
        operator.is_red(result, 1)
        assert result.error["type"] == "DeliveryError"
        assert words in result.error["message"]
        (warned,) = [
            line for line in warnings(result, "a request to Amplitude failed") if line["kind"] == kind
        ]
        assert (warned["endpoint"], words in warned["words"]) == (f"{url}/batch", True)
        assert result.json["files"]["remaining"] > 0
        assert warnings(result, "amplitude.give_up_after is longer than a run")
        assert samples(place)["braze_etl_requests_total", kind] == result.json["requests"]["failed"] > 0

    place.recover()
    operator.configure()
    assert operator.run().code == 0
    assert place.accepted_ids() == written.must_arrive()


def test_a_wrong_bound_of_ids_stops_before_it_sets_the_whole_backlog_aside(operator: Operator) -> None:
    place = operator.place
    written = place.export(events=12_000, hours=6, duplicates=0)
    operator.configure(amplitude={"min_id_length": 50})
    stopped = operator.run()
    operator.is_red(stopped, 1)
    read = stopped.json["events"]["read"]
    assert 1_000 <= read < 12_000
    assert stopped.error["type"] == "QuarantineStopError"
    assert "quarantine.stop_at (20%)" in stopped.error["message"]
    assert "--allow-quarantine" in stopped.error["remedy"]
    assert samples(place)["braze_etl_last_run_error", "run QuarantineStopError"] == 1
    set_aside = place.do("quarantine", "list", "--output", "json").json["total"]
    assert set_aside == stopped.json["events"]["quarantined"]

    # It stays so, whatever the configuration says by now, and nothing is sent or set aside meanwhile.
    operator.configure()
    again = place.do("backfill", "--from", "2026-10-01", "--to", "2026-10-02", "--output", "json")
    assert (again.code, again.json["events"]["read"]) == (1, 0)
    assert stopped.json["run_id"] in again.error["message"]
    assert samples(place)["braze_etl_quarantine_entries", ""] == set_aside
    assert stopped.json["run_id"] in json.dumps(place.do("status", "--output", "json").json)
    (check,) = [
        each
        for each in place.do("doctor", "--output", "json").json["checks"]
        if each["check"] == "quarantine.entries"
    ]
    assert check["status"] == "fail"

    # A replay is no part of it. Once a person has looked, the rest arrives, and the stop is over.
    assert place.do("quarantine", "replay", "--output", "json").code in (0, 3)
    pings = operator.watcher.asked("/ping")
    assert operator.run("--allow-quarantine").code in (0, 3)
    assert operator.watcher.asked("/ping") == pings + 1
    assert place.accepted_ids() == written.must_arrive()


def test_whoever_allows_it_sets_aside_as_much_as_there_is(operator: Operator) -> None:
    operator.place.export(events=2_000, hours=1, duplicates=0)
    operator.configure(amplitude={"min_id_length": 50})
    allowed = operator.run("--allow-quarantine")
    assert allowed.code == 3
    assert allowed.json["events"]["quarantined"] > 1_000
    assert operator.run().code == 0


def test_nothing_but_throttling_is_work_left_and_no_success(operator: Operator) -> None:
    written = operator.place.export(events=300, hours=1, duplicates=0, event_types=("*email.Open",))
    body = "{code: 429, error: Too many requests for this project}"
    operator.place.inject(f"- do: {{reply: {{status: 429, headers: {{Retry-After: 1}}, body: {body}}}}}")
    throttled = operator.run("--max-runtime", "3s")
    operator.is_red(throttled, 4)
    assert "throttled" in operator.watcher.told("/hook")[-1]["text"]
    (left,) = warnings(throttled, "work is left for the next run")
    assert any("throttled" in cause for cause in left["causes"])
    operator.place.recover()
    assert operator.run().code == 0
    assert operator.place.accepted_ids() == written.must_arrive()


def test_an_outage_after_good_requests_leaves_work_and_says_why(operator: Operator) -> None:
    written = operator.place.export(events=1_000, hours=1, duplicates=0)
    operator.configure(amplitude={"give_up_after": "10m", "concurrency": 1})
    operator.place.inject("- when: {after: 3}\n  do: {reply: {status: 502, body: gone}}")
    cut_short = operator.run("--max-runtime", "6s")
    assert (cut_short.code, cut_short.json["succeeded"]) == (4, True)
    assert operator.watcher.asked("/ping") == 1
    (left,) = warnings(cut_short, "work is left for the next run")
    assert any("HTTP 502: gone" in cause for cause in left["causes"])
    operator.place.recover()
    assert operator.run().code == 0
    assert operator.place.accepted_ids() == written.must_arrive()


FIRST_WRITES = {
    "the key": {"amplitude": {"api_key": "e" * 32}},
    "the mapping": {"mapping": {"unknown_types": "hold"}},
    "the lease": {},
}


def test_a_full_disk_is_told_whichever_write_of_the_beginning_meets_it(operator: Operator) -> None:
    operator.place.source.mkdir()
    assert operator.run().code == 0
    for number, (write, changed) in enumerate(FIRST_WRITES.items(), 1):
        operator.configure(**changed)
        full = operator.run(file_size=1_024)
        assert (full.code, full.error["type"]) == (1, "StateError"), write
        heard = operator.watcher.told("/hook")
        assert len(heard) == number, write
        assert heard[-1]["topics"] == {"failed": "begun"}
        assert full.error["message"] in heard[-1]["text"]
    assert operator.watcher.asked("/ping") == 1
