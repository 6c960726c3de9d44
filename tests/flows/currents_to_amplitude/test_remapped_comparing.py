from __future__ import annotations

import pickle
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braze_etl.clock import ManualClock
from braze_etl.flows.currents_to_amplitude.remapped import (
    Candidate,
    Compared,
    Comparer,
    Mappings,
    NotComparable,
    Reasons,
    _difference,
    judge,
    judgements_of,
)
from braze_etl.mapping.identity import People
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import FileRef, FileState, Reason, Tally
from braze_etl.state.ledger import KnownFile, LedgerIdentity
from braze_etl.state.sqlite import SqliteLedger
from braze_etl.storage.folder import FolderStore
from fixtures.generate import sample_record, write_avro

NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)
OPEN, ORPHAN = "users.messages.email.Open", "users.UserOrphan"
NOBODY = {"external_user_id": None, "device_id": None}
EVERYBODY: dict[str, Any] = {"identity": {"anonymous": "braze_id"}}


def mapping(people: People | None = None, **options: Any) -> EventMapping:
    return EventMapping.load(MappingSection.model_validate(options), people)


class Ids(frozenset[str]):
    """A list or a table of these ids."""

    def covers(self, *ids: object) -> bool:
        return not self.isdisjoint(ids)

    def find(self, key: str) -> str | None:
        return key if key in self else None


class CountingStore(FolderStore):
    reads = 0

    def open(self, *arguments: Any, **named: Any) -> BinaryIO:
        self.reads += 1
        return super().open(*arguments, **named)


class Setting:
    """A folder, and a ledger that keeps every mapping that was in force."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = CountingStore(folder)
        identity = LedgerIdentity("default", "shop", "EU")
        self.ledger = SqliteLedger.in_memory(identity, clock=ManualClock(NOON))

    def file(self, kind: str, *changes: dict[str, Any]) -> FileRef:
        """Write a file with a record for each of *changes* to an ordinary one, in more than one block."""
        records = [sample_record(kind, seed) | change for seed, change in enumerate(changes)]
        write_avro(self.folder / "a.avro", kind, records, sync_interval=1000)
        (stored,) = next(self.store.pages()).objects
        return FileRef("a.avro", stored.etag, stored.size, stored.modified, kind, NOON)

    def compare(
        self, ref: FileRef, before: EventMapping, now: EventMapping, filtered: int = 0, **known: Any
    ) -> Compared | NotComparable:
        Mappings(self.ledger, before).keep()
        facts = {"mapping": before.version, "held_from": None, "state": FileState.DONE, **known}
        state = facts.pop("state")
        told = KnownFile(ref.etag, state, NOON, Tally(accepted=9, filtered=filtered), "run-1", **facts)
        judged = judge(ref, told, Mappings(self.ledger, now))
        if not isinstance(judged, Candidate):
            return judged
        return Comparer(now).compare(pickle.loads(pickle.dumps(judged)), self.store)


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def records_of(compared: Compared | NotComparable) -> int:
    assert isinstance(compared, Compared)
    return compared.count


def test_a_type_that_was_left_out_is_sent_now(setting: Setting) -> None:
    compared = setting.compare(setting.file(ORPHAN, {}, {}), mapping(), mapping(send=[ORPHAN]), filtered=2)
    assert isinstance(compared, Compared)
    assert compared.count == 2
    assert compared.reasons == {Reason.NOT_IN_NATIVE: 2}
    assert compared.mapping == mapping(send=[ORPHAN]).version


def test_of_a_file_only_the_records_that_were_filtered(setting: Setting) -> None:
    ref = setting.file(OPEN, {}, NOBODY, {}, {"external_user_id": "x"}, NOBODY)
    compared = setting.compare(ref, mapping(), mapping(**EVERYBODY), filtered=2)
    assert isinstance(compared, Compared)
    assert compared.reasons == {Reason.NO_IDENTITY: 2}
    places = [place for block in compared.blocks.items() for place in block[1]]
    assert len(places) == 2
    assert setting.store.reads == 1, "two mappings read one copy"


def test_a_mapping_that_renames_is_told_without_reading(setting: Setting) -> None:
    now = mapping(rules=[{"rename": {"campaign_name": "Campaign"}}])
    compared = setting.compare(setting.file(OPEN, NOBODY), mapping(), now)
    assert isinstance(compared, Compared)
    assert (compared.blocks, compared.mapping) == ({}, now.version)
    assert setting.store.reads == 0


def test_a_salt_that_is_not_kept_costs_no_reading(setting: Setting) -> None:
    privacy = {"hash": ["external_user_id"], "salt": "the same as ever"}
    now = mapping(privacy=privacy, rules=[{"drop": "campaign_name"}])
    compared = setting.compare(setting.file(OPEN, NOBODY), mapping(privacy=privacy), now)
    assert isinstance(compared, Compared)
    assert compared.mapping == now.version
    assert setting.store.reads == 0


def test_whoever_is_suppressed_today_stays_so_and_is_no_doubt_about_the_others(setting: Setting) -> None:
    ref = setting.file(ORPHAN, {"external_user_id": "user-anna"}, {"external_user_id": "user-ben"})
    now = mapping(People(suppressed=Ids({"user-anna"})), send=[ORPHAN])
    compared = setting.compare(ref, mapping(), now, filtered=2)
    assert records_of(compared) == 1


def test_records_of_users_that_a_table_does_not_know_are_sent_when_that_is_decided(setting: Setting) -> None:
    ref = setting.file(OPEN, {"external_user_id": "user-anna"}, {"external_user_id": "user-ben"})
    table = Ids({"user-anna"})
    before, now = (
        mapping(
            People(table=table, missing=missing),
            identity={"lookup": {"uri": "people.csv", "missing": missing}},
        )
        for missing in ("filter", "pass")
    )
    compared = setting.compare(ref, before, now, filtered=1)
    assert isinstance(compared, Compared)
    assert compared.reasons == {Reason.UNKNOWN_USER: 1}


def with_table(missing: str, ids: Ids, version: str) -> EventMapping:
    """A mapping with a table of that content."""
    lookup = {"uri": "people.csv", "missing": missing}
    return mapping(
        People(table=ids, missing=missing, table_version=version),  # type: ignore[arg-type]  # a literal
        identity={"lookup": lookup},
    )


def test_nothing_is_compared_by_another_content_of_a_table_that_decided(setting: Setting) -> None:
    """The old table knew anna, the new one knows ben: by the new one ben's record would seem unsent."""
    ref = setting.file(OPEN, {"external_user_id": "user-anna"}, {"external_user_id": "user-ben"})
    before = with_table("filter", Ids({"user-anna"}), "monday")
    now = with_table("pass", Ids({"user-ben"}), "tuesday")
    assert setting.compare(ref, before, now, filtered=1) is NotComparable.MAPPING_UNKNOWN
    same = with_table("pass", Ids({"user-anna"}), "monday")
    assert records_of(setting.compare(ref, before, same, filtered=1)) == 1


def test_another_content_of_a_table_that_let_everybody_pass_is_no_doubt(setting: Setting) -> None:
    ref = setting.file(OPEN, {"external_user_id": "user-anna"}, NOBODY)
    before = with_table("pass", Ids({"user-anna"}), "monday")
    now = with_table("pass", Ids({"user-ben"}), "tuesday")
    assert before.version == now.version
    assert setting.compare(ref, before, now, filtered=1) == setting.compare(ref, before, before, filtered=1)


def test_a_name_that_came_on_the_suppress_list_does_not_keep_others_back(setting: Setting) -> None:
    """Its record was accepted, counts as unsent by the list of today, and is not sent again."""
    ref = setting.file(OPEN, {"external_user_id": "user-anna"}, {"external_user_id": "user-ben"}, NOBODY)
    then, today = (People(suppressed=Ids(ids)) for ids in ((), ("user-ben",)))
    compared = setting.compare(ref, mapping(then), mapping(today, **EVERYBODY), filtered=1)
    assert isinstance(compared, Compared)
    assert compared.reasons == {Reason.NO_IDENTITY: 1}


def test_a_record_that_was_suppressed_is_not_sent_when_its_name_leaves_the_list(setting: Setting) -> None:
    ref = setting.file(OPEN, {"external_user_id": "user-anna"}, {"external_user_id": "user-ben"}, NOBODY)
    then = mapping(People(suppressed=Ids(("user-ben",))))
    assert records_of(setting.compare(ref, then, mapping(**EVERYBODY), filtered=2)) == 1
    nobody = setting.compare(ref, then, mapping(People(suppressed=Ids())), filtered=2)
    assert records_of(nobody) == 0


def test_a_type_that_is_left_out_as_before_is_told_without_reading(setting: Setting) -> None:
    compared = setting.compare(setting.file(ORPHAN, {}), mapping(), mapping(**EVERYBODY))
    assert isinstance(compared, Compared)
    assert compared.mapping == mapping(**EVERYBODY).version
    assert setting.store.reads == 0


def test_a_type_that_was_sent_in_part_and_is_left_out_now_is_judged_by_both(setting: Setting) -> None:
    now = mapping(choose={"exclude": [OPEN]})
    compared = setting.compare(setting.file(OPEN, {}, NOBODY), mapping(), now)
    assert isinstance(compared, Compared)
    assert compared.mapping == f"{mapping().version},{now.version}"
    assert setting.store.reads == 0


def test_what_another_mapping_filters_of_what_was_sent_is_remembered_as_sent(setting: Setting) -> None:
    ref = setting.file(OPEN, {"external_user_id": "user-anna"}, NOBODY)
    now = mapping(**EVERYBODY, choose={"exclude": [{"where": {"external_user_id": "user-anna"}}]})
    compared = setting.compare(ref, mapping(), now, filtered=1)
    assert records_of(compared) == 1
    assert isinstance(compared, Compared)
    assert compared.mapping == f"{mapping().version},{now.version}"
    later = setting.compare(ref, now, mapping(**EVERYBODY), mapping=compared.mapping)
    assert records_of(later) == 0


def test_what_the_budget_held_is_sent_now_and_what_lies_before_is_not(setting: Setting) -> None:
    ref = setting.file(OPEN, *[{}] * 8)
    blocks = setting.compare(ref, mapping(), mapping(test_events="send"), filtered=8, held_from=(0, 0))
    assert isinstance(blocks, Compared)
    (*_, last) = blocks.blocks
    held = len(blocks.blocks[last]) - 1
    compared = setting.compare(ref, mapping(), mapping(), filtered=held, held_from=(last, 1))
    assert isinstance(compared, Compared)
    assert compared.reasons == {Reason.HELD: held}
    assert min(compared.blocks[last]) == 1
    assert blocks.count == 8


def test_why_a_file_is_left_alone(setting: Setting) -> None:
    ref, now = setting.file(ORPHAN, {}, {}), mapping(send=[ORPHAN])
    assert setting.compare(ref, mapping(), now, mapping="") is NotComparable.MAPPING_UNKNOWN
    assert setting.compare(ref, mapping(), now, mapping="00") is NotComparable.MAPPING_UNKNOWN
    assert setting.compare(ref, mapping(), now, filtered=1) is NotComparable.BOOKS_DIFFER
    (setting.folder / "a.avro").write_bytes(b"no Avro")
    unreadable = FileRef(ref.key, next(setting.store.pages()).objects[0].etag, 7, NOON, ORPHAN, NOON)
    assert setting.compare(unreadable, mapping(), now) is NotComparable.UNREADABLE
    (setting.folder / "a.avro").unlink()
    assert setting.compare(ref, mapping(), now) is NotComparable.SOURCE_GONE


_REASONS = st.sampled_from([None, Reason.NO_IDENTITY, Reason.TEST_EVENT, Reason.INVALID_USER_ID])
_VERDICTS = st.lists(st.lists(_REASONS, min_size=6, max_size=6), min_size=2, max_size=4)


def _places(blocks: dict[int, Any]) -> Iterator[tuple[int, int]]:
    return ((block, record) for block, records in blocks.items() for record in records)


@given(says=_VERDICTS, history=st.lists(st.tuples(st.integers(0, 3), st.none() | st.integers(0, 5))))
def test_whatever_mappings_follow_each_other_each_record_is_sent_once_and_none_is_forgotten(
    says: list[list[Reason | None]], history: list[tuple[int, int | None]]
) -> None:
    """A file of two blocks under changing mappings, of which the budget holds a part now and then."""
    verdicts: dict[str, Reasons] = {f"m{number}": {0: of[:3], 9: of[3:]} for number, of in enumerate(says)}
    everything = {(0, 0), (0, 1), (0, 2), (9, 0), (9, 1), (9, 2)}
    mapping, held_from = "m0", None
    settled = {place for place in everything if _unfiltered(verdicts["m0"], place)}
    for number, held in history:
        version = f"m{number % len(verdicts)}"
        past = [(each, verdicts[each.version]) for each in judgements_of(mapping, held_from)]
        compared = _difference(verdicts[version], past, version)
        taken = sorted(_places({block: list(of) for block, of in compared.blocks.items()}))
        expected = {place for place in everything - settled if _unfiltered(verdicts[version], place)}
        assert set(taken) == expected
        # Only events are asked of the budget, and from one that it holds on, it holds all.
        events = [(b, r) for b, r in taken if verdicts[version][b][r] is None]
        held_from = events[held] if held is not None and held < len(events) else None
        settled |= {place for place in taken if held_from is None or place < held_from}
        settled |= {(b, r) for b, r in taken if verdicts[version][b][r] is not None}
        changed = compared
        mapping = changed.mapping if held_from is None else changed.mapping_if_held


def _unfiltered(says: Reasons, place: tuple[int, int]) -> bool:
    reason = says[place[0]][place[1]]
    return reason is None or reason is Reason.INVALID_USER_ID
