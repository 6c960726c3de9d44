from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from braze_etl.clock import ManualClock
from braze_etl.commands.plan import print_changes
from braze_etl.engine.books import TaskBooks, tags_of
from braze_etl.engine.due import DueFile, Wanted
from braze_etl.engine.inspection import Inspector
from braze_etl.engine.tasks import Task
from braze_etl.engine.worker import blocks_of
from braze_etl.flows.currents_to_amplitude.reader import EventReader
from braze_etl.flows.currents_to_amplitude.remapped import (
    ChangePlan,
    Difference,
    Mappings,
    NotComparable,
    Remapped,
)
from braze_etl.logs import configure_logging
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import FileRef, FileSettlement, FileState, OpenPositions, Outcome, Reason, Tally, Verdict
from braze_etl.state.ledger import KnownFile, LedgerIdentity, OpenFile
from braze_etl.state.sqlite import SqliteLedger
from braze_etl.storage.folder import FolderStore
from fixtures.generate import sample_record, write_avro
from tests.engine.due_files import FixedListing
from tests.engine.executors.inline import inspector_over

NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)
OPEN, ORPHAN = "users.messages.email.Open", "users.UserOrphan"
NOBODY = {"external_user_id": None, "device_id": None}


def mapping(**options: Any) -> EventMapping:
    return EventMapping.load(MappingSection.model_validate(options))


BEFORE, AFTER = mapping(), mapping(send=[ORPHAN], identity={"anonymous": "braze_id"})


class Setting:
    """Files, and a ledger that has them settled under a first mapping."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = FolderStore(folder)
        self.clock = ManualClock(NOON)
        self.ledger = SqliteLedger.in_memory(LedgerIdentity("default", "shop", "EU"), clock=self.clock)
        Mappings(self.ledger, BEFORE).keep()

    def file(self, name: str, kind: str, *changes: dict[str, Any]) -> FileRef:
        """Write a file with a record for each of *changes*, and settle it under the first mapping."""
        records = [sample_record(kind, seed) | change for seed, change in enumerate(changes)]
        write_avro(self.folder / name, kind, records, sync_interval=1000)
        (stored,) = [each for each in next(self.store.pages()).objects if each.key == name]
        ref = FileRef(name, stored.etag, stored.size, stored.modified, kind, NOON)
        tally = Tally()
        with self.store.open(name) as stream:
            for block in EventReader(BEFORE).read(ref, stream):
                for outcome in block.outcomes:  # type: ignore[union-attr]  # nothing is damaged here
                    verdict = isinstance(outcome, Verdict)
                    tally.count(outcome.reason.outcome if verdict else Outcome.ACCEPTED)  # type: ignore[union-attr]
        self.settle(ref, tally)
        return ref

    def settle(self, ref: FileRef, tally: Tally, *left: OpenPositions, mapping: str = BEFORE.version) -> None:
        state = FileState.OPEN if left else FileState.DONE
        self.ledger.settle("run-1", [FileSettlement(ref, state, tally, left, mapping)], None)

    def remapped(
        self, refs: Iterable[FileRef], now: EventMapping = AFTER, *, sends: bool = True
    ) -> tuple[list[DueFile], Difference]:
        """What is due of these files, and the difference that is told of them."""
        work = self.work(refs, now, sends=sends)
        return list(work.find(self.ledger, NOON, lambda: False)), work.difference

    def work(
        self,
        refs: Iterable[FileRef],
        now: EventMapping = AFTER,
        *,
        sends: bool = True,
        inspector: Inspector | None = None,
    ) -> Remapped:
        """The work list; another *inspector* than one with a thread of its own may be given."""
        inspector = inspector or inspector_over(self.store, EventReader(now))
        return Remapped(lambda: FixedListing(refs), Mappings(self.ledger, now), inspector, sends=sends)

    def due(self, ref: FileRef) -> DueFile:
        ((due,), _) = self.remapped([ref])
        return due

    def known(self, ref: FileRef) -> KnownFile:
        return self.ledger.known([ref])[ref.key]


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def test_files_with_a_difference_are_due_with_the_books_of_the_rest(setting: Setting) -> None:
    ref = setting.file("a", OPEN, {}, NOBODY, {"external_user_id": "x"}, NOBODY)
    ((due,), difference) = setting.remapped([ref])
    assert due.carried == Tally(accepted=1, quarantined=1)
    assert len(list(due.places())) == 2
    assert (due.whole, due.ready) == (False, True)
    assert difference.as_dict()["by_event_type"] == {
        OPEN: {"files": 1, "to_send": 2, "reasons": {"no_identity": 2}}
    }


def test_files_without_one_are_noted_and_not_looked_at_again(setting: Setting) -> None:
    refs = [setting.file("a", OPEN, {}), setting.file("b", "users.RandomBucketNumberUpdate", {})]
    before = [setting.known(ref) for ref in refs]
    assert setting.remapped(refs)[0] == []
    after = [setting.known(ref) for ref in refs]
    assert after == [before[0], replace(before[1], mapping=AFTER.version)]
    (setting.folder / "b").unlink()
    assert setting.remapped(refs) == ([], Difference())


def test_a_plan_notes_nothing(setting: Setting) -> None:
    ref = setting.file("b", "users.RandomBucketNumberUpdate", {})
    assert setting.remapped([ref], sends=False)[0] == []
    assert setting.known(ref).mapping == BEFORE.version


def test_what_is_no_candidate_is_not_even_read(setting: Setting) -> None:
    changed, same = setting.file("a", ORPHAN, {}), setting.file("c", ORPHAN, {})
    sent = setting.file("b", OPEN, {})
    setting.settle(same, Tally(filtered=1), mapping=AFTER.version)
    never = replace(changed, key="never")
    archived = replace(setting.file("d", ORPHAN, {}), archived=True)
    for name in "abcd":
        (setting.folder / name).unlink()
    due, difference = setting.remapped([replace(changed, etag="another"), sent, same, never, archived])
    assert due == []
    assert difference.not_comparable == {}
    assert difference.archived.files == 1


def test_a_file_with_a_long_past_is_told_by_what_the_ledger_knows(setting: Setting) -> None:
    ref = setting.file("a", ORPHAN, {}, {})
    setting.settle(ref, Tally(filtered=2), mapping="0123456789abcdef")
    due, difference = setting.remapped([ref])
    assert due == []
    assert difference.not_comparable == {NotComparable.MAPPING_UNKNOWN: 1}
    assert setting.known(ref).mapping == "0123456789abcdef"


def test_open_positions_stay_as_they_are(setting: Setting) -> None:
    ref = setting.file("a", OPEN, {}, NOBODY)
    part = OpenPositions(Reason.THROTTLED, NOON, {0: (0,)})
    setting.settle(ref, Tally(filtered=1, deferred=1), part)
    due = setting.due(ref)
    assert (due.later, [record for _, record in due.places()]) == ((part,), [1])
    assert due.carried == Tally()


def test_it_ends_when_it_may_not_go_on_and_the_rest_stays_a_candidate(setting: Setting) -> None:
    refs = [setting.file(f"{number:03}", ORPHAN, {}) for number in range(60)]
    work = setting.work(refs)
    answers = iter([False] * 50)
    assert len(list(work.find(setting.ledger, NOON, lambda: next(answers, True)))) == 50
    assert len(list(work.find(setting.ledger, NOON, lambda: False))) == 10
    assert len(setting.remapped(refs)[0]) == 60


def settled(setting: Setting, due: DueFile, fate: str = "accepted") -> FileSettlement:
    """Work on a due file as a worker does; what Amplitude, or the budget, makes of each record is *fate*."""
    books = TaskBooks(Task(0, (due,)), AFTER.version)
    for block, wanted in blocks_of(due, setting.store, EventReader(AFTER)):
        books.block_read(0, block.offset, block.count)  # type: ignore[union-attr]  # nothing is damaged here
        tags = tags_of(0, 0, block.offset, sorted(wanted or ()))
        if fate == "held":
            books.hold(0, tags, "the month is over", NOON)
            continue
        books.joined_batch(0, len(tags))
        if fate == "accepted":
            books.accepted(tags)
        for tag in tags if fate != "accepted" else ():
            books.deferred(tag, Reason.THROTTLED, NOON + timedelta(minutes=1))
    books.read_to_end(0)
    books.reading = False
    (file,) = books.settlement().files
    setting.ledger.settle("run-2", [file], None)
    return file


def test_a_settled_file_is_judged_by_the_new_mapping_and_its_books_balance(setting: Setting) -> None:
    ref = setting.file("a", OPEN, {}, NOBODY, {"external_user_id": "x"})
    due = setting.due(ref)
    file = settled(setting, due)
    assert file.tally == Tally(accepted=2, quarantined=1)
    known = setting.known(ref)
    assert (known.state, known.mapping, known.held_from) == (FileState.DONE, AFTER.version, None)
    assert setting.remapped([ref])[0] == []


def test_what_amplitude_throttles_stays_open_and_is_judged_by_the_new_mapping(setting: Setting) -> None:
    ref = setting.file("a", OPEN, {}, NOBODY)
    due = setting.due(ref)
    file = settled(setting, due, "deferred")
    assert (file.state, file.tally) == (FileState.OPEN, Tally(accepted=1, deferred=1))
    (left,) = setting.ledger.open_files()
    assert isinstance(left, OpenFile)
    assert left.mapping == AFTER.version
    assert setting.remapped([ref], BEFORE)[0] == []


def test_what_the_budget_holds_again_is_a_candidate_again(setting: Setting) -> None:
    ref = setting.file("a", ORPHAN, {}, {})
    due = setting.due(ref)
    file = settled(setting, due, "held")
    assert (file.state, file.tally) == (FileState.DONE, Tally(filtered=2))
    again = setting.due(ref)
    assert settled(setting, again).tally == Tally(accepted=2)


def test_a_record_that_can_not_be_read_any_more_leaves_the_file_as_it_was(setting: Setting) -> None:
    ref = setting.file("a", ORPHAN, {}, {})
    due = setting.due(ref)
    for end in ("failed", "damaged", "read_to_end"):
        books = TaskBooks(Task(0, (due,)), AFTER.version)
        if end == "failed":
            books.failed(0, Verdict(Reason.SOURCE_GONE, "deleted"))
        if end == "damaged":
            for block in due.wanted[0].blocks:
                books.damaged(0, block, Verdict(Reason.DAMAGED_BLOCK, "flipped"))
        books.read_to_end(0)
        books.reading = False
        settlement = books.settlement()
        assert settlement.files[0].state is None
        assert settlement.set_aside == []
        assert settlement.counts.by_event_type == {}


def test_a_file_of_which_a_part_failed_stays_failed(setting: Setting) -> None:
    ref = setting.file("a", ORPHAN, {})
    tally = Tally(filtered=1, quarantined=1)
    setting.ledger.settle("r", [FileSettlement(ref, FileState.FAILED, tally, (), BEFORE.version)], None)
    due = setting.due(ref)
    file = settled(setting, due)
    assert (file.state, file.tally) == (FileState.FAILED, Tally(accepted=1, quarantined=1))


def test_few_records_of_a_large_file_are_read_by_their_blocks_and_many_as_one_stream(
    setting: Setting,
) -> None:
    ref = setting.file("a", ORPHAN, *[{}] * 20)
    due = setting.due(ref)
    first, *_ = due.wanted[0].blocks
    few = replace(due, ref=replace(ref, size=10_000_000), wanted=(Wanted({first: (0,)}),))
    reads: list[dict[str, Any]] = []
    original = setting.store.open

    def counting(*arguments: Any, **named: Any) -> Any:
        reads.append(named)
        return original(*arguments, **{**named, "size": None})  # the size of `few` is a pretence

    setting.store.open = counting  # type: ignore[method-assign]
    reader = EventReader(AFTER)
    assert [block.offset for block, _ in blocks_of(few, setting.store, reader)] == [first]
    assert all("length" in each for each in reads)
    reads.clear()
    assert [block.offset for block, _ in blocks_of(due, setting.store, reader)] == list(due.wanted[0].blocks)
    assert len(reads) == 1
    assert due.weight <= ref.size < few.ref.size


def test_the_plan_is_told_to_people(capsys: pytest.CaptureFixture[str]) -> None:
    found = Difference()
    print_changes(ChangePlan(found, 2000))
    assert "nothing" in capsys.readouterr().out
    found.files[ORPHAN] = 3
    found.to_send[ORPHAN] = 2001
    found.reasons[ORPHAN, Reason.NOT_IN_NATIVE] = 2001
    found.not_comparable[NotComparable.MAPPING_UNKNOWN] = 4
    print_changes(ChangePlan(found, 2000, "aws s3api restore"))
    out = capsys.readouterr().out
    assert "2,001 not_in_native" in out
    assert "2,001 events of 3 files, 2 requests" in out
    assert "4 files are left alone" in out
    assert "--resend" in out
    assert "aws s3api restore" in out


def test_the_difference_is_told_once_though_the_run_pauses_when_all_is_compared(tmp_path: Path) -> None:
    setting, log = Setting(tmp_path), io.StringIO()
    ref = setting.file("a", ORPHAN, {})
    work = setting.work([ref])
    configure_logging("json", log)
    given = [due.ref for _ in range(2) for due in work.find(setting.ledger, NOON, lambda: False)]
    configure_logging("text")
    assert given == [ref]
    assert log.getvalue().count("the mapping lets through") == 1
