"""A workplace with short time limits and small requests, and what every row of the fault matrix ends with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from braze_etl.sandbox.amplitude.project import Project
from braze_etl.sandbox.amplitude.replies import Reply
from tests.workplace import KEY, Workplace, Written, open_workplace

SMALL = {"max_events": 100, "timeout": "1s", "give_up_after": "3s"}
_MOST_RUNS = 3


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workplace]:
    with open_workplace(tmp_path) as place:
        place.configure(amplitude=SMALL, workers=1)
        yield place


class Picky(Project):
    """A project that refuses, in the way of *refuse*, what the real rules would take."""

    def __init__(self, refuse: Callable[[list[dict[str, Any]]], Reply | None], **options: Any) -> None:
        super().__init__(api_key=KEY, **options)
        self._refuse = refuse

    def _events_refusal(self, request: Any) -> Reply | None:
        return self._refuse(request.events) or super()._events_refusal(request)


def deliver_all(place: Workplace) -> dict[str, Any]:
    """Run until nothing is left, on an Amplitude that has recovered; the last report."""
    place.recover()
    for _ in range(_MOST_RUNS):
        report = place.run()
        if report["exit_code"] in (0, 3):
            return report
        place.let_waits_pass()
    pytest.fail(f"after {_MOST_RUNS} runs without a fault there is work left: {report['files']}")


def nothing_is_lost(place: Workplace, written: Written, *, but: tuple[str, ...] = ()) -> None:
    """What Amplitude holds is what it must hold, without the ids that a test had refused."""
    assert place.accepted_ids() == [id_ for id_ in written.must_arrive() if id_ not in but]
