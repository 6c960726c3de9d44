"""A worker over blocks that are given: which record each outcome is entered for."""

from __future__ import annotations

import io
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor as Threads
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, BinaryIO

import orjson
import pytest
from pydantic import SecretStr

from braze_etl.amplitude.destination import BatchApi
from braze_etl.amplitude.settings import Amplitude
from braze_etl.clock import ManualClock, SystemClock
from braze_etl.delivery.http import Reply
from braze_etl.engine.due import DueFile
from braze_etl.engine.flow import Block, WorkerParts
from braze_etl.engine.tasks import Findings, Inspection, NoExtras, Settlement, Task
from braze_etl.engine.worker import Life, TaskRunner, blocks_of
from braze_etl.errors import StoreError, TooSlowError
from braze_etl.model import Event, FileRef, OpenPositions, Reason, Verdict
from braze_etl.storage.store import Store
from tests.engine.due_files import deferred
from tests.engine.executors.inline import runner_over


class Blocks:
    """A reader that gives these outcomes as blocks of a file, at offsets of 100, 200, ..."""

    def __init__(self, *outcomes: Sequence[Event | Verdict]) -> None:
        self.become(*outcomes)

    def blocks(self, due: DueFile, store: Store) -> Iterator[Block]:
        wanted = due.by_block()
        with store.open(due.ref.key):
            for offset in self._blocks if wanted is None else sorted(wanted):
                outcomes = self._blocks[offset]
                yield Block(offset, len(outcomes), 100 * len(outcomes), iter(outcomes))

    def become(self, *outcomes: Sequence[Event | Verdict]) -> None:
        """Give other blocks from now on."""
        self._blocks = {100 * number: list(each) for number, each in enumerate(outcomes, 1)}

    def take_repairs(self) -> Counter[str]:
        return Counter()

    def take_extras(self) -> NoExtras:
        return NoExtras()


class Files:
    """A store whose files are empty: the reader makes up what is in them."""

    def open(self, key: str, **_options: Any) -> BinaryIO:
        return io.BytesIO()


class Wire:
    """Names the events whose id is in *bad*, and takes requests without them."""

    def __init__(self, bad: Sequence[str] = ()) -> None:
        self._bad = bad
        self.taken: list[str] = []

    def send(self, body: bytes, *, gzip: bool) -> Reply:
        assert not gzip
        ids = [event["insert_id"] for event in orjson.loads(body)["events"]]
        places = [place for place, name in enumerate(ids) if name in self._bad]
        if places:
            fields = {"error": "Invalid", "events_with_invalid_fields": {"time": places}}
            return Reply(400, {"code": 400, **fields})
        self.taken += ids
        return Reply(200, {"code": 200})


NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)


def event(name: str) -> Event:
    return {"insert_id": name, "user_id": f"user-{name}", "event_type": "opened", "time": 1}


class SlowFiles(Files):
    """A store that does not come to an end with those that are named `slow...`."""

    def open(self, key: str, **_options: Any) -> BinaryIO:
        if key.startswith("slow"):
            raise TooSlowError(f"{key} did not come in time")
        return io.BytesIO()


def project(max_events: int = 2000) -> Amplitude:
    url = "http://localhost:8099/batch"
    return Amplitude(region="US", endpoint=url, api_key=SecretStr("key"), gzip=False, max_events=max_events)


def work(
    reader: Blocks, wire: Wire, *due: DueFile, max_events: int = 2000, store: Files | None = None
) -> Settlement:
    settings = project(max_events=max_events)
    clock = ManualClock(due[0].ref.hour)
    return runner_over(wire, BatchApi(settings), clock, store=store or Files(), reader=reader).run(
        Task(7, due)
    )


@pytest.mark.parametrize("max_events", [1, 2, 3, 2000])
def test_what_is_set_aside_has_its_own_position_whatever_lies_before_it(
    make_ref: Callable[..., FileRef], max_events: int
) -> None:
    filtered = Verdict(Reason.NO_IDENTITY)
    invalid = Verdict(Reason.INVALID_EVENT, "no time")
    first: list[Event | Verdict] = [event("a"), filtered, event("b"), invalid, event("c")]
    reader = Blocks(first, [event("d"), event("e"), event("f")])
    wire = Wire(bad=["c", "e"])
    settlement = work(reader, wire, DueFile(make_ref("file")), max_events=max_events)
    aside = {(each.position.block, each.position.record, each.reason) for each in settlement.set_aside}
    refused = {(100, 4, Reason.REJECTED), (200, 1, Reason.REJECTED)}
    assert aside == {*refused, (100, 3, Reason.INVALID_EVENT)}
    assert sorted(wire.taken) == ["a", "b", "d", "f"]
    (tally,) = settlement.counts.by_event_type.values()
    assert (tally.accepted, tally.filtered, tally.quarantined) == (4, 1, 3)


def test_of_a_block_without_verdicts_only_what_is_wanted_is_sent(make_ref: Callable[..., FileRef]) -> None:
    ref = make_ref("file")
    left = OpenPositions(Reason.THROTTLED, ref.hour, {100: (0, 2)})
    wire = Wire(bad=["c"])
    settlement = work(Blocks([event(name) for name in "abcd"]), wire, deferred(ref, left))
    assert wire.taken == ["a"]
    (aside,) = settlement.set_aside
    assert (aside.position.block, aside.position.record) == (100, 2)


def test_a_block_of_thousands_of_records_keeps_their_numbers(make_ref: Callable[..., FileRef]) -> None:
    events = [event(str(number)) for number in range(4500)]
    wire = Wire(bad=["1999", "2000", "4499"])
    settlement = work(Blocks(events), wire, DueFile(make_ref("file")))
    assert sorted(each.position.record or 0 for each in settlement.set_aside) == [1999, 2000, 4499]
    assert len(wire.taken) == 4497


@pytest.mark.parametrize(
    ("keys", "fails"),
    [(["slow1", "a", "slow2", "b", "slow3", "c"], False), (["slow1", "slow2", "slow3", "a"], True)],
)
def test_a_slow_file_stays_due_and_three_in_a_row_end_the_run(
    make_ref: Callable[..., FileRef], keys: list[str], *, fails: bool
) -> None:
    due = [DueFile(replace(make_ref("file"), key=key)) for key in keys]
    wire = Wire()
    settlement = work(Blocks([event("a")]), wire, *due, store=SlowFiles())
    assert settlement.unavailable.files.total() == 3
    assert wire.taken == [] if fails else ["a"] * 3
    assert isinstance(settlement.fatal, StoreError) is fails
    done = [file.ref.key for file in settlement.files if file.state is not None]
    assert done == [key for key in keys if not key.startswith("slow") and not fails]


class Answering:
    """Takes requests as they come, but answers those with an event of *late* only when it is told to."""

    def __init__(self, late: str) -> None:
        self._late = late
        self.answer = threading.Event()
        self.came = queue.SimpleQueue[list[str]]()

    def send(self, body: bytes, *, gzip: bool) -> Reply:
        names = [event["insert_id"] for event in orjson.loads(body)["events"]]
        self.came.put(names)
        if self._late in names:
            assert self.answer.wait(30)
        if "broken" in names:
            raise ZeroDivisionError
        return Reply(200, {"code": 200})


@contextmanager
def threaded(
    wire: Answering, reader: Blocks, stop: threading.Event | None = None
) -> Iterator[tuple[TaskRunner, Threads]]:
    """A runner that posts in threads, and threads to be inside of it."""
    settings = Amplitude(
        region="US", endpoint="http://localhost:8099/batch", api_key=SecretStr("key"), gzip=False
    )
    with Threads(4) as posting, Threads(3) as inside:
        yield (
            runner_over(
                wire,
                BatchApi(settings),
                SystemClock(),
                store=Files(),
                reader=reader,
                threads=posting,
                stop=stop,
            ),
            inside,
        )
        wire.answer.set()


def test_a_task_is_read_while_the_last_requests_of_another_are_answered_and_each_has_its_own_outcomes(
    make_ref: Callable[..., FileRef],
) -> None:
    first, second = DueFile(make_ref("first")), DueFile(make_ref("second"))
    wire, reader = Answering("a"), Blocks([event("a"), event("b")])
    with threaded(wire, reader) as (runner, inside):
        one = inside.submit(runner.run, Task(1, (first,)))
        assert wire.came.get(timeout=30) == ["a", "b"]
        reader.become([event("c")])
        two = inside.submit(runner.run, Task(2, (second, second)))
        settled = two.result(timeout=30)
        assert not one.done()
        assert runner.gets_on()
        assert runner.gets_on(), "who waits for answers is not stuck"
        wire.answer.set()
        late = one.result(timeout=30)
    assert [file.ref.key for file in settled.files] == ["second", "second"]
    assert [file.ref.key for file in late.files] == ["first"]
    sent = [(each.requests.sent, sum(one.accepted for one in each.files)) for each in (late, settled)]
    assert sent == [(1, 2), (1, 2)]


def test_a_mistake_of_ours_in_a_posting_thread_is_raised_to_whoever_is_inside(
    make_ref: Callable[..., FileRef],
) -> None:
    wire = Answering("broken")
    with threaded(wire, Blocks([event("broken")])) as (runner, inside):
        done = inside.submit(runner.run, Task(1, (DueFile(make_ref("file")),)))
        assert wire.came.get(timeout=30) == ["broken"]
    assert isinstance(done.exception(timeout=30), ZeroDivisionError)


def test_one_who_is_stuck_is_not_excused_by_another_who_waits(make_ref: Callable[..., FileRef]) -> None:
    go_on, inside_reader = threading.Event(), threading.Event()

    class Stuck(Blocks):
        def blocks(self, due: DueFile, store: Store) -> Iterator[Block]:
            if due.ref.key == "stuck":
                inside_reader.set()
                assert go_on.wait(30)
            yield from super().blocks(due, store)

    wire = Answering("a")
    with threaded(wire, Stuck([event("a")])) as (runner, inside):
        inside.submit(runner.run, Task(1, (DueFile(make_ref("file")),)))
        assert wire.came.get(timeout=30) == ["a"]
        inside.submit(runner.run, Task(2, (DueFile(make_ref("stuck")),)))
        assert inside_reader.wait(30)
        runner.gets_on()
        assert not runner.gets_on()
        go_on.set()


def test_what_a_mistake_has_left_unsent_goes_out_with_no_other_task(make_ref: Callable[..., FileRef]) -> None:
    class Broken(Blocks):
        def blocks(self, due: DueFile, store: Store) -> Iterator[Block]:
            yield from super().blocks(due, store)
            if due.ref.key == "broken":
                raise ZeroDivisionError

    wire, reader = Wire(), Broken([event("a")])
    broken, sound = DueFile(make_ref("broken")), DueFile(make_ref("sound"))
    runner = runner_over(wire, BatchApi(project()), ManualClock(sound.ref.hour), store=Files(), reader=reader)
    with pytest.raises(ZeroDivisionError):
        runner.run(Task(1, (broken,)))
    reader.become([event("b")])
    (settled,) = runner.run(Task(2, (sound,))).files
    assert wire.taken == ["b"]
    assert settled.accepted == 1


@pytest.mark.parametrize("ends", ["stop", "store"])
def test_who_waits_for_its_turn_to_read_reads_nothing_once_the_run_has_to_end(
    make_ref: Callable[..., FileRef], ends: str
) -> None:
    stop, go_on = threading.Event(), threading.Event()
    opened = queue.SimpleQueue[str]()

    class Held(Blocks):
        def blocks(self, due: DueFile, store: Store) -> Iterator[Block]:
            opened.put(due.ref.key)
            yield from super().blocks(due, store)
            assert go_on.wait(30)
            if ends == "store":
                raise StoreError("the source is gone")
            yield from super().blocks(due, store)

    wire = Answering("none")
    with threaded(wire, Held([event("a")]), stop) as (runner, inside):
        one = inside.submit(runner.run, Task(1, (DueFile(make_ref("first")),)))
        assert opened.get(timeout=30) == "first"
        two = inside.submit(runner.run, Task(2, (DueFile(make_ref("second")),)))
        if ends == "stop":
            stop.set()
        go_on.set()
        settlements = [each.result(timeout=30) for each in (one, two)]
    assert opened.empty()
    assert wire.came.empty()
    assert [file.state for each in settlements for file in each.files] == [None, None]
    assert [each.fatal is not None for each in settlements] == [ends == "store"] * 2


class Mending(Blocks):
    """Mends something in every block that it reads."""

    repairs = 0

    def blocks(self, due: DueFile, store: Store) -> Iterator[Block]:
        for block in super().blocks(due, store):
            self.repairs += 1
            yield block

    def take_repairs(self) -> Counter[str]:
        repairs, self.repairs = self.repairs, 0
        return Counter(mended=repairs)


def ids_of(files: Sequence[DueFile], parts: WorkerParts, life: Life) -> list[Any]:
    """A question: the ids of all events, and how often it was asked of this worker."""
    parts.kept["asked"] = parts.kept.get("asked", 0) + 1
    blocks = (block for due in files for block, _ in blocks_of(due, parts.store, parts.reader, life))
    events: list[Any] = [each for block in blocks if isinstance(block, Block) for each in block.outcomes]
    return [*(each["insert_id"] for each in events), parts.kept["asked"]]


def test_a_question_is_answered_by_reading_and_nothing_of_it_is_sent_or_told(
    make_ref: Callable[..., FileRef],
) -> None:
    wire, reader = Wire(), Mending([event("a")], [event("b"), event("c")])
    runner = runner_over(wire, BatchApi(project()), ManualClock(NOON), store=Files(), reader=reader)
    due = DueFile(make_ref("file"))
    for times in (1, 2):
        assert runner.run(Inspection(7, (due, due), ids_of)) == Findings(7, ["a", "b", "c"] * 2 + [times])
    assert wire.taken == []
    settlement = runner.run(Task(8, (due,)))
    assert settlement.repairs == {"mended": 2}
    assert wire.taken == ["a", "b", "c"]


def test_a_store_that_is_gone_for_an_answer_is_not_taken_for_gone_when_events_are_sent(
    make_ref: Callable[..., FileRef],
) -> None:
    class Gone(Files):
        def open(self, key: str, **_options: Any) -> BinaryIO:
            if key == "gone":
                raise StoreError("out of reach")
            return io.BytesIO()

    wire = Wire()
    runner = runner_over(
        wire, BatchApi(project()), ManualClock(NOON), store=Gone(), reader=Blocks([event("a")])
    )
    findings = runner.run(Inspection(1, (DueFile(make_ref("gone")),), ids_of))
    assert (findings.answer, str(findings.fatal)) == (None, "out of reach")
    assert runner.run(Task(2, (DueFile(make_ref("there")),))).fatal is None
    assert wire.taken == ["a"]


def test_an_answer_is_not_waited_for_once_the_run_has_to_stop(make_ref: Callable[..., FileRef]) -> None:
    stop = threading.Event()

    class Stopping(Blocks):
        def blocks(self, due: DueFile, store: Store) -> Iterator[Block]:
            for number, block in enumerate(super().blocks(due, store)):
                assert number < 2, "it reads on"
                if number == 1:
                    stop.set()
                yield block

    reader = Stopping(*([event("a")] for _ in range(5)))
    runner = runner_over(
        Wire(), BatchApi(project()), ManualClock(NOON), store=Files(), reader=reader, stop=stop
    )
    due = DueFile(make_ref("file"))
    assert runner.run(Inspection(1, (due,), ids_of)) == Findings(1)
    assert runner.run(Inspection(2, (due,), ids_of)) == Findings(2)
