from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from braze_etl.engine.dispatch import Dispatcher
from braze_etl.engine.due import DueFile
from braze_etl.engine.tasks import Settlement, Task, WorkerDied, group
from braze_etl.errors import DeliveryError, FatalError
from braze_etl.model import FileRef, FileSettlement, FileState, Reason


class ScriptedPool:
    """An executor of one worker that dies over the files named so."""

    processes = 1

    def __init__(self, *, deadly: str = "", cause: str = "SIGKILL") -> None:
        self.deadly = deadly
        self.cause = cause
        self.tasks: deque[Task] = deque()
        self.seen: list[list[str]] = []
        self.stopped = False

    @property
    def busy(self) -> bool:
        return bool(self.tasks)

    def submit(self, task: Any) -> bool:
        if self.tasks:
            return False
        self.tasks.append(task)
        return True

    def poll(self, timeout: float) -> Iterator[Settlement | WorkerDied]:
        task = self.tasks.popleft()
        keys = [due.ref.key for due in task.files]
        self.seen.append(keys)
        if self.deadly in keys:
            yield WorkerDied((task,), self.cause)
        else:
            yield Settlement(task.number, [FileSettlement(due.ref, FileState.DONE) for due in task.files])

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None: ...

    def kill(self) -> list[WorkerDied]:
        deaths = [WorkerDied((task,), self.cause, silent=task.number == 0) for task in self.tasks]
        self.tasks.clear()
        return deaths


def dispatch(pool: ScriptedPool, files: list[DueFile], *, stop_after: int = 99) -> list[Settlement]:
    settled: list[Settlement] = []
    tasks = group(files, count(), target=lambda _: 2000)
    dispatcher = Dispatcher(pool, tasks, lambda: len(settled) >= stop_after)
    for settlements in dispatcher:
        settled += settlements
    return settled


@pytest.fixture
def files(make_ref: Callable[..., FileRef]) -> list[DueFile]:
    return [DueFile(make_ref(name)) for name in "abcdef"]


def test_every_task_is_settled(files: list[DueFile]) -> None:
    settled = dispatch(ScriptedPool(), files)
    assert [file.ref.key for each in settled for file in each.files] == list("abcdef")


def test_tasks_that_have_to_run_alone_are_all_run_when_one_of_them_kills_its_worker(
    files: list[DueFile],
) -> None:
    pool = ScriptedPool(deadly="b")
    pairs = [Task(number, tuple(files[at : at + 2]), alone=True) for number, at in enumerate((0, 2, 4))]
    settled: list[Settlement] = []
    for settlements in Dispatcher(pool, iter(pairs), lambda: False):
        settled += settlements
    assert sorted(file.ref.key for each in settled for file in each.files) == list("abcdef")


def test_a_file_that_kills_twice_is_set_aside_and_its_neighbours_are_delivered(files: list[DueFile]) -> None:
    pool = ScriptedPool(deadly="c")
    settled = dispatch(pool, files)
    states = {file.ref.key: file.state for each in settled for file in each.files}
    assert states.pop("c") is FileState.FAILED
    assert set(states.values()) == {FileState.DONE}
    assert pool.seen.count(["c"]) == 1
    assert pool.seen.count(["c", "d"]) == 1
    (aside,) = [aside for each in settled for aside in each.set_aside]
    assert (aside.position.key, aside.reason) == ("c", Reason.UNREADABLE_FILE)
    assert "SIGKILL" in aside.detail


class Settling(ScriptedPool):
    """Loses a process, or with *machine* the whole machine, over the files named in *deadly*."""

    def __init__(self, *deadly: str, machine: bool = False) -> None:
        super().__init__(cause="lost")
        self.killers = set(deadly)
        self.machine = machine

    def poll(self, timeout: float) -> Iterator[Settlement | WorkerDied]:
        task = self.tasks.popleft()
        self.seen.append([due.ref.key for due in task.files])
        if self.killers.intersection(self.seen[-1]):
            yield WorkerDied((task,), self.cause, machine=self.machine)
        else:
            yield Settlement(task.number, [FileSettlement(due.ref, FileState.DONE) for due in task.files])


def outcome(settled: list[Settlement]) -> dict[str, FileState | None]:
    return {file.ref.key: file.state for each in settled for file in each.files}


def test_one_killer_among_500_files_is_found_in_a_few_steps_and_the_others_go_in_large_pieces(
    make_ref: Callable[..., FileRef],
) -> None:
    for killer in (0, 173, 499):
        pool = Settling(f"f{killer}")
        (task,) = group([DueFile(make_ref(f"f{number}", size=1)) for number in range(500)], count())
        settled = [each for group_ in Dispatcher(pool, iter([task]), lambda: False) for each in group_]
        states = outcome(settled)
        assert len(states) == 500
        assert [key for key, state in states.items() if state is FileState.FAILED] == [f"f{killer}"]
        assert sum(f"f{killer}" in keys for keys in pool.seen) <= 10
        assert len(pool.seen) <= 20


def test_deaths_with_work_settled_between_them_end_no_run(make_ref: Callable[..., FileRef]) -> None:
    files = [DueFile(make_ref(f"f{number}", size=1500)) for number in range(120)]
    killers = {f"f{number}" for number in range(0, 120, 3)}
    settled = dispatch(Settling(*killers), files, stop_after=999)
    failed = {key for key, state in outcome(settled).items() if state is FileState.FAILED}
    assert failed == killers


def test_files_set_aside_for_killing_are_no_sign_that_anything_gets_on(
    make_ref: Callable[..., FileRef],
) -> None:
    files = [DueFile(make_ref(f"f{number}")) for number in range(60)]
    pool = Settling(*(due.ref.key for due in files))
    with pytest.raises(FatalError, match="21 worker processes died"):
        dispatch(pool, files)


def test_a_lost_machine_blames_no_file_and_its_tasks_go_out_again_whole(files: list[DueFile]) -> None:
    pool = Settling("c", machine=True)
    handed_out: list[Task] = []
    submit = pool.submit

    def note(task: Task) -> bool:
        if taken := submit(task):
            handed_out.append(task)
            if sum(any(due.ref.key == "c" for due in each.files) for each in handed_out) == 3:
                pool.killers.clear()  # it was the machine after all
        return taken

    pool.submit = note  # type: ignore[method-assign]
    settled = dispatch(pool, files)
    assert set(outcome(settled).values()) == {FileState.DONE}
    tries = [task for task in handed_out if any(due.ref.key == "c" for due in task.files)]
    assert [(len(task.files), task.attempt, task.lost) for task in tries] == [(2, 0, 0), (2, 0, 1), (2, 0, 2)]


def test_a_file_over_which_machine_after_machine_is_lost_is_found(files: list[DueFile]) -> None:
    pool = Settling("c", machine=True)
    settled = dispatch(pool, files)
    states = outcome(settled)
    assert states.pop("c") is FileState.FAILED
    assert set(states.values()) == {FileState.DONE}
    assert pool.seen.count(["c", "d"]) == 3
    assert pool.seen.count(["c"]) == 3
    (aside,) = [aside for each in settled for aside in each.set_aside]
    assert "machine after machine" in aside.detail


def test_many_lost_machines_end_no_run_by_themselves(make_ref: Callable[..., FileRef]) -> None:
    files = [DueFile(make_ref(f"f{number}")) for number in range(30)]
    pool = Settling(*(due.ref.key for due in files), machine=True)
    assert set(outcome(dispatch(pool, files)).values()) == {FileState.FAILED}


def test_a_stop_begins_nothing_new(files: list[DueFile]) -> None:
    pool = ScriptedPool()
    assert len(dispatch(pool, files, stop_after=1)) == 1
    assert pool.stopped


def test_a_fatal_settlement_stops_the_others(files: list[DueFile]) -> None:
    class Refused(ScriptedPool):
        def poll(self, timeout: float) -> Iterator[Settlement | WorkerDied]:
            task = self.tasks.popleft()
            yield Settlement(task.number, fatal=DeliveryError("key refused"))

    pool = Refused()
    assert len(dispatch(pool, files)) == 1
    assert pool.stopped


def test_a_worker_that_cannot_start_blames_no_file(files: list[DueFile]) -> None:
    class Broken(ScriptedPool):
        def poll(self, timeout: float) -> Iterator[Settlement | WorkerDied]:
            yield WorkerDied((self.tasks.popleft(),), "exit code 1", error="a worker process could not start")

    with pytest.raises(FatalError, match="could not start"):
        dispatch(Broken(), files)


def test_too_many_deaths_are_no_files_fault(make_ref: Callable[..., FileRef]) -> None:
    class Dying(ScriptedPool):
        def poll(self, timeout: float) -> Iterator[Settlement | WorkerDied]:
            yield WorkerDied((self.tasks.popleft(),), "SIGKILL")

    with pytest.raises(FatalError, match="worker processes died"):
        dispatch(Dying(), [DueFile(make_ref(f"f{number}")) for number in range(60)])


def test_what_arrives_together_comes_as_one_group_also_beside_a_death(files: list[DueFile]) -> None:
    class Both(ScriptedPool):
        def submit(self, task: Any) -> bool:
            self.tasks.append(task)
            return len(self.tasks) <= 3

        def poll(self, timeout: float) -> Iterator[Settlement | WorkerDied]:
            tasks, self.tasks = list(self.tasks), deque()
            yield from (Settlement(task.number) for task in tasks[:2])
            yield WorkerDied((), "exit code 1", error="a worker process could not start")

    groups: list[list[Settlement]] = []
    tasks = group(files, count(), target=lambda _: 2000)
    with pytest.raises(FatalError, match="could not start"):
        groups.extend(Dispatcher(Both(), tasks, lambda: False))
    assert [[each.task for each in settled] for settled in groups] == [[0, 1]]


def test_in_a_pause_nothing_is_handed_out_also_not_again_and_nothing_is_lost(files: list[DueFile]) -> None:
    pool, paused = ScriptedPool(deadly="b"), False
    tasks = group(files, count(), target=lambda _: 2000)
    dispatcher = Dispatcher(pool, tasks, lambda: False, should_pause=lambda: paused)
    settled: list[Settlement] = []
    while dispatcher.has_more():
        paused = False
        for settlements in dispatcher:
            settled += settlements
            paused = True
        assert not pool.busy
    assert not dispatcher.has_more()
    assert {file.ref.key for each in settled for file in each.files} == set("abcdef")
    assert pool.seen.count(["b"]) == 1, "its task was tried once with its neighbour, and once alone"


def test_retried_tasks_keep_numbers_of_their_own_over_all_pauses(files: list[DueFile]) -> None:
    pool, numbers = ScriptedPool(deadly="a"), list[int]()
    submit = pool.submit

    def note(task: Task) -> bool:
        if taken := submit(task):
            numbers.append(task.number)
        return taken

    pool.submit = note  # type: ignore[method-assign]
    tasks, paused = group(files, count(), target=lambda _: 2000), False
    dispatcher = Dispatcher(pool, tasks, lambda: False, should_pause=lambda: paused)
    while dispatcher.has_more():
        paused = False
        for _ in dispatcher:
            paused, pool.deadly = True, "e"
    assert len(numbers) == len(set(numbers))


def test_what_is_left_of_a_task_is_asked_when_its_turn_has_come(files: list[DueFile]) -> None:
    pool = ScriptedPool()

    def review(task: Task) -> Task | None:
        left = tuple(due for due in task.files if due.ref.key not in "ab")
        return replace(task, files=left) if left else None

    tasks = group(files, count(), target=lambda _: 2000)
    for _ in Dispatcher(pool, tasks, lambda: False, review=review):
        pass
    assert [key for keys in pool.seen for key in keys] == list("cdef")


def test_when_it_gives_up_those_that_were_silent_are_told_apart(files: list[DueFile]) -> None:
    class Stuck(ScriptedPool):
        def submit(self, task: Any) -> bool:
            self.tasks.append(task)
            return True

    pool, stuck = Stuck(), list[Task]()
    tasks = group(files, count(), target=lambda _: 2000)
    assert list(Dispatcher(pool, tasks, lambda: False, gives_up=lambda: True, stuck=stuck.extend)) == []
    assert [[due.ref.key for due in task.files] for task in stuck] == [["a", "b"]]
    assert not pool.busy
