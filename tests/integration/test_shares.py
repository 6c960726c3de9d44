"""The limits of the configuration hold for all processes together, and whoever is alone has them whole."""

from __future__ import annotations

import threading
from typing import Any

import pytest


class Slow:
    """An Amplitude that takes its time over each request, and knows how many it had at once.

    It counts until it answers: after that, the next request may begin before the server is done with this.
    """

    def __init__(self, place: Any) -> None:
        self._ingest = place.amplitude.ingest
        self._counting = threading.Lock()
        self._now = 0
        self.most = 0
        place.amplitude.ingest = self.ingest

    def ingest(self, path: str, body: bytes) -> Any:
        with self._counting:
            self._now += 1
            self.most = max(self.most, self._now)
        threading.Event().wait(0.4)
        try:
            return self._ingest(path, body)
        finally:
            with self._counting:
                self._now -= 1


@pytest.fixture
def slow(workplace: Any) -> Slow:
    """What stands in Amplitude's place for four processes."""
    workplace.configure(workers=4, amplitude={"max_events": 400, "concurrency": 8})
    return Slow(workplace)


def export(place: Any, *, files: int, records: int) -> Any:
    kind = ("users.messages.email.Open",)
    each = records // files
    return place.export(events=records, hours=1, event_types=kind, duplicates=0, records_per_file=each)


def test_the_only_process_with_work_has_all_requests_to_itself(workplace: Any, slow: Slow) -> None:
    written = export(workplace, files=1, records=20_000)
    workplace.run()
    assert workplace.accepted_ids() == written.must_arrive()
    assert slow.most == 8


def test_four_processes_that_begin_one_after_the_other_never_have_more_in_flight_than_allowed(
    workplace: Any, slow: Slow
) -> None:
    written = export(workplace, files=8, records=24_000)
    workplace.run()
    assert workplace.accepted_ids() == written.must_arrive()
    assert 4 <= slow.most <= 8


def test_a_stated_rate_holds_for_all_processes_together(workplace: Any) -> None:
    workplace.configure(workers=4, amplitude={"max_events": 250, "rate": 10_000})
    written = export(workplace, files=8, records=24_000)
    report = workplace.run()
    assert workplace.accepted_ids() == written.must_arrive()
    assert report["seconds"] >= (len(written.must_arrive()) - 4 * 250) / 10_000
