"""How often runs begin, and whether an outage is given up before the next one."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from braze_etl.engine.forecast import too_patient
from braze_etl.state.ledger import RunRecord


def runs(now: datetime, count: int, minutes: int, max_runtime: float | None) -> list[RunRecord]:
    """Scheduled runs, the newest first."""
    begun = [now - timedelta(minutes=minutes * number) for number in range(count)]
    return [RunRecord(f"r{at}", "run", at, at, 0, {"max_runtime": max_runtime}) for at in begun]


@pytest.mark.parametrize(
    ("past", "max_runtime", "words"),
    [
        ((10, 60, None), None, None),
        ((10, 5, None), None, "5m apart"),
        ((2, 1, None), None, None),
        ((0, 0, None), timedelta(minutes=7), "--max-runtime 7m"),
        ((10, 60, 420.0), None, "--max-runtime 7m"),
        ((10, 60, 420.0), timedelta(minutes=50), None),
    ],
    ids=["an hour apart", "5 minutes apart", "two by hand", "a short one", "the last was short", "long"],
)
def test_patience_is_measured_by_the_runs(
    now: datetime, past: tuple[int, int, float | None], max_runtime: timedelta | None, words: str | None
) -> None:
    said = too_patient(timedelta(minutes=10), runs(now, *past), max_runtime)
    assert (words or "") in (said or "")
    assert (said is None) == (words is None)
