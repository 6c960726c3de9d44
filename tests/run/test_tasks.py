from __future__ import annotations

from collections.abc import Callable
from itertools import count

from braze_etl.model import FileRef
from braze_etl.run.due import DueFile
from braze_etl.run.tasks import MAX_FILES, Task, group, one_by_one


def files(make_ref: Callable[..., FileRef], *sizes: int) -> list[DueFile]:
    return [DueFile(make_ref(f"f{number}", size=size)) for number, size in enumerate(sizes)]


def test_small_files_share_a_task_and_order_is_kept(make_ref: Callable[..., FileRef]) -> None:
    tasks = list(group(files(make_ref, 40, 40, 40, 40), count(), target_bytes=100))
    assert [[due.ref.key for due in task.files] for task in tasks] == [["f0", "f1"], ["f2", "f3"]]
    assert [task.number for task in tasks] == [0, 1]


def test_a_large_file_is_a_task_of_its_own(make_ref: Callable[..., FileRef]) -> None:
    assert [len(task.files) for task in group(files(make_ref, 10, 1000, 10), count(), target_bytes=100)] == [
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


def test_the_task_of_a_dead_worker_is_tried_again_file_by_file(make_ref: Callable[..., FileRef]) -> None:
    again = one_by_one(Task(3, tuple(files(make_ref, 1, 2))), count(50))
    assert [(task.number, len(task.files), task.attempt) for task in again] == [(50, 1, 1), (51, 1, 1)]
