from __future__ import annotations

from collections.abc import Callable
from itertools import count

from braze_etl.engine.deaths import halves
from braze_etl.engine.due import DueFile
from braze_etl.engine.tasks import MAX_FILES, Task, group, shares
from braze_etl.model import FileRef, OpenPositions, Reason
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
    tasks = list(group(files(make_ref, *[500_000] * 200), count(), target=shares(total, workers=2)))
    sizes = [sum(due.weight for due in task.files) for task in tasks]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 8_000_000
    assert sizes[-1] <= 1_000_000
    assert sum(sizes) == total


def test_a_small_backlog_gives_every_worker_several_tasks_but_no_tiny_ones(
    make_ref: Callable[..., FileRef],
) -> None:
    tasks = list(group(files(make_ref, *[100_000] * 100), count(), target=shares(10_000_000, workers=2)))
    assert [len(task.files) for task in tasks] == [12, 11, 10, 10, 10, 10, 10, 10, 10, 7]


def test_only_files_that_are_read_whole_can_be_fetched_before(make_ref: Callable[..., FileRef]) -> None:
    part = OpenPositions(Reason.THROTTLED, make_ref("b").modified, {100: (0,)})
    task = Task(0, (DueFile(make_ref("a")), deferred(make_ref("b"), part)))
    assert [ref.key for ref in task.whole_files()] == ["a"]
