"""When a webhook is told: a table over the runs of a day, with the clock handed in."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest

from braze_etl.engine.forecast import Window
from braze_etl.engine.report import RunReport
from braze_etl.errors import KeyRefusedError, StoreError
from braze_etl.model import Counts, Reason, Tally
from braze_etl.monitoring.notices import Notice, decide, judge, message, remembered
from braze_etl.monitoring.settings import Topic

ALL: tuple[Topic, ...] = ("failed", "at_risk", "quarantined", "budget", "drift")
DAY = timedelta(hours=24)


class Told:
    """Runs every so often, and what each told: `phase` by topic."""

    def __init__(self, now: datetime, *, repeat_every: timedelta = DAY) -> None:
        self.now = now
        self.memory: dict[str, Any] = {}
        self.repeat_every = repeat_every

    def run(self, minutes: int = 5, **judged: str) -> dict[str, str]:
        """A run so long after the last one."""
        self.now += timedelta(minutes=minutes)
        topics: dict[Topic, str] = {topic: judged[topic] for topic in ALL if topic in judged}
        found = decide(topics, self.memory, self.now, on=ALL, repeat_every=self.repeat_every)
        self.memory = orjson.loads(orjson.dumps(remembered(self.memory, found, self.now)))
        return {each.topic: each.phase for each in found}


@pytest.fixture
def told(now: datetime) -> Told:
    return Told(now)


def test_a_failure_of_a_day_is_told_when_it_begins_each_day_and_when_it_is_over(told: Told) -> None:
    phases = [told.run(failed="key refused").get("failed") for _ in range(288 + 1)]
    assert phases[0] == "begun"
    assert phases[288] == "lasting"
    assert not any(phases[1:288])
    assert told.run(60, failed="") == {"failed": "over"}
    assert told.run(failed="") == {}


def test_what_comes_and_goes_does_not_flood(told: Told) -> None:
    messages = [told.run(failed="" if number % 2 else "down") for number in range(288)]
    assert messages[0] == {"failed": "begun"}
    assert messages[1] == {}
    assert sum(map(bool, messages)) <= 48


def test_a_new_failure_is_told_at_once_after_the_last_was_over(told: Told) -> None:
    told.run(failed="down")
    assert told.run(90, failed="") == {"failed": "over"}
    assert told.run(5, failed="down again") == {"failed": "begun"}


def test_what_each_run_sets_aside_is_told_once_a_day_and_is_never_over(told: Told) -> None:
    phases = [told.run(quarantined="3 entries" if number % 2 == 0 else "") for number in range(2 * 288)]
    assert [each for each in phases if each] == [{"quarantined": "begun"}, {"quarantined": "begun"}]


def test_topics_do_not_hide_each_other(told: Told) -> None:
    assert told.run(failed="down", at_risk="12 hours left") == {"failed": "begun", "at_risk": "begun"}
    assert told.run(failed="down", at_risk="11 hours left", budget="80 % spent") == {"budget": "begun"}


def test_what_a_run_can_not_judge_stays_as_it_was(told: Told) -> None:
    told.run(failed="down")
    assert told.run(90) == {}
    assert told.run(failed="") == {"failed": "over"}


def test_only_what_is_asked_for_is_told(now: datetime) -> None:
    judged: dict[Topic, str] = {"failed": "down", "drift": "new"}
    asked: tuple[Topic, ...] = ("drift", "drift")
    found = decide(judged, {}, now, on=asked, repeat_every=DAY)
    assert [each.topic for each in found] == ["drift"]


def report(now: datetime, **facts: Any) -> RunReport:
    found = RunReport("r1", "eu", "run", now, finished_at=now, exit_code=0)
    found.window = Window(timedelta(hours=48), timedelta(hours=24), None, now)
    for name, value in facts.items():
        setattr(found, name, value)
    return found


def test_a_good_run_says_nothing(now: datetime) -> None:
    assert not any(judge(report(now)).values())


def test_a_run_says_what_is_wrong_in_words(now: datetime) -> None:
    bad = report(
        now,
        exit_code=1,
        error=KeyRefusedError("Amplitude refused the API key.", remedy="Check it."),
        window=Window(timedelta(hours=48), timedelta(hours=24), now - timedelta(hours=30), now),
        newly_set_aside=7,
        counts=Counts(
            {"t": Tally(quarantined=7)},
            Counter({("t", Reason.REJECTED): 4, ("t", Reason.TOO_LARGE): 3, ("t", Reason.HELD): 9}),
        ),
    )
    judged = judge(bad)
    assert judged["failed"] == "Amplitude refused the API key. Check it."
    assert judged["at_risk"] == "18.0 of 48 hours left, oldest undelivered hour 2026-10-02T06:30:00Z"
    assert "7 entries" in judged["quarantined"]
    assert "(4 rejected, 3 too_large)" in judged["quarantined"]


def test_names_out_of_files_ring_nobody(now: datetime) -> None:
    failed = report(now, error=StoreError("no folder event_type=<!channel>"))
    notice = Notice("failed", "begun", judge(failed)["failed"])
    assert "&lt;!channel&gt;" in message(failed, [notice])["text"]
    failed = report(now, error=StoreError("no folder a\nfailed: over\u202e\x1b"))
    notice = Notice("failed", "begun", judge(failed)["failed"])
    assert r"no folder a\nfailed: over\u202e\x1b" in message(failed, [notice])["text"]


def test_an_interrupted_run_does_not_say_that_a_failure_is_over(now: datetime) -> None:
    assert "failed" not in judge(report(now, exit_code=143))


def test_a_source_that_was_never_listed_is_a_risk(now: datetime) -> None:
    never = Window(timedelta(hours=48), timedelta(hours=24), None, None)
    assert "never listed" in judge(report(now, window=never))["at_risk"]


def test_the_message_is_for_people_and_machines(now: datetime) -> None:
    failed = report(now, exit_code=1, error=KeyRefusedError("Refused.", remedy="Check the key."))
    found = decide(judge(failed), {}, now, on=ALL, repeat_every=DAY)
    body = message(failed, found)
    assert body["text"].splitlines() == [
        "braze-etl, pipeline eu, run r1",
        "failed: Refused. Check the key.",
    ]
    assert (body["pipeline"], body["exit_code"], body["topics"]) == ("eu", 1, {"failed": "begun"})
