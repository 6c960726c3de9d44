"""How often runs begin, and whether one is over before it would give an outage of Amplitude up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Final

from braze_etl.checkpoint import RunRecord
from braze_etl.clock import duration_text

SHORTER_PATIENCE: Final = (
    "Set amplitude.give_up_after below both: a run that gives up names the cause while there is time left."
)
_SCHEDULED: Final = "run"
_RUNS_THAT_TELL: Final = 3
"""With fewer, somebody has started them by hand."""


def distance(runs: Sequence[RunRecord]) -> timedelta | None:
    """The middle of the distances between the beginnings of scheduled runs; None with less than two."""
    starts = sorted(run.started_at for run in runs if run.command == _SCHEDULED)
    gaps = sorted(later - earlier for earlier, later in pairwise(starts))
    return gaps[len(gaps) // 2] if gaps else None


def too_patient(
    patience: timedelta, runs: Sequence[RunRecord], max_runtime: timedelta | None = None
) -> str | None:
    """Say why *patience* (`give_up_after`) is too long for *runs*, the newest first; None if it is not.

    *max_runtime* is that of the run to come; where it is not known, that of the last one.
    """
    scheduled = [run for run in runs if run.command == _SCHEDULED]
    last = scheduled[0].report.get("max_runtime") if scheduled else None
    limit = max_runtime or (timedelta(seconds=last) if last else None)
    if limit is not None and limit < patience:
        return f"give_up_after is {duration_text(patience)}, and --max-runtime {duration_text(limit)}"
    between = distance(scheduled) if len(scheduled) >= _RUNS_THAT_TELL else None
    if between is not None and between < patience:
        apart = duration_text(timedelta(seconds=round(between.total_seconds())))
        return f"give_up_after is {duration_text(patience)}, and runs begin {apart} apart"
    return None
