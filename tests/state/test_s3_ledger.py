"""What only the ledger in S3 has to show: crashes between requests, compaction, versions, its cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest

from braze_etl.clock import ManualClock
from braze_etl.errors import ConfigError, StateError
from braze_etl.model import FileRef, FileSettlement
from braze_etl.state.ledger import Backlog, BacklogLine, LedgerMissingError, RunRecord
from braze_etl.state.s3 import compaction, head, runs
from braze_etl.state.s3 import runs as notes
from braze_etl.state.s3 import segments as days
from braze_etl.state.s3.compaction import MOST_ENTRIES, Compactor
from braze_etl.state.s3.ledger import S3Ledger
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


@pytest.fixture
def bucket() -> MemoryBucket:
    return MemoryBucket()


def opened(
    bucket: MemoryBucket,
    *,
    read_only: bool = False,
    create: bool = True,
    clock: ManualClock | None = None,
    server: str = "",
) -> S3Ledger:
    return S3Ledger.open(
        bucket,
        "state/",
        IDENTITY,
        clock=clock or ManualClock(NOON),
        keeper=by_hand,
        read_only=read_only,
        create=create,
        server=server,
    )


def settle_days(ledger: S3Ledger, numbers: range, files: int = 3) -> None:
    """A settlement for each of those days (before noon of the 5th), of some files each."""
    for number in numbers:
        refs = [ref(f"{number:04}-{file}", hour=-24 * number) for file in range(files)]
        ledger.settle("run", [done(each, accepted=1) for each in refs], Backlog())


def edited(bucket: MemoryBucket, **values: object) -> None:
    """Write another value into the head."""
    data, modified = bucket.objects["state/head.json"]
    bucket.objects["state/head.json"] = orjson.dumps(orjson.loads(data) | values), modified


def kinds(bucket: MemoryBucket) -> set[str]:
    return {key.split("/")[1] for key in bucket.objects}


class TestOpening:
    def test_a_reader_creates_and_changes_nothing(self, bucket: MemoryBucket) -> None:
        with pytest.raises(LedgerMissingError, match="s3://bucket/state yet"):
            opened(bucket, read_only=True)
        assert bucket.objects == {}
        opened(bucket)
        before = dict(bucket.objects)
        reader = opened(bucket, read_only=True)
        assert reader.summary().files == {}
        with pytest.raises(StateError, match="reading only"):
            reader.begin_run(RunRecord("run-1", "run", NOON))
        with pytest.raises(StateError, match="gives no lease"), reader.lease(OWNER):
            pytest.fail("a reader holds the lease")
        assert bucket.objects == before

    def test_a_missing_one_is_an_error_where_none_may_be_created(self, bucket: MemoryBucket) -> None:
        with pytest.raises(ConfigError, match=r"no ledger at s3://bucket/state.* `never`"):
            opened(bucket, create=False)
        assert bucket.objects == {}

    def test_a_lost_ledger_is_a_fresh_start_48_hours_ago(self, bucket: MemoryBucket) -> None:
        settle_days(opened(bucket), range(3))
        bucket.objects.clear()
        ledger = opened(bucket, clock=ManualClock(NOON + timedelta(days=30)))
        assert ledger.start_at == NOON + timedelta(days=28)
        assert ledger.known([ref("0000-0")]) == {}

    def test_a_ledger_that_lost_its_head_is_not_taken_for_none(self, bucket: MemoryBucket) -> None:
        settle_days(opened(bucket), range(3))
        del bucket.objects["state/head.json"]
        # Nor is anybody told to let a new one be made: that would be refused.
        for create, read_only in ((True, False), (False, False), (True, True)):
            with pytest.raises(
                StateError, match=r"no head\.json in s3://bucket/state, but .* other objects"
            ) as it:
                opened(bucket, create=create, read_only=read_only)
            assert "versioning" in it.value.remedy
            assert "auto" not in it.value.remedy

    def test_a_head_that_vanishes_under_a_run_stops_it(self, bucket: MemoryBucket) -> None:
        ledger = opened(bucket)
        del bucket.objects["state/head.json"]
        with pytest.raises(StateError, match="has lost its head"):
            ledger.settle("run", [done(ref(), accepted=1)], Backlog())

    @pytest.mark.parametrize("other", [{"project": "other"}, {"region": "US"}, {"flow": "events_to_braze"}])
    def test_another_project_region_or_flow_is_refused(
        self, bucket: MemoryBucket, other: dict[str, str]
    ) -> None:
        opened(bucket)
        with pytest.raises(ConfigError, match="belongs to project 'shop' in region EU"):
            S3Ledger.open(bucket, "state/", replace(IDENTITY, **other), clock=ManualClock(NOON))

    def test_two_that_create_it_at_once_share_one(self, bucket: MemoryBucket) -> None:
        def interfere(key: str) -> None:
            if key == "state/head.json":
                bucket.before_write = lambda _: None
                settle_days(opened(bucket), range(1))

        bucket.before_write = interfere
        assert opened(bucket).known([ref("0000-0")])


class TestVersions:
    def test_a_newer_ledger_is_refused_untouched(self, bucket: MemoryBucket) -> None:
        opened(bucket)
        edited(bucket, schema_version=99)
        before = dict(bucket.objects)
        with pytest.raises(StateError, match="newer braze-etl: schema 99") as caught:
            opened(bucket)
        assert "Upgrade" in caught.value.remedy
        assert bucket.objects == before

    def test_an_older_one_is_brought_up_to_date_by_the_next_write(
        self, bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settle_days(opened(bucket), range(1))
        old = head.latest_schema()
        monkeypatch.setattr(head, "MIGRATIONS", (*head.MIGRATIONS, lambda value: value | {"before_start": 7}))
        with pytest.raises(StateError, match=rf"older .*schema {old}, this one reads {old + 1}"):
            opened(bucket, read_only=True)
        opened(bucket).note_key("aa")
        summary = opened(bucket, read_only=True).summary()
        assert (summary.schema_version, summary.before_start) == (old + 1, 7)
        assert opened(bucket).known([ref("0000-0")])

    def test_one_from_before_the_first_release_is_refused_untouched(self, bucket: MemoryBucket) -> None:
        opened(bucket)
        edited(bucket, schema_version=head.OLDEST - 1)
        before = dict(bucket.objects)
        for read_only in (False, True):
            with pytest.raises(StateError, match=r"before its first release: schema 2") as caught:
                opened(bucket, read_only=read_only)
            assert "begin a new ledger" in caught.value.remedy
        assert bucket.objects == before

    @pytest.mark.parametrize("content", [b"[]", b'{"kind": "bookmarks"}'])
    def test_the_object_of_another_program_is_refused(self, bucket: MemoryBucket, content: bytes) -> None:
        bucket.put("state/head.json", content)
        with pytest.raises(StateError, match="another program"):
            opened(bucket)

    def test_a_damaged_head_is_an_error_and_no_fresh_start(self, bucket: MemoryBucket) -> None:
        opened(bucket)
        data, modified = bucket.objects["state/head.json"]
        bucket.objects["state/head.json"] = data[:-9], modified
        with pytest.raises(StateError, match=r"damaged: head\.json") as caught:
            opened(bucket)
        assert "former version" in caught.value.remedy


class TestConditions:
    @pytest.mark.parametrize("ignored", ["If-None-Match", "If-Match"])
    def test_a_store_that_ignores_one_is_refused_at_creation(
        self, bucket: MemoryBucket, ignored: str
    ) -> None:
        bucket.ignores = frozenset({ignored})
        with pytest.raises(StateError, match=f"ignores {ignored}: two runs") as caught:
            opened(bucket)
        assert "SQLite" in caught.value.remedy
        assert bucket.objects == {}

    def test_they_are_tried_once_and_not_by_each_run(self, bucket: MemoryBucket) -> None:
        opened(bucket)
        bucket.requests.clear()
        opened(bucket)
        assert [request[:2] for request in bucket.requests] == [("GET", "state/head.json")]

    def test_they_are_tried_again_when_the_state_was_carried_to_another_server(
        self, bucket: MemoryBucket
    ) -> None:
        opened(bucket)
        bucket.ignores = frozenset({"If-Match"})
        with pytest.raises(StateError, match="ignores If-Match"):
            opened(bucket, server="https://minio.example.com")
        assert opened(bucket, server="https://minio.example.com", read_only=True).summary().files == {}

    def test_a_store_that_can_not_be_written_says_so(self, bucket: MemoryBucket) -> None:
        bucket.breaks_at = 2  # after the head and the listing
        with pytest.raises(StateError, match="the store is away") as caught:
            opened(bucket)
        assert "wait" in caught.value.remedy


def history(ledger: S3Ledger) -> list[Callable[[], object]]:
    """Steps of a run that write each kind of object; each may be done again."""
    left = still_open(ref("open", hour=-24), positions(1), accepted=1)

    def step(*what: FileSettlement) -> Callable[[], None]:
        return lambda: ledger.settle("run-1", what, backlog())

    return [
        lambda: ledger.begin_run(RunRecord("run-1", "run", NOON)),
        step(done(ref("a"), accepted=1), left),
        step(done(ref("b", hour=-48), filtered=1)),
        lambda: Compactor(ledger._parts).compact(),
        lambda: str(ledger.prune(NOON + timedelta(days=1), "")),
        step(done(ref("open", hour=-24), accepted=3)),
        lambda: ledger.record_listing(NOON, backlog(), 3, complete=True),
        lambda: ledger.finish_run(RunRecord("run-1", "run", NOON, NOON, 0)),
    ]


def whole_run(ledger: S3Ledger) -> None:
    """What a run does under its lease."""
    with ledger.lease(OWNER):
        ledger.begin_run(RunRecord("run-1", "run", NOON))
        ledger.settle("run-1", [done(ref("a"), accepted=1), still_open(ref("b"), positions(1))], backlog())
        ledger.settle("run-1", [done(ref("c"), accepted=1), done(ref("d"), filtered=1)], Backlog())
        ledger.finish_run(RunRecord("run-1", "run", NOON, NOON, 0))


def state_of(ledger: S3Ledger) -> object:
    refs = [ref("a"), ref("b", hour=-48), ref("open", hour=-24)]
    return ledger.known(refs), ledger.summary(), list(ledger.open_files()), ledger.runs(5)


class TestCrashes:
    @pytest.mark.parametrize("applied", [False, True], ids=["not sent", "answer lost"])
    def test_each_step_is_whole_or_absent_whatever_request_is_the_last(
        self, bucket: MemoryBucket, applied: bool
    ) -> None:
        reached = 0
        opened(bucket)
        for number in range(len(history(opened(bucket)))):
            for requests in range(40):
                before = state_of(opened(bucket))
                trial = MemoryBucket(objects=dict(bucket.objects), applies_broken=applied)
                ledger = opened(trial)
                trial.breaks_at = len(trial.requests) + requests
                try:
                    history(ledger)[number]()
                except StateError:
                    reached += 1
                else:
                    break
                trial.breaks_at = None
                crashed = state_of(opened(trial))
                history(opened(trial))[number]()
                after = state_of(opened(trial))
                assert crashed in (before, after)
            else:
                pytest.fail("a step without an end")
            history(opened(bucket))[number]()
            assert state_of(opened(bucket)) == after
        assert reached >= 20

    @pytest.mark.parametrize("applied", [False, True], ids=["not sent", "answer lost"])
    def test_after_a_run_that_died_anywhere_the_next_one_does_all_of_it(
        self, bucket: MemoryBucket, applied: bool
    ) -> None:
        opened(bucket)
        died = 0
        for requests in range(20):
            trial = MemoryBucket(objects=dict(bucket.objects), applies_broken=applied)
            ledger = opened(trial)
            trial.breaks_at = len(trial.requests) + requests
            try:
                whole_run(ledger)
            except StateError:
                died += 1
                trial.breaks_at = None
                trial.advance(92)
                whole_run(opened(trial))
            trial.breaks_at = None  # a lease that could not be given back ends by itself
            after = opened(trial)
            assert after.summary().files == {"done": 3, "open": 1}
            assert len(list(after.open_files())) == 1
            assert after.summary().backlog == Backlog()
        assert 10 <= died < 20

    def test_a_run_goes_on_with_the_same_ledger_after_a_failed_request(self, bucket: MemoryBucket) -> None:
        ledger = opened(bucket)
        bucket.breaks_at = len(bucket.requests) + 1
        with pytest.raises(StateError, match="the store is away"):
            ledger.settle("run", [done(ref("a"), accepted=1)], Backlog())
        bucket.breaks_at = None
        assert ledger.known([ref("a")]) == {}
        ledger.settle("run", [done(ref("b"), accepted=1)], Backlog())
        assert set(ledger.known([ref("a"), ref("b")])) == {ref("b").key}

    def test_a_write_that_the_client_sent_twice_counts_once(self, bucket: MemoryBucket) -> None:
        ledger = opened(bucket)
        bucket.retries_lost_answers = True
        with ledger.lease(OWNER):
            ledger.settle("run", [done(ref("a"), accepted=1)], backlog(7))
            ledger.settle("run", [done(ref("b"), accepted=1)], backlog(6))
        assert opened(bucket).summary().files == {"done": 2}
        assert opened(bucket).holder() is None

    def test_what_crashes_leave_is_cleared_away_and_nothing_else(self, bucket: MemoryBucket) -> None:
        clock = ManualClock(NOON)
        ledger = opened(bucket, clock=clock)
        settle_days(ledger, range(60))
        left = [
            "journal/5-aa",
            "days/2026-10-05/6-bb",
            "open/7-cc",
            "runs/8-dd",
            "catalogue/9-ee",
            "notes/a-ff",
        ]
        for name in left:
            bucket.put(f"state/{name}.json.gz", b"")
        bucket.put("state/probe/ff", b"")
        bucket.put("state/README.txt", b"mine")
        bucket.advance(7200)
        fresh = "state/journal/5-ff.json.gz"
        bucket.put(fresh, b"")
        with ledger.lease(OWNER):
            settle_days(ledger, range(60, 60 + MOST_ENTRIES))
            ledger.begin_run(RunRecord("run-1", "run", NOON))
        assert not [key for key in bucket.objects if any(name in key for name in [*left, "probe"])]
        assert {fresh, "state/README.txt"} <= set(bucket.objects)
        refs = [ref(f"{number:04}-0", hour=-24 * number) for number in range(76)]
        assert len(opened(bucket).known(refs)) == 76


class TestCompaction:
    def test_a_reader_whose_objects_are_merged_away_looks_for_a_newer_head(
        self, bucket: MemoryBucket
    ) -> None:
        writer = opened(bucket)
        settle_days(writer, range(5))
        writer.settle("run", [still_open(ref("open"), positions(1))], Backlog())
        reader = opened(bucket, read_only=True)
        reading = opened(bucket, read_only=True).open_files()
        Compactor(writer._parts).compact()
        assert "journal" not in kinds(bucket)
        assert len(reader.known([ref("0001-0", hour=-24), ref("0002-0", hour=-48)])) == 2
        assert [each.ref for each in reading] == [ref("open")]

    def test_an_object_that_was_deleted_by_hand_is_an_error_and_not_an_unknown_file(
        self, bucket: MemoryBucket
    ) -> None:
        settle_days(opened(bucket), range(MOST_ENTRIES + 1))
        for key in [key for key in bucket.objects if "/days/2026-10-05/" in key]:
            del bucket.objects[key]
        ledger = opened(bucket)
        with pytest.raises(StateError, match=r"damaged: days/2026-10-05/.* is gone") as caught:
            ledger.known([ref("0000-0")])
        assert caught.value.remedy
        with pytest.raises(StateError, match="is gone"):
            ledger.settle("run", [done(ref("0000-1"), accepted=1)], Backlog())

    def test_a_large_note_is_an_object_of_its_own_and_the_one_before_is_cleared_away(
        self, bucket: MemoryBucket
    ) -> None:
        clock = ManualClock(NOON)
        ledger = opened(bucket, clock=clock)
        before = len(bucket.objects["state/head.json"][0])
        for number in range(20):
            ledger.put_note(f"mapping:{number}", {"rules": "x" * 5000})
            ledger.put_note("mapping:0", {"rules": "y" * 5000})
        assert len(bucket.objects["state/head.json"][0]) < before + 20 * 40 + notes.MOST_BYTES
        assert len([key for key in bucket.objects if "/notes/" in key]) == 40
        bucket.advance(7200)
        with ledger.lease(OWNER):
            ledger.begin_run(RunRecord("run-1", "run", NOON))
        assert len([key for key in bucket.objects if "/notes/" in key]) == 20
        assert opened(bucket).get_note("mapping:0") == {"rules": "y" * 5000}

    def test_years_are_found_again(self, bucket: MemoryBucket) -> None:
        settle_days(opened(bucket), range(800), files=2)
        ledger = opened(bucket)
        refs = [ref(f"{number:04}-1", hour=-24 * number) for number in range(800)]
        assert len(ledger.known(refs)) == 800
        assert ledger.summary().files == {"done": 1600}
        assert len(bucket.objects["state/head.json"][0]) < 4000

    def test_an_old_day_may_be_settled_again(self, bucket: MemoryBucket) -> None:
        ledger = opened(bucket)
        settle_days(ledger, range(100))
        ledger.settle("again", [done(ref("0099-0", hour=-24 * 99), accepted=2)], Backlog())
        settle_days(ledger, range(100, 100 + MOST_ENTRIES))
        old = [ref(f"0099-{number}", hour=-24 * 99) for number in range(3)]
        found = opened(bucket).known(old)
        assert {each.run_id for each in found.values()} == {"run", "again"}
        assert ledger.summary().files == {"done": 3 * (100 + MOST_ENTRIES)}

    def test_only_the_days_last_used_stay_in_memory(
        self, bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(days, "ROWS_KEPT", 10)
        settle_days(opened(bucket), range(50))
        ledger = opened(bucket)
        for number in range(50):
            assert ledger.known([ref(f"{number:04}-0", hour=-24 * number)])
        assert sum(len(each.rows) for each in ledger._parts.days._days.values()) <= 10


class TestPruning:
    def test_a_day_is_read_for_it_no_more_than_once_and_smaller_afterwards(
        self, bucket: MemoryBucket
    ) -> None:
        ledger = opened(bucket)
        settle_days(ledger, range(40), files=50)
        Compactor(ledger._parts).compact()
        size = sum(len(data) for data, _ in bucket.objects.values())
        before, steps = NOON + timedelta(days=1), 0
        place: str | None = ""
        while place is not None:
            ledger, steps = opened(bucket), steps + 1
            bucket.requests.clear()
            place = ledger.prune(before, place)
            assert len(bucket.requests) <= 1 + 2 * compaction.DAYS_A_STEP + 4
        assert steps == 40 / compaction.DAYS_A_STEP
        assert sum("/days/" in key for key in bucket.objects) == 40
        assert sum(len(data) for data, _ in bucket.objects.values()) < 0.6 * size
        assert opened(bucket).summary().files == {"done": 2000}
        bucket.requests.clear()
        assert opened(bucket).prune(before, "") is None
        assert len(bucket.requests) == 2  # the head, and where the older days are

    def test_a_day_of_the_journal_waits_until_it_is_merged(self, bucket: MemoryBucket) -> None:
        ledger = opened(bucket)
        settle_days(ledger, range(1))
        ledger.prune(NOON + timedelta(days=1), "")
        assert ledger.pruned_through() is None
        Compactor(ledger._parts).compact()
        ledger.prune(NOON + timedelta(days=1), "")
        assert ledger.pruned_through() == NOON.replace(hour=0)


class TestRuns:
    def test_at_least_a_thousand_are_kept_and_no_more_than_that_needs(
        self, bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert runs.IN_ONE * runs.OLDER_KEPT >= 1000
        monkeypatch.setattr(runs, "IN_ONE", 3)
        monkeypatch.setattr(runs, "OLDER_KEPT", 2)
        ledger = opened(bucket)
        for number in range(20):
            ledger.begin_run(RunRecord(f"run-{number}", "run", NOON))
            ledger.finish_run(RunRecord(f"run-{number}", "run", NOON, NOON, 0))
        found = opened(bucket).runs(100)
        assert [run.run_id for run in found] == [f"run-{number}" for number in range(19, 11, -1)]
        assert {run.exit_code for run in found} == {0}


_LINES = {f"users.messages.channel{number}.Event": BacklogLine(number, 99) for number in range(100)}
BACKLOG = Backlog(5000, 99_000, _LINES, NOON)


def hourly_run(bucket: MemoryBucket, number: int, clock: ManualClock) -> None:
    """What a run does that looks 7 days back and settles 40 files of the last hour in two tasks."""
    ledger = opened(bucket, clock=clock)
    ledger.note_key("aa")
    ledger.summary()
    with ledger.lease(OWNER):
        run = RunRecord(f"run-{number}", "run", clock.now())
        ledger.begin_run(run)
        list(ledger.open_files())
        for day in range(8):
            ledger.known([_hourly(number - 24 * day, file) for file in range(40)])
        ledger.record_listing(clock.now(), BACKLOG, complete=True)
        for half in (range(20), range(20, 40)):
            settled = [done(_hourly(number, file), accepted=1) for file in half]
            ledger.settle(run.run_id, settled, BACKLOG)
        ledger.summary()
        ledger.finish_run(RunRecord(run.run_id, "run", run.started_at, clock.now(), 0))


def _hourly(hour: int, file: int) -> FileRef:
    return ref(f"{hour:08}-{file}", hour=hour)


@pytest.fixture
def cost(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], tuple[int, int]]:
    """Requests and bytes of a day of hourly runs, after so many days of one run each."""
    monkeypatch.setattr(compaction, "SWEEP_EVERY", timedelta(days=10_000))

    def measure(days_before: int) -> tuple[int, int]:
        bucket, clock = MemoryBucket(), ManualClock(NOON)
        for day in range(days_before):
            hourly_run(bucket, 24 * (day - days_before), clock)
        Compactor(opened(bucket)._parts).sweep(clock.now())
        bucket.requests.clear()
        for hour in range(24):
            hourly_run(bucket, hour, clock)
        return len(bucket.requests), sum(size for _, _, size in bucket.requests)

    return measure


def test_three_years_of_history_cost_a_run_no_more_than_a_week(
    cost: Callable[[int], tuple[int, int]],
) -> None:
    # The same place in the rhythm of compaction: 8 runs fill a journal.
    requests, size = cost(8)
    requests_later, size_later = cost(8 * 137)
    print(f"a day of 24 runs: {requests} requests, {size} bytes; {requests_later}, {size_later}")
    assert requests_later == requests
    assert size_later <= 1.1 * size
