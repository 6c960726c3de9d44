from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from braze_etl.engine.deaths import halves
from braze_etl.engine.dispatch import TaskSizes
from braze_etl.engine.due import DueFile
from braze_etl.engine.tasks import MAX_FILES, Settlement, Task, group
from braze_etl.model import FileRef, FileSettlement, FileState, OpenPositions, Reason
from tests.engine.due_files import deferred


def files(make_ref: Callable[..., FileRef], *sizes: int) -> list[DueFile]:
    return [DueFile(make_ref(f"f{number}", size=size)) for number, size in enumerate(sizes)]


def test_small_files_share_a_task_and_order_is_kept(make_ref: Callable[..., FileRef]) -> None:
    tasks = list(group(files(make_ref, 40, 40, 40, 40), count(), target=lambda _: 100))
    assert [[due.ref.key for due in task.files] for task in tasks] == [["f0", "f1"], ["f2", "f3"]]
    assert [task.number for task in tasks] == [0, 1]


def test_a_large_file_is_a_task_of_its_own(make_ref: Callable[..., FileRef]) -> None:
    assert [
        len(task.files) for task in group(files(make_ref, 10, 1000, 10), count(), target=lambda _: 100)
    ] == [
        1,
        1,
        1,
    ]


def test_a_task_has_a_bounded_number_of_files(make_ref: Callable[..., FileRef]) -> None:
    assert [len(task.files) for task in group(files(make_ref, *[1] * (MAX_FILES + 1)), count())] == [
        MAX_FILES,
        1,
    ]


def test_nothing_due_is_no_task() -> None:
    assert list(group([], count())) == []


def test_the_task_of_a_dead_worker_is_tried_again_in_halves(make_ref: Callable[..., FileRef]) -> None:
    again = halves(Task(3, tuple(files(make_ref, 1, 2, 3)), lost=3), count(50))
    assert [(task.number, len(task.files), task.attempt, task.lost) for task in again] == [
        (50, 2, 1, 3),
        (51, 1, 1, 0),
    ]
    (alone,) = halves(Task(3, tuple(files(make_ref, 1))), count(60))
    assert (alone.number, len(alone.files), alone.exclusive) == (60, 1, True)


def test_tasks_get_smaller_towards_the_end_so_that_workers_end_together(
    make_ref: Callable[..., FileRef],
) -> None:
    total = 200 * 500_000
    tasks = list(
        group(files(make_ref, *[500_000] * 200), count(), target=TaskSizes().targets(total, workers=2))
    )
    sizes = [sum(due.weight for due in task.files) for task in tasks]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 8_000_000
    assert sizes[-1] <= 1_000_000
    assert sum(sizes) == total


def test_a_small_backlog_gives_every_worker_several_tasks_but_no_tiny_ones(
    make_ref: Callable[..., FileRef],
) -> None:
    tasks = list(
        group(files(make_ref, *[100_000] * 100), count(), target=TaskSizes().targets(10_000_000, workers=2))
    )
    assert [len(task.files) for task in tasks] == [12, 11, 10, 10, 10, 10, 10, 10, 10, 7]


def settled(make_ref: Callable[..., FileRef], size: int, seconds: float) -> Settlement:
    return Settlement(0, [FileSettlement(make_ref("a", size=size), FileState.DONE)], seconds=seconds)


@pytest.mark.parametrize(
    ("size", "seconds", "usual"),
    [
        (8_000_000, 4.0, 10_000_000),
        (8_000_000, 1.0, 24_000_000),
        (8_000_000, 100.0, 400_000),
        (8_000_000, 4_000.0, 250_000),
        (0, 0.0, 8_000_000),
    ],
    ids=["5 s", "bounded by memory", "a slow project", "bounded by what a task costs", "nothing measured"],
)
def test_a_task_is_about_five_seconds_of_a_process(
    make_ref: Callable[..., FileRef], size: int, seconds: float, usual: int
) -> None:
    sizes = TaskSizes()
    sizes.note(settled(make_ref, size, seconds))
    assert sizes.usual == usual


def test_tasks_follow_a_rate_that_changes_while_they_are_grouped(make_ref: Callable[..., FileRef]) -> None:
    sizes, total = TaskSizes(), 2000 * 100_000
    tasks = group(files(make_ref, *[100_000] * 2000), count(), target=sizes.targets(total, workers=2))
    grouped = list[int]()
    for number, task in zip(range(24), tasks, strict=False):
        grouped.append(len(task.files))
        rate = 800_000 if number < 12 else 100_000
        size = sum(due.weight for due in task.files)
        sizes.note(settled(make_ref, size, size / rate))
    assert grouped[0] == 80
    assert set(grouped[2:12]) <= {39, 40}
    assert grouped[-1] <= 7


def test_only_files_that_are_read_whole_can_be_fetched_before(make_ref: Callable[..., FileRef]) -> None:
    part = OpenPositions(Reason.THROTTLED, make_ref("b").modified, {100: (0,)})
    task = Task(0, (DueFile(make_ref("a")), deferred(make_ref("b"), part)))
    assert [ref.key for ref in task.whole_files()] == ["a"]
