"""What every work list holds, wherever its due files come from: one line in `ADAPTERS` for each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from braze_etl.clock import ManualClock
from braze_etl.engine import inspection
from braze_etl.engine.books import Tag, TaskBooks
from braze_etl.engine.due import DueFile, Origin
from braze_etl.engine.flow import WorkList
from braze_etl.engine.tasks import Settlement, Task
from braze_etl.engine.worklists import listed, missing, replayed
from braze_etl.engine.worklists.listed import Listed
from braze_etl.engine.worklists.missing import Missing, MissingRecords
from braze_etl.engine.worklists.replayed import Replayed
from braze_etl.errors import StoreError
from braze_etl.flows.currents_to_amplitude import remapped
from braze_etl.flows.currents_to_amplitude.reader import EventReader
from braze_etl.flows.currents_to_amplitude.remapped import Mappings, Remapped
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import (
    FileRef,
    FileSettlement,
    FileState,
    OpenPositions,
    Position,
    Reason,
    SetAside,
    Tally,
)
from braze_etl.quarantine.entry import EVERYTHING
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.state.ledger import BacklogLine, LedgerIdentity
from braze_etl.state.sqlite import SqliteLedger
from braze_etl.storage.folder import FolderStore
from fixtures.generate import sample_record, write_avro
from tests.engine.due_files import FixedListing
from tests.engine.executors.inline import inspector_over

NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)
ORPHAN = "users.UserOrphan"
BEFORE = EventMapping.load(MappingSection())
AFTER = EventMapping.load(MappingSection.model_validate({"send": [ORPHAN]}))
FILES = 7
AT_ONCE = 2


class Adapter(ABC):
    """A work list over seven files with a record each, the names of which tell their order."""

    origins: tuple[Origin, ...]
    records: int | None = None
    """How many records the work list knows to be sent."""
    left_open: tuple[int, ...] = ()
    """The files that the ledger knows to be open."""
    archived: FileRef | None = None
    breaks_off_at: FileRef | None = None
    """Before that one, the source is out of reach."""

    def __init__(self, folder: Path) -> None:
        self.export, self.aside = folder / "export", folder / "aside"
        self.ledger = SqliteLedger.in_memory(LedgerIdentity("p", "default", "US"), clock=ManualClock(NOON))
        self.quarantine = Quarantine(FolderStore(self.aside, must_exist=False))
        self.refs = [self._write(number) for number in range(FILES)]
        self.in_source = self.refs

    def _write(self, number: int) -> FileRef:
        name = f"file-{number}"
        write_avro(self.export / name, ORPHAN, [sample_record(ORPHAN, number)])
        (stored,) = [item for item in next(FolderStore(self.export).pages()).objects if item.key == name]
        hour = NOON - timedelta(hours=FILES - number)
        return FileRef(name, stored.etag, stored.size, stored.modified, ORPHAN, hour)

    def tell_ledger(self, tally: Tally) -> None:
        """Have the ledger know the files as done, with these books each."""
        files = [FileSettlement(ref, FileState.DONE, tally, (), BEFORE.version) for ref in self.refs]
        self.ledger.settle("run-1", files, None)

    def listing(self) -> FixedListing:
        """A listing of what is in the source."""
        return FixedListing(self._listed())

    def _listed(self) -> Iterator[FileRef]:
        for ref in self.in_source:
            if ref == self.breaks_off_at:
                raise StoreError("out of reach")
            yield replace(ref, archived=ref == self.archived)

    @abstractmethod
    def new(self) -> WorkList:
        """The work list of a new run."""


class OfASource(Adapter):
    origins = (Origin.NEW,) * FILES

    def new(self) -> WorkList:
        return Listed(self.listing)


class OfASourceAndOpenFiles(OfASource):
    """The first file is older than the listing goes back, the last is gone, and another was replaced."""

    left_open = (0, 2, 4, 6)
    origins = tuple(Origin.DEFERRED if number in (0, 2, 6) else Origin.NEW for number in range(FILES))

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.in_source = self.refs[1:6]
        files = [self.refs[number] for number in self.left_open]
        files[2] = replace(files[2], etag="before")
        self.leave_open(*files)

    def leave_open(self, *files: FileRef) -> None:
        """Have the ledger know that a record of each was deferred."""
        still = (OpenPositions(Reason.THROTTLED, NOON, {100: (0,)}),)
        books = Tally(deferred=1)
        settled = [FileSettlement(ref, FileState.OPEN, books, still, BEFORE.version) for ref in files]
        self.ledger.settle("run-1", settled, None)


class OfARangeAndItsOpenFiles(OfASourceAndOpenFiles):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.leave_open(replace(self.refs[0], key="elsewhere", hour=NOON - timedelta(days=9)))

    def new(self) -> WorkList:
        since = self.refs[0].hour
        return Listed(self.listing, covers_all=False, covers=lambda file: file.ref.hour >= since)


class OfTheQuarantine(Adapter):
    origins = (Origin.QUARANTINED,) * FILES

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.tell_ledger(Tally(quarantined=1))
        places = (Position(ref.key, ref.etag, 100, 0) for ref in reversed(self.refs))
        self.quarantine.file("run-1", NOON, [SetAside(place, ORPHAN, Reason.REJECTED) for place in places])

    def new(self) -> WorkList:
        hours = {ref.key: ref.hour for ref in self.refs}
        return Replayed(Quarantine(FolderStore(self.aside)), EVERYTHING, hours.get)


class OfAChangedMapping(Adapter):
    origins = (Origin.CHANGED,) * FILES
    records = FILES

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        Mappings(self.ledger, BEFORE).keep()
        self.tell_ledger(Tally(filtered=1))

    def new(self) -> WorkList:
        inspector = inspector_over(FolderStore(self.export), EventReader(AFTER))
        return Remapped(self.listing, Mappings(self.ledger, AFTER), inspector, sends=True)


class OfAVerification(Adapter):
    origins = (Origin.MISSING,) * FILES
    records = FILES

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.tell_ledger(Tally(accepted=1))

    def new(self) -> WorkList:
        return Missing((MissingRecords(ref, "run-1", {100: (0,)}) for ref in self.refs), "run-2")


LISTINGS = [OfASource, OfASourceAndOpenFiles, OfARangeAndItsOpenFiles, OfAChangedMapping]
ADAPTERS = [*LISTINGS, OfTheQuarantine, OfAVerification]
of_a_listing = pytest.mark.parametrize("adapter", LISTINGS, indirect=True)


@pytest.fixture(params=ADAPTERS, ids=[adapter.__name__ for adapter in ADAPTERS])
def adapter(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Adapter:
    monkeypatch.setattr(listed, "_CHUNK", AT_ONCE)
    monkeypatch.setattr(replayed, "_LOOKUP", AT_ONCE)
    monkeypatch.setattr(missing, "_LOOKUP", AT_ONCE)
    monkeypatch.setattr(remapped, "_AT_ONCE", AT_ONCE)
    monkeypatch.setattr(inspection, "MAX_FILES", 1)
    monkeypatch.setattr(inspection, "_AHEAD", AT_ONCE)
    made: Adapter = request.param(tmp_path)
    return made


def never() -> bool:
    return False


def find(adapter: Adapter, work: WorkList) -> list[DueFile]:
    return list(work.find(adapter.ledger, NOON, never))


def accepted(due: Sequence[DueFile]) -> Settlement:
    """A task with these files, of each of which Amplitude takes a record."""
    books = TaskBooks(Task(0, tuple(due)), AFTER.version)
    for number, file in enumerate(due):
        block, record = next(file.places(), (100, 0))
        books.block_read(number, block, 1)
        books.joined_batch(number)
        books.accepted([Tag(0, number, block, record or 0)])
        books.read_to_end(number)
    books.reading = False
    return books.settlement()


def test_it_gives_every_file_once_the_oldest_hour_first(adapter: Adapter) -> None:
    due = find(adapter, adapter.new())
    assert [(file.ref.key, file.origin, file.ready) for file in due] == [
        (ref.key, origin, True) for ref, origin in zip(adapter.refs, adapter.origins, strict=True)
    ]


def test_it_looks_no_further_than_it_is_asked_to(adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    known, asked = adapter.ledger.known, list[int]()

    def counted(files: Sequence[FileRef]) -> Any:
        asked.append(len(files))
        return known(files)

    monkeypatch.setattr(adapter.ledger, "known", counted)
    files = adapter.new().find(adapter.ledger, NOON, never)
    next(files)
    assert sum(asked) <= 2 * AT_ONCE
    assert len(list(files)) == FILES - 1
    assert sum(asked) == len(adapter.in_source)


def test_it_ends_early_when_it_is_told_to_and_goes_on_when_it_is_asked_again(adapter: Adapter) -> None:
    work, answers = adapter.new(), iter([False, False, True, True, True])
    first = list(work.find(adapter.ledger, NOON, lambda: next(answers, True)))
    assert len(first) < FILES
    rest = find(adapter, work)
    assert [file.ref.key for file in first + rest] == [ref.key for ref in adapter.refs]
    assert tuple(file.origin for file in first + rest) == adapter.origins
    assert list(work.later(adapter.ledger, NOON, never)) == []


def test_a_pause_at_the_end_leaves_nothing_to_be_given_again(adapter: Adapter) -> None:
    work = adapter.new()
    find(adapter, work)
    assert find(adapter, work) == []


@of_a_listing
def test_a_source_that_is_out_of_reach_says_so_after_all_that_was_found(adapter: Adapter) -> None:
    adapter.breaks_off_at = adapter.in_source[3]
    files, found = adapter.new().find(adapter.ledger, NOON, never), list[str]()
    with pytest.raises(StoreError, match="out of reach"):
        found.extend(file.ref.key for file in files)
    left_open = [adapter.refs[number] for number in adapter.left_open]
    expected = [ref.key for ref in adapter.refs if ref in [*adapter.in_source[:3], *left_open]]
    assert found == expected


@of_a_listing
def test_an_archived_file_is_left_alone_and_counted_until_it_is_restored(adapter: Adapter) -> None:
    archived = adapter.archived = adapter.refs[3]
    work = adapter.new()
    assert [file.ref.key for file in find(adapter, work)] == [
        ref.key for ref in adapter.refs if ref != archived
    ]
    assert work.found().archived == BacklogLine(1, archived.size)
    adapter.archived = None
    assert archived.key in [file.ref.key for file in find(adapter, adapter.new())]


def test_nothing_is_begun_after_a_stop(adapter: Adapter) -> None:
    assert list(adapter.new().find(adapter.ledger, NOON, lambda: True)) == []


def test_it_says_what_it_has_found(adapter: Adapter) -> None:
    work = adapter.new()
    find(adapter, work)
    found = work.found()
    assert (found.archived.files, found.changed, found.records) == (0, 0, adapter.records)
    assert list(work.later(adapter.ledger, NOON, never)) == []


def test_what_is_settled_is_not_found_again(adapter: Adapter) -> None:
    work = adapter.new()
    for file in find(adapter, work):
        told = work.claim([accepted([file])])
        assert [(each.ref, each.tally.accepted) for each in told] == [(file.ref, 1)]
        adapter.ledger.settle("run-2", told, None)
        work.settled()
    work.finish(in_order=True)
    assert find(adapter, adapter.new()) == []
    assert adapter.quarantine.depth() == 0


def test_files_that_come_back_together_are_claimed_together(adapter: Adapter) -> None:
    work = adapter.new()
    due = find(adapter, work)
    told = work.claim([accepted(due[:3]), accepted(due[3:5])])
    adapter.ledger.settle("run-2", told, None)
    work.settled()
    work.finish(in_order=True)
    assert [file.ref.key for file in find(adapter, adapter.new())] == [ref.key for ref in adapter.refs[5:]]


def test_a_crash_between_the_claim_and_the_ledger_leaves_all_due(adapter: Adapter) -> None:
    work = adapter.new()
    due = find(adapter, work)
    work.claim([accepted(due)])
    assert [file.ref for file in find(adapter, adapter.new())] == [file.ref for file in due]


def test_what_the_ledger_was_not_told_stays_due_when_others_are_settled(adapter: Adapter) -> None:
    """The ledger failed at the first group, and took the second."""
    work = adapter.new()
    due = find(adapter, work)
    work.claim([accepted(due[:1])])
    adapter.ledger.settle("run-2", work.claim([accepted(due[1:])]), None)
    work.settled()
    work.finish(in_order=False)
    assert [file.ref.key for file in find(adapter, adapter.new())] == [due[0].ref.key]


def test_a_crash_before_the_end_of_the_run_repeats_what_is_settled_with_the_same_books(
    adapter: Adapter,
) -> None:
    work = adapter.new()
    adapter.ledger.settle("run-2", work.claim([accepted(find(adapter, work))]), None)
    work.settled()
    after = adapter.new()
    again = find(adapter, after)
    adapter.ledger.settle("run-3", after.claim([accepted(again)]), None)
    after.settled()
    after.finish(in_order=True)
    assert find(adapter, adapter.new()) == []
    known = adapter.ledger.known(adapter.refs)
    assert all(file.tally == Tally(accepted=1) for file in known.values())
