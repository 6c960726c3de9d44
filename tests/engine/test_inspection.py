"""Passes that read, over executors of threads: the order of the answers, deaths, pauses and stops."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braze_etl.engine import inspection
from braze_etl.engine.due import DueFile
from braze_etl.engine.flow import SharedExecutor
from braze_etl.engine.inspection import INSPECTION_BYTES, Inspector, Killed, pieces
from braze_etl.engine.tasks import MAX_FILES, Findings, Inspection, Result, Work
from braze_etl.errors import AbandonedError, FatalError, StoreError
from braze_etl.model import FileRef
from tests.engine.executors.inline import Inline, Run

MakeRef: TypeAlias = Callable[..., FileRef]


@pytest.fixture
def files(make_ref: MakeRef) -> list[DueFile]:
    """Twenty files, four to an inspection."""
    return [DueFile(make_ref(f"f{number:02}", size=INSPECTION_BYTES // 4)) for number in range(20)]


def keys(files: Sequence[DueFile], _parts: object = None, _life: object = None) -> list[str]:
    return [due.ref.key for due in files]


def answering(act: Callable[[str], None] = lambda _: None) -> Callable[[threading.Event], Run]:
    """Opens workers that *act* on each file, and then tell the keys; one that raises is dead."""

    def open_worker(stop: threading.Event) -> Run:
        def run(work: Work) -> Result:
            assert isinstance(work, Inspection)
            for file in work.files:
                act(file.ref.key)
            return Findings(work.number, None if stop.is_set() else work.question(work.files, None, None))

        return run

    return open_worker


def inspector(
    processes: int, act: Callable[[str], None] = lambda _: None, should_stop: Callable[[], bool] = bool
) -> Inspector:
    return Inspector(SharedExecutor(lambda: Inline(processes, answering(act))), should_stop=should_stop)


@pytest.mark.parametrize("processes", [1, 3])
def test_the_answers_come_in_the_order_of_the_files(files: list[DueFile], processes: int) -> None:
    late = threading.Event()

    def act(key: str) -> None:
        if key == "f00" and processes > 1:
            late.wait(10)  # the others are answered first
        if key == "f12":
            late.set()

    given = list(inspector(processes, act).answers(files, keys))
    assert [len(piece) for piece, _ in given] == [4] * 5
    assert all(answer == keys(piece) for piece, answer in given)
    assert [due for piece, _ in given for due in piece] == files


def test_nothing_is_opened_where_there_is_nothing_to_inspect() -> None:
    shared = SharedExecutor(lambda: pytest.fail("an executor is opened"))
    assert list(Inspector(shared).answers([], keys)) == []
    shared.close()


def test_files_are_taken_as_there_is_room_for_them(files: list[DueFile]) -> None:
    taken = list[str]()

    def lazily() -> Iterator[DueFile]:
        for due in files * 10:
            taken.append(due.ref.key)
            yield due

    answers = inspector(1).answers(lazily(), keys)
    next(answers)
    assert len(taken) <= 4 * inspection._AHEAD + 1
    assert len(list(answers)) == 49


@pytest.mark.parametrize("killer", ["f00", "f06", "f19"])
def test_a_file_that_kills_is_told_apart_in_its_place_and_the_others_are_answered(
    files: list[DueFile], killer: str
) -> None:
    deaths = list[str]()

    def act(key: str) -> None:
        if key == killer:
            deaths.append(key)
            raise MemoryError

    given = list(inspector(2, act).answers(files, keys))
    assert [due for piece, _ in given for due in piece] == files
    killed = [(keys(piece), answer) for piece, answer in given if isinstance(answer, Killed)]
    assert [piece for piece, _ in killed] == [[killer]]
    assert "ended a worker process" in str(killed[0][1])
    assert all(answer == keys(piece) for piece, answer in given if keys(piece) != [killer])
    assert len(deaths) == 3, "of four files, in halves"


def test_worker_after_worker_that_dies_is_no_files_fault(files: list[DueFile]) -> None:
    def act(_: str) -> None:
        raise MemoryError

    with pytest.raises(FatalError, match="worker processes died"):
        list(inspector(1, act).answers(files * 20, keys))


def test_for_a_pause_all_that_is_under_way_is_given_and_another_pass_goes_on(files: list[DueFile]) -> None:
    one = inspector(2)
    assert [due for piece, _ in one.answers(files[:9], keys) for due in piece] == files[:9]
    assert not one.executor().busy
    assert [due for piece, _ in one.answers(files[9:], keys) for due in piece] == files[9:]


def test_a_stop_waits_for_no_answer(files: list[DueFile]) -> None:
    begun = threading.Event()
    one = inspector(1, lambda _: begun.set(), should_stop=begun.is_set)
    given = list(one.answers(iter(files), keys))
    assert [due for piece, _ in given for due in piece] == files[: 4 * len(given)]
    assert len(given) < 5
    one.executor.close()


def test_who_gives_no_answer_in_time_is_killed(files: list[DueFile]) -> None:
    stuck = threading.Event()
    begun = threading.Event()

    def act(_: str) -> None:
        begun.set()
        stuck.wait(30)

    shared = SharedExecutor(lambda: Inline(1, answering(act)))
    one = Inspector(shared, should_stop=begun.is_set, gives_up=begun.is_set)
    assert list(one.answers(files, keys)) == []
    stuck.set()


@pytest.mark.parametrize("at", [0, 5, 19])
def test_a_source_out_of_reach_says_so_after_all_that_was_asked_before(files: list[DueFile], at: int) -> None:
    def broken() -> Iterator[DueFile]:
        yield from files[:at]
        raise StoreError("out of reach")

    given = list[DueFile]()
    with pytest.raises(StoreError, match="out of reach"):
        given.extend(due for piece, _ in inspector(2).answers(broken(), keys) for due in piece)
    assert given == files[:at]


def test_what_keeps_a_worker_from_going_on_is_raised_after_the_other_answers(files: list[DueFile]) -> None:
    def open_worker(_: threading.Event) -> Run:
        def run(work: Work) -> Result:
            assert isinstance(work, Inspection)
            if "f04" in keys(work.files):
                return Findings(work.number, fatal=StoreError("out of reach"))
            return Findings(work.number, keys(work.files))

        return run

    given = list[DueFile]()
    answers = Inspector(SharedExecutor(lambda: Inline(1, open_worker))).answers(files, keys)
    with pytest.raises(StoreError, match="out of reach"):
        given.extend(due for piece, _ in answers for due in piece)
    assert given[:4] == files[:4]
    assert files[4] not in given


def test_an_answer_that_never_was_is_no_end_of_the_files(files: list[DueFile]) -> None:
    one = Inspector(SharedExecutor(lambda: Inline(1, lambda _: lambda work: Findings(work.number))))
    with pytest.raises(AbandonedError):
        list(one.answers(files, keys))


@given(st.lists(st.integers(0, 2 * INSPECTION_BYTES), max_size=40), st.integers(1, 5))
def test_pieces_keep_the_order_and_are_of_the_size_that_was_meant(sizes: list[int], copies: int) -> None:
    class Sized:
        def __init__(self, weight: int) -> None:
            self.weight = weight

    files = [Sized(size) for size in sizes * copies]
    cut = list(pieces(files))  # type: ignore[type-var]  # all that is asked of a file
    assert [each for piece in cut for each in piece] == files
    for piece in cut:
        assert 1 <= len(piece) <= MAX_FILES
        assert len(piece) == 1 or sum(each.weight for each in piece) <= INSPECTION_BYTES
