"""A ledger moves from any store to any other, and tells the same there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import pytest

from braze_etl.clock import ManualClock
from braze_etl.errors import LeaseHeldError, StateError
from braze_etl.model import Reason
from braze_etl.state.ledger import (
    Backlog,
    LeaseOwner,
    Ledger,
    LedgerContents,
    PrunedFiles,
    RunRecord,
    SettledFile,
)
from braze_etl.state.opening import copy_ledger
from braze_etl.state.s3.compaction import MOST_ENTRIES
from braze_etl.state.s3.ledger import S3Ledger
from braze_etl.state.sqlite import SqliteLedger
from tests.state.bucket import MemoryBucket
from tests.state.ground import (
    IDENTITY,
    NOON,
    OWNER,
    backlog,
    by_hand,
    done,
    positions,
    ref,
    still_open,
)

Kind: TypeAlias = Callable[[], Ledger]
Stored: TypeAlias = SettledFile | PrunedFiles
COPIER = LeaseOwner("copy-1", "host-a", 1, "state copy")
LATER = NOON + timedelta(days=100)
LARGE = {"rules": ["a rule of some length"] * 100}


def kind_of(name: str, folder: Path, clock: ManualClock) -> Kind:
    """Handles on one ledger of that kind, which is made now."""
    if name == "sqlite":
        return lambda: SqliteLedger.open(folder / "ledger.db", IDENTITY, clock=clock)
    bucket = MemoryBucket()
    return lambda: S3Ledger.open(bucket, "state/", IDENTITY, clock=clock, keeper=by_hand)


def lived(ledger: Ledger) -> Ledger:
    """A ledger with all that one can hold, over forty days."""
    ledger.note_key("aa")
    ledger.put_note("sweep", {"next": "2026-10-01T00:00:00Z"})
    ledger.put_note("mapping:ab", LARGE)
    ledger.put_note("mapping:cd", LARGE | {"c": "d"})
    ledger.settle("run-0", [done(ref(f"old-{n}", hour=-24 * 600), accepted=3) for n in range(3)], None)
    ledger.settle("run-0", [still_open(ref("stays", hour=-24 * 600), positions(7))], None)
    for _ in range(MOST_ENTRIES):
        ledger.settle("run-0", [done(ref("filler", hour=24 * 200), accepted=1)], None)
    assert ledger.prune(LATER, "") is None
    for number in range(45):
        ledger.begin_run(RunRecord(f"run-{number}", "run", NOON, NOON, 0, {"number": number}))
        refs = [ref(f"{number}-{file}", hour=-23 * number) for file in range(3)]
        ledger.settle(f"run-{number}", [done(each, accepted=number, filtered=1) for each in refs], Backlog())
    quota = positions(7, reason=Reason.DAILY_QUOTA)
    ledger.settle("run-9", [still_open(ref("open"), positions(1, 2), quota, accepted=5)], None)
    old = replace(still_open(ref("old", hour=-700), quota), mapping="ab@1/2,cd", held_from=(4096, 3))
    ledger.settle("run-9", [replace(old, sent_from=NOON, sent_to=NOON + timedelta(seconds=9))], None)
    ledger.record_listing(NOON, backlog(), 17, complete=True)
    ledger.begin_run(RunRecord("killed", "backfill", NOON))
    return ledger


def content(ledger: Ledger) -> object:
    """All that a ledger tells."""
    refs = [ref(f"{number}-{file}", hour=-23 * number) for number in range(45) for file in range(3)]
    old = [ref(name, hour=-24 * 600) for name in ("old-0", "late", "stays")]
    known = ledger.known([*refs, *old, ref("open"), ref("old", hour=-700)])
    notes = [ledger.get_note(name) for name in ("sweep", "mapping:ab", "mapping:cd")]
    assert [known[each.key].pruned for each in old] == [True, True, False]
    facts = (ledger.pruned_through(), ledger.start_at, ledger.created_at, ledger.identity, notes)
    summary = replace(ledger.summary(), schema_version=0)
    return known, list(ledger.open_files()), ledger.runs(1000), summary, facts, ledger.note_key("aa")


@pytest.mark.parametrize("target", ["sqlite", "s3"])
@pytest.mark.parametrize("source", ["sqlite", "s3"])
def test_a_copy_tells_all_that_its_original_tells(source: str, target: str, tmp_path: Path) -> None:
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
    original = lived(kind_of(source, tmp_path / "from", ManualClock(NOON))())
    place = kind_of(target, tmp_path / "to", ManualClock(LATER))
    copied = copy_ledger(original, place(), COPIER, place="there")
    copy = place()
    assert content(copy) == content(original)
    assert copied.files == {"done": 139, "open": 3}
    assert copied.deferred == {"throttled": 5, "daily_quota": 4}
    assert (copied.runs, copied.backlog_files) == (46, 2)
    copy.settle("run-99", [done(ref("open"), accepted=10)], Backlog())
    assert copy.summary().files == {"done": 140, "open": 2}
    copy.close()


@pytest.mark.parametrize("kind", ["sqlite", "s3"])
class TestRefusals:
    def test_a_ledger_in_use_is_left_as_it_is(self, kind: str, tmp_path: Path) -> None:
        used = kind_of(kind, tmp_path, ManualClock(NOON))()
        used.settle("run-1", [done(ref("mine"), accepted=1)], backlog(3))
        original = lived(SqliteLedger.in_memory(IDENTITY, clock=ManualClock(NOON)))
        with pytest.raises(StateError, match="there is not empty") as caught:
            copy_ledger(original, used, COPIER, place="there")
        assert caught.value.remedy
        with pytest.raises(StateError, match="not empty"), used.lease(COPIER):
            used.take_over(original.contents())
        assert used.summary().backlog == backlog(3)
        assert used.known([ref("0-0")]) == {}

    def test_nothing_is_copied_while_a_run_is_at_work(self, kind: str, tmp_path: Path) -> None:
        place = kind_of(kind, tmp_path, ManualClock(NOON))
        other = SqliteLedger.in_memory(IDENTITY, clock=ManualClock(NOON))
        with place().lease(OWNER):
            for source, target in ((place(), other), (other, place())):
                with pytest.raises(LeaseHeldError, match="run-1"):
                    copy_ledger(source, target, COPIER, place="there")
        assert other.holder() is None

    def test_a_copy_that_breaks_off_leaves_an_empty_ledger(self, kind: str, tmp_path: Path) -> None:
        place = kind_of(kind, tmp_path, ManualClock(NOON))
        original = _Breaking.in_memory(IDENTITY, clock=ManualClock(NOON))
        lived(original)
        with pytest.raises(StateError, match="the disk is gone"):
            copy_ledger(original, place(), COPIER, place="there")
        assert place().summary().files == {}
        assert place().runs(5) == []
        healthy = lived(SqliteLedger.in_memory(IDENTITY, clock=ManualClock(NOON)))
        copy_ledger(healthy, place(), COPIER, place="there")
        assert content(place()) == content(healthy)

    def test_a_copy_that_lost_a_file_on_the_way_is_noticed(self, kind: str, tmp_path: Path) -> None:
        target = kind_of(kind, tmp_path, ManualClock(NOON))()
        original = _Forgetful.in_memory(IDENTITY, clock=ManualClock(NOON))
        lived(original)
        with pytest.raises(StateError, match="does not tell what its original tells") as caught:
            copy_ledger(original, target, COPIER, place="there")
        assert "original" in caught.value.remedy


def _broken(files: list[Stored]) -> Iterator[Stored]:
    yield from files
    raise StateError("the disk is gone")


class _Breaking(SqliteLedger):
    """A ledger that can't be read to its end."""

    def contents(self) -> LedgerContents:
        whole = super().contents()
        return replace(whole, files=_broken(list(whole.files)[:50]))


class _Forgetful(SqliteLedger):
    def contents(self) -> LedgerContents:
        whole = super().contents()
        return replace(whole, files=list(whole.files)[1:])
