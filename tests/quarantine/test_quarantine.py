from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braze_etl.errors import AccessDeniedError, SourceGoneError, StoreError, UnreadableFileError, UsageError
from braze_etl.model import Reason
from braze_etl.quarantine import quarantine as room
from braze_etl.quarantine import segments
from braze_etl.quarantine.entry import Entry, Selection
from braze_etl.quarantine.quarantine import Quarantine
from tests.quarantine.conftest import EMAIL_OPEN, NOON, PREFIX, FakeStore, aside

DAY = timedelta(days=1)
TWO = [aside(1), aside(2)]


def records(quarantine: Quarantine) -> list[int | None]:
    return sorted((entry.position.record for entry in quarantine.entries()), key=str)


class TestFiling:
    def test_what_is_filed_is_listed_as_it_was(self, store: FakeStore, quarantine: Quarantine) -> None:
        odd = aside(None, key="currents/ä\n\u2028.avro", reason=Reason.UNREADABLE_FILE, detail='"\r\n"')
        assert quarantine.file("run-1", NOON, [aside(1), odd]) == 2
        entries = {entry.position: entry for entry in Quarantine(store, PREFIX).entries()}
        assert entries == {each.position: Entry.of(each, "run-1", NOON) for each in (aside(1), odd)}

    def test_nothing_to_file_asks_nothing_of_the_store(
        self, store: FakeStore, quarantine: Quarantine
    ) -> None:
        assert quarantine.file("run-1", NOON, []) == 0
        assert (store.puts, store.reads) == (0, 0)

    def test_one_call_is_one_object_whose_name_tells_the_depth(
        self, store: FakeStore, quarantine: Quarantine
    ) -> None:
        quarantine.file("run-1", NOON, [aside(number) for number in range(50)])
        (key,) = store.objects
        assert key.startswith("q/2026-10-05/")
        assert key.endswith("-50.jsonl")
        assert quarantine.depth() == 50

    def test_filing_twice_is_filing_once(self, store: FakeStore, quarantine: Quarantine) -> None:
        assert quarantine.file("run-1", NOON, [*TWO, *TWO]) == 2
        assert quarantine.file("run-1", NOON, TWO) == 0
        # After a crash: another process, another day.
        assert Quarantine(store, PREFIX).file("run-2", NOON + DAY, TWO) == 0
        assert len(store.objects) == 1
        assert quarantine.depth() == 2

    def test_only_what_is_new_counts_when_tasks_are_cut_otherwise(
        self, store: FakeStore, quarantine: Quarantine
    ) -> None:
        quarantine.file("run-1", NOON, TWO)
        assert Quarantine(store, PREFIX).file("run-2", NOON, [aside(2), aside(3)]) == 1
        assert records(quarantine) == [1, 2, 3]
        assert quarantine.depth() == 3

    def test_a_put_that_failed_is_made_again(self, store: FakeStore, quarantine: Quarantine) -> None:
        store.breaks_after = 0
        with pytest.raises(StoreError):
            quarantine.file("run-1", NOON, TWO)
        store.breaks_after = 10
        assert quarantine.file("run-1", NOON, TWO) == 2
        assert records(quarantine) == [1, 2]

    def test_many_are_split_over_several_objects(
        self, store: FakeStore, quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(segments, "SEGMENT_ENTRIES", 10)
        assert quarantine.file("run-1", NOON, [aside(number) for number in range(25)]) == 25
        assert store.puts == 3
        assert quarantine.depth() == len(list(quarantine.entries())) == 25

    def test_behind_the_ids_it_remembers_it_may_store_twice_but_loses_nothing(
        self, quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(room, "IDS_REMEMBERED", 1)
        for number in (1, 2, 3, 3):
            quarantine.file("run-1", NOON, [aside(number)])
        assert set(records(quarantine)) == {1, 2, 3}


UNREAD = [Reason.DAMAGED_BLOCK, Reason.UNREADABLE_FILE, Reason.SOURCE_GONE]


class TestClosing:
    @pytest.mark.parametrize("reason", UNREAD)
    def test_an_entry_for_bytes_that_a_whole_file_has_replaced_is_closed(
        self, store: FakeStore, quarantine: Quarantine, reason: Reason
    ) -> None:
        old, other = aside(None, reason=reason), aside(None, key="currents/b.avro", reason=reason)
        quarantine.file("run-1", NOON, [old, other])
        again = Quarantine(store, PREFIX)
        again.prepare(10)
        assert again.close([("currents/a.avro", "e2"), ("currents/c.avro", "e1")]) == 1
        assert [entry.position.key for entry in Quarantine(store, PREFIX).entries()] == ["currents/b.avro"]
        assert again.file("run-2", NOON, [old]) == 1, "it is known no more"

    @pytest.mark.parametrize("reason", sorted(set(Reason) - set(UNREAD)))
    def test_an_entry_for_a_record_stays(
        self, store: FakeStore, quarantine: Quarantine, reason: Reason
    ) -> None:
        quarantine.file("run-1", NOON, [aside(1, reason=reason)])
        quarantine.prepare(10)
        assert quarantine.close([("currents/a.avro", "e2")]) == 0
        assert quarantine.depth() == 1

    def test_an_entry_for_the_same_bytes_stays(self, store: FakeStore, quarantine: Quarantine) -> None:
        quarantine.file("run-1", NOON, [aside(None, reason=Reason.DAMAGED_BLOCK)])
        again = Quarantine(store, PREFIX)
        again.prepare(10)
        assert again.close([("currents/a.avro", "e1")]) == 0
        assert again.depth() == 1

    def test_all_of_a_file_are_closed_whenever_they_were_filed(
        self, store: FakeStore, quarantine: Quarantine
    ) -> None:
        for day in range(3):
            several = [aside(None, block=day * 10 + each, reason=Reason.DAMAGED_BLOCK) for each in range(2)]
            quarantine.file("run-1", NOON + day * DAY, [*several, aside(day)])
        again = Quarantine(store, PREFIX)
        again.prepare(10)
        assert again.close([("currents/a.avro", "e2")]) == 6
        assert records(again) == [0, 1, 2]

    def test_where_nothing_is_to_be_closed_nothing_is_asked_of_the_store(
        self, store: FakeStore, quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        quarantine.file("run-1", NOON, [*TWO, aside(None, reason=Reason.SOURCE_GONE)])
        again = Quarantine(store, PREFIX)
        again.prepare(10)
        monkeypatch.setattr(store, "pages", lambda *_: pytest.fail("listed"))
        reads = store.reads
        assert again.close([(f"currents/{number}.avro", "e2") for number in range(100)]) == 0
        assert store.reads == reads


class TestReach:
    def test_what_belongs_to_somebody_else_is_told_before_anything_is_filed(
        self, store: FakeStore, quarantine: Quarantine
    ) -> None:
        quarantine.prepare(0)
        store.denied = "2026-10-01/1.jsonl"
        with pytest.raises(StoreError, match="out of reach: q/2026-10-01") as caught:
            quarantine.prepare(0)
        assert "chown" in caught.value.remedy

    @pytest.mark.parametrize(
        "damage",
        [
            lambda data: b"",
            lambda data: data[: len(data) // 2],
            lambda data: data[: data.index(b"\n") + 1],
            lambda data: b"\x00\xff" * 500,
            lambda data: data.replace(b"{", b"[", 1),
            lambda data: b"[1]\n7\n",
            lambda data: data.replace(b'"reason":"', b'"reason":"x'),
            lambda data: b"{}\n{}\n",
        ],
        ids=["empty", "cut", "a line", "garbage", "no JSON", "no object", "an unknown reason", "no facts"],
    )
    def test_a_damaged_segment_is_put_beside_and_kept(
        self, store: FakeStore, quarantine: Quarantine, damage: Callable[[bytes], bytes]
    ) -> None:
        quarantine.file("run-1", NOON, TWO)
        (key,) = store.objects
        quarantine.file("run-1", NOON, [aside(3)])
        data = store.objects[key] = damage(store.objects[key])
        again = Quarantine(store, PREFIX)
        (beside,) = again.prepare(10)
        assert beside == key.replace(PREFIX, f"{PREFIX}damaged/")
        assert store.objects[beside] == data
        assert records(again) == [3]
        assert again.prepare(10) == []
        assert again.file("run-2", NOON, [*TWO, aside(3)]) == 2
        assert records(Quarantine(store, PREFIX)) == [1, 2, 3]

    def test_an_object_that_may_not_be_read_has_a_remedy_of_its_own_and_is_not_replayed(
        self, store: FakeStore, quarantine: Quarantine
    ) -> None:
        quarantine.file("run-1", NOON, TWO)
        store.open = Mock(  # type: ignore[method-assign] # one call that fails
            side_effect=AccessDeniedError("it can't be read", remedy="allow it, then replay it")
        )
        with pytest.raises(StoreError, match="quarantine is out of reach") as caught:
            list(quarantine.entries())
        assert "user that runs the job" in caught.value.remedy
        assert "replay" not in caught.value.remedy


class TestReading:
    def test_entries_are_selected_and_come_by_day(self, quarantine: Quarantine) -> None:
        for number in (2, 0, 1):
            quarantine.file("run-1", NOON + number * DAY, [aside(number), aside(9 - number)])
        where = Selection(since=NOON + DAY)
        assert [entry.at for entry in quarantine.entries(where)] == [NOON + DAY] * 2 + [NOON + 2 * DAY] * 2

    def test_days_out_of_range_are_not_read(self, store: FakeStore, quarantine: Quarantine) -> None:
        quarantine.file("run-1", NOON, [aside(1)])
        quarantine.file("run-1", NOON + 2 * DAY, [aside(2)])
        before = store.reads
        assert len(list(quarantine.entries(Selection(since=NOON + DAY)))) == 1
        assert store.reads == before + 1

    def test_entries_come_lazily(self, store: FakeStore, quarantine: Quarantine) -> None:
        for number in range(3):
            quarantine.file("run-1", NOON, [aside(number)])
        before = store.reads
        next(quarantine.entries())
        assert store.reads == before + 1

    def test_counts_are_by_event_type_and_reason(self, quarantine: Quarantine) -> None:
        other = aside(3, reason=Reason.SILENCED, event_type="users.behaviors.Uninstall")
        quarantine.file("run-1", NOON, [*TWO, other])
        assert quarantine.counts() == {
            (EMAIL_OPEN, Reason.REJECTED): 2,
            ("users.behaviors.Uninstall", Reason.SILENCED): 1,
        }

    def test_other_objects_are_left_alone(self, store: FakeStore, quarantine: Quarantine) -> None:
        store.objects |= {"q/README": b"?", "q/2026-10-05/x.tmp": b"?", "other/2026-10-05/a": b"?"}
        quarantine.file("run-1", NOON, TWO)
        assert quarantine.depth() == len(list(quarantine.entries())) == 2
        assert quarantine.remove(Selection()) == 2
        assert len(store.objects) == 3

    def test_an_empty_store_has_nothing(self, quarantine: Quarantine) -> None:
        assert (quarantine.depth(), quarantine.counts(), list(quarantine.entries())) == (0, {}, [])

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"garbage\n", "a line is no entry"),
            (b"[]\n", "a line is no entry"),
            (b"", "0 lines instead of 1"),
            (b"\xff\xfe\n", "a line is no entry"),
        ],
    )
    def test_a_damaged_segment_is_named(
        self, store: FakeStore, quarantine: Quarantine, data: bytes, words: str
    ) -> None:
        quarantine.file("run-1", NOON, [aside(1)])
        (key,) = store.objects
        store.objects[key] = data
        with pytest.raises(StoreError, match=words) as caught:
            list(quarantine.entries())
        assert key in caught.value.message
        assert "move it away" in caught.value.remedy

    def test_a_segment_that_may_not_be_read_is_an_error_of_the_store(
        self, store: FakeStore, quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        quarantine.file("run-1", NOON, TWO)
        denied = UnreadableFileError("access is denied", remedy="grant it")
        monkeypatch.setattr(store, "open", Mock(side_effect=denied))
        with pytest.raises(StoreError, match="access is denied"):
            quarantine.counts()

    def test_a_segment_that_is_gone_is_an_error_for_a_removal(
        self, store: FakeStore, quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        quarantine.file("run-1", NOON, TWO)
        monkeypatch.setattr(store, "open", Mock(side_effect=SourceGoneError("gone")))
        with pytest.raises(StoreError, match="removed while it was to be read") as caught:
            quarantine.remove(Selection())
        assert "try again" in caught.value.remedy

    def test_entries_may_be_removed_while_they_are_read(self, quarantine: Quarantine) -> None:
        for group in ((0, 1, 2), (3, 4, 5), (6, 7, 8)):
            quarantine.file("run-1", NOON, [aside(number) for number in group])
        seen: list[int | None] = []
        for entry in quarantine.entries():
            seen.append(entry.position.record)
            if len(seen) == 1:
                quarantine.remove([Entry.of(aside(number), "", NOON).id for number in (0, 3, 6)])
        assert {1, 2, 4, 5, 7, 8} <= set(seen)
        assert len(seen) == len(set(seen))


class TestLookingUp:
    def test_an_entry_is_found_by_its_id_or_the_beginning_of_it(self, quarantine: Quarantine) -> None:
        quarantine.file("run-1", NOON, TWO)
        wanted = Entry.of(aside(1), "run-1", NOON)
        assert quarantine.get(wanted.id) == quarantine.get(wanted.id[:6]) == wanted
        assert quarantine.resolve([wanted.id[:8]]) == {wanted.id}
        assert quarantine.resolve([]) == frozenset()

    @pytest.mark.parametrize("text", ["", "abcde", "abcdeg", "ABCDEF", "0123456789abcdef0", "*"])
    def test_what_is_no_id_is_the_callers_mistake(self, quarantine: Quarantine, text: str) -> None:
        with pytest.raises(UsageError, match="is no id"):
            quarantine.get(text)

    def test_an_unknown_id_is_the_callers_mistake(self, quarantine: Quarantine) -> None:
        quarantine.file("run-1", NOON, TWO)
        with pytest.raises(UsageError, match="No entry with the id 'ffffffffffff'") as caught:
            quarantine.resolve(["ffffffffffff"])
        assert "quarantine list" in caught.value.remedy

    def test_a_beginning_that_two_share_is_refused(
        self, quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        numbers = iter(range(10))
        monkeypatch.setattr("braze_etl.quarantine.entry.entry_id", lambda *_: f"abcdef{next(numbers):010}")
        quarantine.file("run-1", NOON, TWO)
        with pytest.raises(UsageError, match="2 entries have ids that begin with 'abcdef'"):
            quarantine.get("abcdef")
        assert quarantine.get("abcdef0000000001").position == aside(2).position


class TestRemoving:
    def test_what_is_removed_is_gone_and_the_rest_stays(
        self, store: FakeStore, quarantine: Quarantine
    ) -> None:
        quarantine.file("run-1", NOON, [aside(number) for number in range(10)])
        gone = [Entry.of(aside(number), "", NOON).id for number in (3, 5)]
        assert quarantine.remove(gone) == 2
        assert records(quarantine) == [0, 1, 2, 4, 6, 7, 8, 9]
        assert quarantine.depth() == 8
        assert len(store.objects) == 1

    def test_segments_without_any_of_it_are_not_written(
        self, store: FakeStore, quarantine: Quarantine
    ) -> None:
        quarantine.file("run-1", NOON, TWO)
        quarantine.file("run-1", NOON, [aside(3, reason=Reason.SILENCED)])
        assert quarantine.remove(Selection(reasons=frozenset({Reason.SILENCED}))) == 1
        assert store.puts == 2
        assert records(quarantine) == [1, 2]

    def test_no_ids_remove_nothing(self, quarantine: Quarantine) -> None:
        quarantine.file("run-1", NOON, TWO)
        assert quarantine.remove([]) == 0
        assert quarantine.depth() == 2

    def test_what_was_removed_can_be_filed_anew(self, quarantine: Quarantine) -> None:
        quarantine.file("run-1", NOON, TWO)
        quarantine.remove([Entry.of(aside(1), "", NOON).id])
        assert quarantine.file("run-2", NOON, TWO) == 1
        assert records(quarantine) == [1, 2]

    def test_a_removal_on_another_day_keeps_the_day_of_the_entries(
        self, store: FakeStore, quarantine: Quarantine
    ) -> None:
        quarantine.file("run-1", NOON - 9 * DAY, TWO)
        quarantine.remove([Entry.of(aside(1), "", NOON).id])
        assert [key[:13] for key in store.objects] == ["q/2026-09-26/"]

    @pytest.mark.parametrize("writes", range(6))
    def test_a_removal_that_broke_off_is_finished_by_the_next(
        self, store: FakeStore, quarantine: Quarantine, writes: int
    ) -> None:
        for group in ((0, 1, 2), (3, 4), (5, 6)):
            quarantine.file("run-1", NOON, [aside(number) for number in group])
        where = [Entry.of(aside(number), "", NOON).id for number in (1, 3, 4, 6)]
        store.breaks_after = writes
        try:
            quarantine.remove(where)
        except StoreError:
            assert {0, 2, 5} <= set(records(quarantine)), "what was to stay is never away"
            assert len(records(quarantine)) == len(set(records(quarantine)))
        store.breaks_after = 100
        quarantine.remove(where)
        assert records(quarantine) == [0, 2, 5]
        assert quarantine.depth() == 3


numbers = st.lists(st.integers(0, 15), max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), numbers, st.integers(0, 2)), max_size=8))
def test_any_history_of_filing_and_removing_is_that_of_a_set(
    history: list[tuple[bool, list[int], int]],
) -> None:
    store, kept = FakeStore(), set[int]()
    quarantine = Quarantine(store, PREFIX)
    for is_filing, chosen, day in history:
        if is_filing:
            new = quarantine.file("run", NOON + day * DAY, [aside(number) for number in chosen])
            assert new == len(set(chosen) - kept)
            kept |= set(chosen)
        else:
            ids = [Entry.of(aside(number), "", NOON).id for number in chosen]
            assert quarantine.remove(ids) == len(kept & set(chosen))
            kept -= set(chosen)
        assert set(records(quarantine)) == kept
        assert quarantine.depth() == len(kept)


def test_a_hundred_thousand_entries_are_listed_in_about_a_second(quarantine: Quarantine) -> None:
    assert quarantine.file("run-1", NOON, [aside(number) for number in range(100_000)]) == 100_000
    begin = time.perf_counter()
    assert sum(1 for _ in quarantine.entries()) == 100_000
    assert time.perf_counter() - begin < 8, "many times what an idle machine needs"
