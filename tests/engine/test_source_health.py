from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import pytest

from braze_etl.braze.currents.listing import Listing
from braze_etl.clock import ManualClock
from braze_etl.engine.due import HOURS_KEPT
from braze_etl.engine.source_health import Familiarity, Judgement, Recognition
from braze_etl.errors import SourceError
from braze_etl.model import FileRef, FileSettlement, FileState, Tally
from braze_etl.state.ledger import Backlog, BacklogLine, LedgerIdentity, LedgerSummary
from braze_etl.state.sqlite import SqliteLedger
from braze_etl.storage.folder import FolderStore

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


def test_what_waits_is_no_stranger_and_hides_none(summary: LedgerSummary, listed: list[FileRef]) -> None:
    """What is deferred for days keeps its hour on the books; another export stands out all the same."""
    waiting = replace(
        summary,
        backlog=Backlog(3, 3000, oldest_hour=listed[0].hour, by_hour={listed[0].hour: BacklogLine(3, 3000)}),
    )
    same_hour = [replace(listed[0], key=f"same/{number}") for number in range(12)]
    assert strangers(waiting, same_hour[:12]) == 0
    assert strangers(waiting, [*same_hour, replace(listed[0], key="one/more")]) == 10
    assert strangers(waiting, listed) == strangers(summary, listed) - 1


def test_of_a_long_backlog_the_first_line_stands_for_all_that_is_older(
    summary: LedgerSummary, make_ref: MakeRef
) -> None:
    hours = [make_ref(f"new/{hours}", hours_ago=hours).hour for hours in range(HOURS_KEPT + 10, 9, -1)]
    lines = {hour: BacklogLine(1, 1) for hour in hours[1:]} | {hours[0]: BacklogLine(50, 50)}
    behind = replace(summary, backlog=Backlog(999, 999, oldest_hour=hours[0], by_hour=lines))
    older = [
        make_ref(f"old/{hours}", hours_ago=hours) for hours in range(HOURS_KEPT + 60, HOURS_KEPT + 10, -1)
    ]
    assert strangers(behind, older) == 0
    assert strangers(behind, [*older, *(replace(older[0], key=f"more/{n}") for n in range(10))]) == 10


class Source:
    """A folder, and a ledger that has delivered from it."""

    def __init__(self, folder: Path, now: datetime, ref: FileRef) -> None:
        self.folder = folder
        self.ledger = SqliteLedger.in_memory(LedgerIdentity("p", "shop", "US"), clock=ManualClock(now))
        self.ref = ref
        done = FileSettlement(ref, FileState.DONE, Tally(accepted=1), ())
        self.ledger.settle("r1", [done], Backlog())
        self.ledger.record_listing(now, Backlog(), complete=True)

    def judge(self, *, accepted: bool = False, uri: str = "export") -> Judgement:
        """A complete listing, judged; whatever file is there is the one that was delivered."""
        listing = Listing(FolderStore(self.folder), since=datetime(2026, 1, 1, tzinfo=UTC))
        seen = Familiarity.of(self.ledger.summary())
        seen.note([self.ref for _ in listing], [self.ref.key])
        recognition = Recognition(self.ledger, uri, accepted=accepted)
        judged = recognition.judge(listing, seen, complete=True)
        recognition.remember(judged, seen)
        return judged


def test_an_accepted_silence_holds_until_the_source_speaks(
    tmp_path: Path, now: datetime, make_ref: MakeRef
) -> None:
    source = Source(tmp_path, now, make_ref("one", hours_ago=40))
    assert source.judge().refusal is not None
    assert source.judge(accepted=True).refusal is None
    assert source.judge().refusal is None, "it is remembered"
    assert source.judge(uri="exprot").refusal is not None, "of that source alone"
    connector = "dataexport.prod-01.S3.integration.0123456789abcdef01234567"
    file = tmp_path / f"{connector}/event_type={source.ref.event_type}/date=2026-10-01-00/version=1/us/a.avro"
    file.parent.mkdir(parents=True)
    file.touch()
    assert source.judge() == Judgement(Counter())
    file.unlink()
    assert isinstance(source.judge().refusal, SourceError), "it was accepted for the time being"


def test_a_part_of_a_listing_and_a_stated_range_say_nothing_of_the_source(
    tmp_path: Path, now: datetime, make_ref: MakeRef
) -> None:
    source = Source(tmp_path, now, make_ref("one", hours_ago=40))
    listing = Listing(FolderStore(tmp_path), since=now)
    recognition, seen = Recognition(source.ledger, "export"), Familiarity(None)
    assert list(listing) == []
    assert recognition.judge(listing, seen, complete=False) == Judgement(Counter())
    backfill = recognition.judge(listing, seen, complete=True, covers_all=False)
    assert backfill == Judgement(Counter(nothing_selected=1))
