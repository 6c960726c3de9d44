"""What every adapter of the ledger does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from braze_etl.errors import LeaseHeldError
from braze_etl.model import FileSettlement, FileState, Reason, Tally
from braze_etl.state.ledger import Backlog, KnownFile, LeaseOwner, Ledger, OpenFile, RunRecord
from braze_etl.state.s3.compaction import MOST_ENTRIES
from tests.state.ground import (
    IDENTITY,
    NOON,
    OWNER,
    Ground,
    backlog,
    done,
    positions,
    ref,
    still_open,
)

FAILED = FileSettlement(ref("broken"), FileState.FAILED, Tally(accepted=1, quarantined=1))


def open_now(ledger: Ledger) -> list[OpenFile]:
    return list(ledger.open_files())


class TestKnown:
    def test_an_unknown_file_is_left_out(self, ledger: Ledger) -> None:
        assert ledger.known([ref("a")]) == {}
        assert ledger.known([]) == {}

    def test_a_settled_file_is_known_with_its_books(self, ground: Ground) -> None:
        ground.open().settle("run-1", [done(ref("a"), accepted=5, filtered=2)], Backlog())
        known = ground.open().known([ref("a", etag="changed"), ref("b")])
        expected = KnownFile("e1", FileState.DONE, NOON, Tally(accepted=5, filtered=2), "run-1")
        assert known == {ref("a").key: expected}

    def test_a_settlement_without_a_state_makes_no_claim(self, ledger: Ledger) -> None:
        ledger.settle("run-1", [done(ref("a"), accepted=1)], Backlog())
        no_claim = FileSettlement(ref("a", etag="e2"), None, Tally(accepted=9))
        ledger.settle("run-2", [no_claim, FileSettlement(ref("b"), None)], Backlog())
        assert ledger.known([ref("a"), ref("b")])[ref("a").key].etag == "e1"
        assert ref("b").key not in ledger.known([ref("b")])

    def test_a_later_settlement_replaces_the_earlier(self, ground: Ground, ledger: Ledger) -> None:
        ledger.settle("run-1", [done(ref("a"), accepted=1)], Backlog())
        ground.clock.advance(60)
        ledger.settle("run-2", [done(ref("a", etag="e2"), accepted=2)], Backlog())
        known = ledger.known([ref("a")])[ref("a").key]
        assert (known.etag, known.tally.accepted, known.run_id) == ("e2", 2, "run-2")
        assert known.settled_at == NOON + timedelta(seconds=60)

    def test_a_tally_that_goes_on_counting_changes_nothing(self, ledger: Ledger) -> None:
        settlement = done(ref("a"), accepted=1)
        ledger.settle("run-1", [settlement], Backlog())
        settlement.tally.accepted += 1
        ledger.known([ref("a")])[ref("a").key].tally.accepted += 1
        assert ledger.known([ref("a")])[ref("a").key].tally.accepted == 1

    def test_thousands_are_looked_up_at_once(self, ledger: Ledger) -> None:
        refs = [ref(f"file-{number}") for number in range(3000)]
        ledger.settle("run-1", [done(each, accepted=1) for each in refs[::2]], Backlog())
        assert set(ledger.known(refs)) == {each.key for each in refs[::2]}

    def test_keys_of_any_script_are_kept_apart(self, ledger: Ledger) -> None:
        names = ["a'b", 'a"b', "a\\b", "ä", "a\u0308", "\U0001f600", "A", "a"]
        ledger.settle("run-1", [done(ref(name), accepted=1) for name in names], Backlog())
        assert len(ledger.known([ref(name) for name in names])) == len(names)

    def test_what_amplitude_knows_of_a_content_begins_with_its_first_delivery(
        self, ground: Ground, ledger: Ledger
    ) -> None:
        """A replay of one record, weeks later, must not let a changed file be sent whole once more."""

        def settled_at() -> datetime:
            return ledger.known([ref()])[ref().key].settled_at

        ledger.settle("run-1", [done(ref(), quarantined=9)], Backlog())
        ground.clock.advance(60)
        ledger.settle("run-2", [done(ref(), accepted=9)], Backlog())
        assert settled_at() == NOON + timedelta(seconds=60)
        ground.clock.advance(60)
        ledger.settle("run-3", [done(ref(), accepted=10)], Backlog())
        assert settled_at() == NOON + timedelta(seconds=60)
        changed = ref(etag="another")
        ledger.settle("run-4", [done(changed, accepted=11)], Backlog())
        assert settled_at() == NOON + timedelta(seconds=120)


class TestWhenItWasSent:
    """First and last time of an answer that accepted records, over all settlements of one content."""

    def test_the_span_grows_with_each_settlement_of_the_same_content(self, ground: Ground) -> None:
        first, later = (NOON + timedelta(seconds=seconds) for seconds in (10, 500))
        part = replace(still_open(ref(), positions(1), accepted=2), sent_from=first, sent_to=first)
        ground.open().settle("run-1", [part], None)
        assert self._of(ground.open()) == (first, first)
        nothing_new = still_open(ref(), positions(1, wait=90), accepted=2)
        ground.open().settle("run-2", [nothing_new], None)
        assert self._of(ground.open()) == (first, first)
        rest = replace(done(ref(), accepted=5), sent_from=later, sent_to=later)
        ground.open().settle("run-3", [rest], None)
        assert self._of(ground.open()) == (first, later)

    def test_another_content_begins_anew(self, ground: Ground) -> None:
        sent = replace(done(ref(), accepted=1), sent_from=NOON, sent_to=NOON)
        ground.open().settle("run-1", [sent, done(ref("filtered"), filtered=1)], None)
        assert self._of(ground.open(), "filtered") == (None, None)
        later = NOON + timedelta(days=1)
        changed = replace(done(ref(etag="e2"), accepted=1), sent_from=later, sent_to=later)
        ground.open().settle("run-2", [changed], None)
        assert self._of(ground.open()) == (later, later)

    @staticmethod
    def _of(ledger: Ledger, name: str = "a") -> tuple[datetime | None, datetime | None]:
        known = ledger.known([ref(name)])[ref(name).key]
        return known.sent_from, known.sent_to


class TestOldestDay:
    def test_a_new_ledger_has_none(self, ledger: Ledger) -> None:
        assert ledger.oldest_day() is None

    def test_it_is_that_of_the_oldest_file_however_late_it_was_settled(self, ground: Ground) -> None:
        ledger = ground.open()
        ledger.settle("run-1", [done(ref("a"), accepted=1)], Backlog())
        ledger.settle("run-2", [done(ref("b", hour=-24 * 60), accepted=1)], None)
        oldest = ref("b", hour=-24 * 60).hour
        assert ground.open().oldest_day() == oldest.replace(hour=0)
        for day in range(30):  # an adapter may put old days elsewhere
            ledger.settle("run-3", [done(ref(f"c{day}", hour=-24 * day), accepted=1)], Backlog())
        assert ground.open().oldest_day() == oldest.replace(hour=0)


class TestMappings:
    def test_by_which_mapping_a_file_was_judged_and_where_the_budget_ended_is_kept(
        self, ground: Ground
    ) -> None:
        judged = FileSettlement(ref("a"), FileState.DONE, Tally(filtered=2), (), "ab", (4096, 7))
        left = FileSettlement(
            ref("b"), FileState.OPEN, Tally(deferred=2), (positions(1),), "cd,ef@1/0", (0, 0)
        )
        ground.open().settle("run-1", [judged, left, done(ref("c"), accepted=1)], Backlog())
        ledger = ground.open()
        known = ledger.known([ref("a"), ref("b"), ref("c")])
        facts = {key: (each.mapping, each.held_from) for key, each in known.items()}
        assert facts == {
            ref("a").key: ("ab", (4096, 7)),
            ref("b").key: ("cd,ef@1/0", (0, 0)),
            ref("c").key: ("", None),
        }
        (still,) = ledger.open_files()
        assert (still.mapping, still.held_from) == ("cd,ef@1/0", (0, 0))

    def test_a_later_settlement_tells_anew(self, ledger: Ledger) -> None:
        ledger.settle("run-1", [FileSettlement(ref(), FileState.DONE, Tally(), (), "ab", (1, 2))], None)
        ledger.settle("run-2", [FileSettlement(ref(), FileState.DONE, Tally(), (), "cd")], None)
        known = ledger.known([ref()])[ref().key]
        assert (known.mapping, known.held_from) == ("cd", None)

    def test_to_note_a_mapping_changes_nothing_else_of_a_file(self, ground: Ground, ledger: Ledger) -> None:
        judged = FileSettlement(ref("a"), FileState.DONE, Tally(accepted=3, filtered=2), (), "ab", (4096, 7))
        left = replace(still_open(ref("b"), positions(1, 2), accepted=1), mapping="ab")
        ledger.settle("run-1", [judged, left, done(ref("c"), accepted=1)], backlog())
        before, summary = ledger.known([ref("a"), ref("b"), ref("c")]), ledger.summary()
        ground.clock.advance(60)
        ledger.note_mappings(
            [(ref("a"), "cd"), (ref("b"), "cd"), (ref("c", etag="e2"), "cd"), (ref("d"), "x")]
        )
        after = ground.open()
        assert after.known([ref("a"), ref("b"), ref("c"), ref("d")]) == {
            ref("a").key: replace(before[ref("a").key], mapping="cd", held_from=None),
            ref("b").key: replace(before[ref("b").key], mapping="cd"),
            ref("c").key: before[ref("c").key],
        }
        assert after.summary() == summary
        assert [each.open for each in after.open_files()] == [(positions(1, 2),)]
        ledger.note_mappings([])


class TestBooks:
    @pytest.mark.parametrize(
        "settlement",
        [
            FileSettlement(ref(), FileState.DONE, Tally(deferred=2), (positions(1),)),
            FileSettlement(ref(), FileState.FAILED, Tally(deferred=1)),
            FileSettlement(ref(), FileState.OPEN, Tally(accepted=1)),
            FileSettlement(ref(), FileState.OPEN, Tally(deferred=1), (positions(1),)),
        ],
    )
    def test_books_that_contradict_the_state_are_refused_whole(
        self, ledger: Ledger, settlement: FileSettlement
    ) -> None:
        with pytest.raises(ValueError, match=r"currents/a\.avro do not balance"):
            ledger.settle("run-1", [done(ref("good"), accepted=1), settlement], backlog())
        assert ledger.known([ref("good"), ref()]) == {}
        assert ledger.summary().backlog == Backlog()


class TestOpenFiles:
    def test_an_open_file_comes_back_whole(self, ground: Ground) -> None:
        daily = positions(3, wait=3600, reason=Reason.DAILY_QUOTA)
        settlement = still_open(ref("a"), positions(1, 2), daily, accepted=7)
        ground.open().settle("run-1", [settlement], Backlog())
        expected = OpenFile(ref("a"), Tally(accepted=7, deferred=5), (positions(1, 2), daily))
        assert open_now(ground.open()) == [expected]

    def test_the_oldest_hour_comes_first(self, ledger: Ledger) -> None:
        files = [ref("c", hour=2), ref("b", hour=5), ref("a", hour=5), ref("d", hour=1)]
        ledger.settle("run-1", [still_open(each, positions(1)) for each in files], Backlog())
        assert [each.ref.key[9] for each in ledger.open_files()] == ["d", "c", "a", "b"]

    def test_a_file_is_ready_when_its_earliest_position_is(self, ledger: Ledger) -> None:
        early, late = positions(1, wait=30), positions(2, wait=3600)
        ledger.settle("run-1", [still_open(ref("a"), late, early), still_open(ref("b"), late)], Backlog())
        assert list(ledger.open_files(NOON + timedelta(seconds=29))) == []
        ready = list(ledger.open_files(NOON + timedelta(seconds=30)))
        assert [each.ref for each in ready] == [ref("a")]
        assert ready[0].open == (late, early)

    def test_settling_again_replaces_the_open_positions(self, ledger: Ledger) -> None:
        ledger.settle("run-1", [still_open(ref(), positions(1, 2), positions(3))], Backlog())
        ledger.settle("run-2", [still_open(ref(), positions(2))], Backlog())
        assert [each.open for each in ledger.open_files()] == [(positions(2),)]
        ledger.settle("run-3", [done(ref(), accepted=5)], Backlog())
        assert open_now(ledger) == []
        assert ledger.summary().deferred == {}

    def test_files_may_be_settled_while_they_are_read(self, ledger: Ledger) -> None:
        files = [ref(f"{number:04}", hour=number % 3) for number in range(450)]
        ledger.settle("run-1", [still_open(each, positions(1)) for each in files], Backlog())
        seen = [each.ref.key for each in _settling(ledger)]
        assert sorted(seen) == sorted(each.key for each in files)
        assert len(open_now(ledger)) == 225

    def test_a_file_settled_before_it_is_reached_does_not_come(self, ledger: Ledger) -> None:
        files = [ref(f"{number:04}") for number in range(450)]
        ledger.settle("run-1", [still_open(each, positions(1)) for each in files], Backlog())
        reading = ledger.open_files()
        next(reading)
        ledger.settle("run-2", [done(files[-1], accepted=2)], Backlog())
        assert files[-1] not in [each.ref for each in reading]


def _settling(ledger: Ledger) -> Iterator[OpenFile]:
    """Read the open files; every other one is done at once, the rest is open again, for longer."""
    for number, found in enumerate(ledger.open_files()):
        later = still_open(found.ref, positions(1, wait=9999))
        ledger.settle("run-2", [done(found.ref, accepted=2) if number % 2 else later], Backlog())
        yield found


class TestSummary:
    def test_a_new_ledger_was_never_listed(self, ledger: Ledger) -> None:
        summary = ledger.summary()
        assert (summary.last_listing, summary.last_delivery) == (None, None)
        assert (summary.backlog, summary.before_start) == (Backlog(), None)
        assert (summary.files, summary.deferred) == ({}, {})
        assert summary.schema_version >= 1

    def test_files_are_counted_by_state(self, ground: Ground, ledger: Ledger) -> None:
        ledger.settle("r", [done(ref("a"), accepted=1), done(ref("b"), filtered=1), FAILED], Backlog())
        ledger.settle("r", [still_open(ref("c"), positions(1))], Backlog())
        counts = {FileState.DONE: 2, FileState.FAILED: 1, FileState.OPEN: 1}
        assert ground.open().summary().files == counts
        ledger.settle("r", [done(ref("c"), accepted=2), done(ref("a"), accepted=1)], Backlog())
        assert ground.open().summary().files == {FileState.DONE: 3, FileState.FAILED: 1}

    def test_deferred_records_are_counted_by_reason(self, ledger: Ledger) -> None:
        quota = positions(1, reason=Reason.DAILY_QUOTA)
        ledger.settle("r", [still_open(ref("a"), positions(1, 2), quota)], Backlog())
        ledger.settle("r", [still_open(ref("b"), positions(5))], Backlog())
        assert ledger.summary().deferred == {Reason.THROTTLED: 5, Reason.DAILY_QUOTA: 2}

    def test_a_listing_is_kept_whole(self, ground: Ground) -> None:
        ground.open().record_listing(NOON, backlog(), 17, complete=True)
        summary = ground.open().summary()
        assert (summary.backlog, summary.before_start, summary.last_listing) == (backlog(), 17, NOON)

    def test_only_a_complete_listing_counts_as_the_last(self, ledger: Ledger) -> None:
        ledger.record_listing(NOON, backlog(1), 0, complete=True)
        ledger.record_listing(NOON + timedelta(hours=1), backlog(5), complete=False)
        assert ledger.summary().last_listing == NOON
        assert ledger.summary().backlog == backlog(5)

    def test_a_settlement_without_a_backlog_leaves_that_of_the_listing(self, ledger: Ledger) -> None:
        ledger.record_listing(NOON, backlog(5), complete=True)
        ledger.settle("run-1", [done(ref("a"), accepted=1)], None)
        assert ledger.summary().backlog == backlog(5)
        ledger.settle("run-1", [], backlog(1))
        assert ledger.summary().backlog == backlog(1)

    def test_a_listing_that_counted_nothing_before_the_start_keeps_the_count(self, ledger: Ledger) -> None:
        ledger.record_listing(NOON, backlog(), 17, complete=True)
        ledger.record_listing(NOON, backlog(), complete=True)
        assert ledger.summary().before_start == 17

    def test_a_settlement_stores_what_is_left(self, ledger: Ledger) -> None:
        ledger.record_listing(NOON, backlog(5), 3, complete=True)
        ledger.settle("run-1", [done(ref(), accepted=1)], backlog(4))
        assert ledger.summary().backlog == backlog(4)
        assert ledger.summary().before_start == 3


class TestLastDelivery:
    def test_it_is_the_time_at_which_a_record_was_accepted(self, ground: Ground, ledger: Ledger) -> None:
        ledger.settle("r", [done(ref("a"), filtered=5)], Backlog())
        assert ledger.summary().last_delivery is None
        ledger.settle("r", [done(ref("b"), accepted=1)], Backlog())
        ground.clock.advance(60)
        ledger.settle("r", [done(ref("c"), filtered=5)], Backlog())
        assert ledger.summary().last_delivery == NOON

    def test_records_accepted_before_do_not_count_again(self, ground: Ground, ledger: Ledger) -> None:
        ledger.settle("r", [still_open(ref(), positions(1), accepted=7)], Backlog())
        ground.clock.advance(60)
        ledger.settle("r", [still_open(ref(), positions(1, wait=90), accepted=7)], Backlog())
        assert ledger.summary().last_delivery == NOON
        ledger.settle("r", [done(ref(), accepted=9)], Backlog())
        assert ledger.summary().last_delivery == NOON + timedelta(seconds=60)

    def test_a_file_that_is_sent_again_does_count(self, ground: Ground, ledger: Ledger) -> None:
        ledger.settle("r", [done(ref(), accepted=7)], Backlog())
        ground.clock.advance(60)
        ledger.settle("r", [done(ref(), accepted=7)], Backlog())
        assert ledger.summary().last_delivery == NOON + timedelta(seconds=60)


def pruned(ledger: Ledger, days: int) -> None:
    """Prune what lies before the day that is *days* after that of noon, and was settled before it."""
    place: str | None = ""
    while place is not None:
        place = ledger.prune(NOON + timedelta(days=days), place)


class TestPruning:
    """The files of a day and event type that were done become one sum."""

    OLD = -24 * 30

    def test_they_are_still_counted_and_known_as_done(self, ground: Ground) -> None:
        ledger = ground.open()
        files = [ref(f"{number}", hour=self.OLD) for number in range(3)]
        ledger.settle("run-1", [done(each, accepted=5, filtered=2) for each in files], Backlog())
        ledger.settle("run-1", [done(ref("new", hour=24 * 40), accepted=1)], Backlog())
        self.compacted(ledger)
        before = ledger.summary()
        pruned(ledger, 10)
        assert ground.open().summary() == before
        assert ground.open().pruned_through() == files[0].hour.replace(hour=0)
        asked = [*files, ref("late", hour=self.OLD, etag="any"), ref("new", hour=24 * 40)]
        known = ground.open().known(asked)
        assert [known[each.key].pruned for each in asked] == [True] * 4 + [False]
        assert {known[each.key].state for each in asked} == {FileState.DONE}
        assert known[asked[3].key].etag == "any"
        assert ground.open().oldest_day() == files[0].hour.replace(hour=0)

    def test_another_event_type_of_that_day_is_not_taken_for_done(self, ground: Ground) -> None:
        ledger = ground.open()
        ledger.settle("run-1", [done(ref(hour=self.OLD), accepted=5)], None)
        self.compacted(ledger)
        pruned(ledger, 10)
        other = replace(ref("b", hour=self.OLD), event_type="users.messages.email.Click")
        assert ground.open().known([other, ref("c", hour=self.OLD - 24)]) == {}

    def test_what_may_still_change_is_kept(self, ground: Ground) -> None:
        ledger = ground.open()
        kept = [
            FileSettlement(ref("failed", hour=self.OLD), FileState.FAILED, Tally(accepted=1, quarantined=1)),
            still_open(ref("open", hour=self.OLD), positions(1), accepted=1),
            done(ref("aside", hour=self.OLD), accepted=5, quarantined=1),
        ]
        ledger.settle("run-1", [*kept, done(ref("gone", hour=self.OLD), accepted=1)], None)
        ground.clock.advance(86_400 * 20)
        ledger.settle("run-2", [done(ref("late", hour=self.OLD), accepted=1)], None)
        self.compacted(ledger)
        pruned(ledger, 10)
        names = ["failed", "open", "aside", "late", "gone"]
        known = ground.open().known([ref(name, hour=self.OLD) for name in names])
        assert [each.pruned for each in known.values()] == [False] * 4 + [True]
        assert [each.ref.key for each in ground.open().open_files()] == [ref("open").key]
        pruned(ledger, 30)
        known = ground.open().known([ref(name, hour=self.OLD) for name in names])
        assert [each.run_id for each in known.values() if not each.pruned] == ["run-1"] * 3

    def test_a_pruned_file_that_is_sent_again_has_a_row_again(self, ground: Ground) -> None:
        ledger = ground.open()
        ledger.settle("run-1", [done(ref(hour=self.OLD), accepted=5)], None)
        self.compacted(ledger)
        pruned(ledger, 10)
        ledger.settle("run-2", [still_open(ref(hour=self.OLD), positions(1))], None)
        (known,) = ground.open().known([ref(hour=self.OLD)]).values()
        assert (known.state, known.run_id) == (FileState.OPEN, "run-2")

    def test_nothing_is_pruned_of_a_ledger_without_old_files(self, ground: Ground) -> None:
        ledger = ground.open()
        ledger.settle("run-1", [done(ref(), accepted=5)], None)
        self.compacted(ledger)
        pruned(ledger, 0)
        assert ground.open().pruned_through() is None
        assert not ground.open().known([ref()])[ref().key].pruned

    @staticmethod
    def compacted(ledger: Ledger) -> None:
        """Have S3 merge its journal: days that it touches are pruned another time."""
        for _ in range(MOST_ENTRIES):
            ledger.settle("run-x", [done(ref("filler", hour=24 * 60), accepted=1)], None)


class TestRuns:
    def test_runs_come_newest_first(self, ground: Ground) -> None:
        ledger = ground.open()
        for number in range(5):
            run = RunRecord(f"run-{number}", "run", NOON)
            ledger.begin_run(run)
            finished = RunRecord(f"run-{number}", "run", NOON, NOON, 4, {"exit_code": 4, "events": {}})
            ledger.finish_run(finished)
        assert [run.run_id for run in ground.open().runs(2)] == ["run-4", "run-3"]
        assert ground.open().runs(1)[0] == finished

    def test_a_run_that_was_killed_has_no_end(self, ground: Ground) -> None:
        ledger = ground.open()
        killed = RunRecord("run-1", "backfill", NOON)
        ledger.begin_run(killed)
        ledger.begin_run(RunRecord("run-2", "run", NOON))
        ledger.finish_run(RunRecord("run-2", "run", NOON, NOON, 0))
        assert ground.open().runs(10)[1] == killed

    def test_runs_are_corrected_in_their_places(self, ground: Ground) -> None:
        ledger = ground.open()
        told = [RunRecord(f"run-{number}", "run", NOON, NOON, 1, {"of": number % 7}) for number in range(70)]
        for run in told:
            ledger.finish_run(run)
        with ledger.lease(OWNER):
            changed = ledger.correct_runs(lambda run: replace(run, report={"of": run.report["of"] or None}))
            assert changed == 10
            assert ledger.correct_runs(lambda run: run) == 0
        expected = [replace(run, report={"of": run.report["of"] or None}) for run in reversed(told)]
        assert ground.open().runs(100) == expected
        ledger.finish_run(RunRecord("run-70", "run", NOON))
        assert ground.open().runs(2)[1] == expected[0]


class TestLease:
    def test_nobody_holds_a_new_lease(self, ledger: Ledger) -> None:
        assert ledger.holder() is None

    def test_the_holder_is_named_to_whoever_looks(self, ground: Ground) -> None:
        with ground.open().lease(OWNER):
            holder = ground.open().holder()
            assert holder is not None
            assert (holder.owner, holder.since) == (OWNER, NOON)
        assert ground.open().holder() is None

    def test_a_second_run_is_refused_and_told_who_is_at_work(self, ground: Ground) -> None:
        second = ground.open()
        other = LeaseOwner("run-2", "host-b", 1, "backfill")
        with ground.open().lease(OWNER), pytest.raises(LeaseHeldError) as caught, second.lease(other):
            pytest.fail("two runs hold one lease")
        assert caught.value.exit_code == 11
        assert "run run-1 (run) on host-a, process 4711, since 2026-10-05T12:00:00Z" in caught.value.message
        assert caught.value.remedy

    def test_a_refused_run_takes_nothing_from_the_holder(self, ground: Ground) -> None:
        first, second = ground.open(), ground.open()
        with first.lease(OWNER):
            for _ in range(2):
                with pytest.raises(LeaseHeldError), second.lease(OWNER):
                    pytest.fail("two runs hold one lease")
            assert second.holder() is not None

    def test_the_lease_is_free_after_an_error(self, ground: Ground) -> None:
        with pytest.raises(RuntimeError), ground.open().lease(OWNER):
            raise RuntimeError
        with ground.open().lease(OWNER):
            pass


def test_a_ledger_keeps_whose_it_is_and_since_when(ground: Ground) -> None:
    first = ground.open()
    ground.clock.advance(7200)
    again = ground.open()
    assert first.identity == again.identity == IDENTITY
    assert first.created_at == again.created_at == NOON
    assert first.start_at == again.start_at == NOON - timedelta(hours=48)


def test_a_fact_is_kept_under_its_name_until_another_takes_its_place(ground: Ground) -> None:
    first = ground.open()
    assert first.get_note("sweep") == {}
    first.put_note("sweep", {"next": "2026-10-01T00:00:00Z", "files": 3})
    first.put_note("other", {"x": None})
    first.put_note("sweep", {"next": None})
    assert ground.open().get_note("sweep") == {"next": None}
    assert ground.open().get_note("other") == {"x": None}


def test_a_fact_of_some_kilobytes_is_kept_as_well(ground: Ground) -> None:
    large = {"rules": [{"rename": {f"field_{number}": "x" * 50}} for number in range(100)]}
    first = ground.open()
    first.put_note("mapping:ab", large)
    first.put_note("small", {"a": 1})
    assert [ground.open().get_note(name) for name in ("mapping:ab", "small")] == [large, {"a": 1}]
    first.put_note("mapping:ab", {"now": "small"})
    assert ground.open().get_note("mapping:ab") == {"now": "small"}
    first.put_note("mapping:ab", large)
    assert ground.open().get_note("mapping:ab") == large


def test_facts_are_stored_with_a_settlement_and_with_the_end_of_a_run(ground: Ground) -> None:
    ledger = ground.open()
    begun = {"files": "0123456789" * 1000}
    ledger.put_note("other", {"a": 1})
    ledger.settle("run-1", [done(ref(), accepted=1)], None, {"begun": begun, "small": {"b": 2}})
    facts = [ground.open().get_note(name) for name in ("begun", "small", "other")]
    assert facts == [begun, {"b": 2}, {"a": 1}]
    ledger.settle("run-1", [], None, {"begun": {"files": "x"}})
    assert ground.open().get_note("begun") == {"files": "x"}
    ledger.finish_run(RunRecord("run-1", "run", NOON, NOON, 0), {"begun": {}})
    assert ground.open().get_note("begun") == {}
    assert ground.open().runs(1)[0].exit_code == 0


def test_another_key_is_noticed_once(ground: Ground) -> None:
    said = [ground.open().note_key(fingerprint) for fingerprint in ("aa", "aa", "bb", "bb", "aa")]
    assert said == [False, False, True, False, True]
