"""Connections that break, hang, or never come to be."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import yaml

from tests.faults.conftest import SMALL, deliver_all, nothing_is_lost
from tests.faults.processes import wait_until
from tests.workplace import Workplace

BROKEN: dict[str, tuple[dict[str, Any], bool]] = {
    "reset before the body": ({"reset": "before_body"}, False),
    "reset after the body": ({"reset": "after_body"}, False),
    "reset during the reply": ({"reset": "during_reply"}, True),
    "a reply that is cut off": ({"truncate_reply": True}, True),
    "an answer that is lost": ({"ingest_then": {"reset": "after_body"}}, True),
    "an answer that a proxy replaced": ({"ingest_then": {"reply": {"status": 502, "body": "<html>"}}}, True),
    "no answer in time": ({"hang": 5}, False),
    "an answer that comes too late": ({"delay": 1.5}, True),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_on_the_way_is_sent_again_and_amplitude_keeps_one(place: Workplace, name: str) -> None:
    written = place.export(events=350, hours=1, duplicates=0)
    fault, repeats = BROKEN[name]
    place.inject(yaml.safe_dump([{"when": {"request": 2}, "do": fault}]))
    report = place.run()
    assert report["exit_code"] == 0, report
    assert report["requests"]["retried"] > 0
    wait_until(lambda: place.amplitude.stats()["in_flight"] == 0, "the late request is dealt with too")
    nothing_is_lost(place, written)
    assert (place.amplitude.stats()["duplicates"] > 0) is repeats


@pytest.mark.parametrize("what", ["nobody listens", "no such host"])
def test_an_amplitude_that_is_not_there_ends_the_run_and_everything_stays_open(
    place: Workplace, what: str
) -> None:
    written = place.export(events=200, hours=1)
    endpoint = {
        "nobody listens": f"http://127.0.0.1:{_unused_port()}",
        "no such host": "https://host.invalid",
    }
    place.configure(amplitude={**SMALL, "endpoint": endpoint[what], "give_up_after": "1s"}, workers=1)
    result = place.do("run", "--output", "json")
    assert result.code == 1, result
    assert "stays open" in result.error["remedy"] or "amplitude.endpoint" in result.error["remedy"]
    place.configure(amplitude=SMALL, workers=1)
    deliver_all(place)
    nothing_is_lost(place, written)


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
