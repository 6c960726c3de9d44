from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeAlias

import pytest

from braze_etl.checkpoint import Backlog, LedgerSummary
from braze_etl.model import FileRef
from braze_etl.run.finding.familiarity import Familiarity

MakeRef: TypeAlias = Callable[..., FileRef]


@pytest.fixture
def summary(now: datetime) -> LedgerSummary:
    """Of a ledger that has delivered all that its last listing, an hour ago, had found."""
    before = now - timedelta(hours=1)
    return LedgerSummary(before, before, Backlog(), None, {}, {}, 1)


@pytest.fixture
def listed(make_ref: MakeRef) -> list[FileRef]:
    return [make_ref(f"new/{hours}", hours_ago=hours) for hours in range(40, 0, -1)]


def strangers(summary: LedgerSummary, listed: list[FileRef], *known: str) -> int:
    familiarity = Familiarity.of(summary)
    for at in range(0, len(listed), 7):
        familiarity.note(listed[at : at + 7], known)
    return familiarity.strangers


def test_where_no_file_of_hours_delivered_before_is_known_all_of_them_are_strangers(
    summary: LedgerSummary, listed: list[FileRef]
) -> None:
    assert 30 <= strangers(summary, listed) < 40  # the last hours may be new


def test_one_old_acquaintance_is_enough(summary: LedgerSummary, listed: list[FileRef]) -> None:
    assert strangers(summary, listed, "new/20") == 0


def test_a_few_files_may_have_come_late(summary: LedgerSummary, listed: list[FileRef]) -> None:
    assert strangers(summary, listed[:5]) == 0


def test_what_the_last_runs_left_over_was_never_known(summary: LedgerSummary, listed: list[FileRef]) -> None:
    behind = LedgerSummary(
        summary.last_delivery,
        summary.last_listing,
        Backlog(40, 40_000, oldest_hour=listed[0].hour),
        *(None, {}, {}, 1),
    )
    assert strangers(behind, listed) == 0


def test_a_ledger_that_has_not_delivered_yet_knows_nobody(
    summary: LedgerSummary, listed: list[FileRef]
) -> None:
    new = LedgerSummary(None, summary.last_listing, Backlog(), None, {}, {}, 1)
    assert strangers(new, listed) == 0
