"""Who is suspected when a run is killed, and what clears a file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count

import pytest

from braze_etl.clock import ManualClock
from braze_etl.engine.due import DueFile
from braze_etl.engine.suspects import NOTE, Suspects
from braze_etl.engine.tasks import Task
from braze_etl.model import FileRef, FileSettlement, FileState, Tally
from braze_etl.state.ledger import LedgerIdentity
from braze_etl.state.sqlite import SqliteLedger


@pytest.fixture
def ledger() -> SqliteLedger:
    clock = ManualClock(datetime(2026, 11, 24, tzinfo=UTC))
    return SqliteLedger.in_memory(LedgerIdentity("p", "default", "US"), clock=clock)


@pytest.fixture
def files(make_ref: Callable[..., FileRef]) -> list[DueFile]:
    return [DueFile(make_ref(name)) for name in "abcdef"]


def next_run(ledger: SqliteLedger, files: list[DueFile]) -> tuple[Suspects, list[DueFile]]:
    """What the next run knows, and the files that it reads first."""
    suspects = Suspects(ledger)
    suspects.read()
    return suspects, list(suspects.filter(files))


def killed(ledger: SqliteLedger, files: list[DueFile], *, trial: bool) -> None:
    """A run was killed when it had these in flight."""
    suspects, _ = next_run(ledger, files)
    suspects.note([Task(0, tuple(files), alone=trial, trial=trial)])


def test_a_run_that_ended_in_order_leaves_no_suspects(ledger: SqliteLedger, files: list[DueFile]) -> None:
    suspects, first = next_run(ledger, files)
    assert first == files
    suspects.note([Task(0, tuple(files))])
    for name, fact in suspects.at_end(all_seen=True).items():
        ledger.put_note(name, fact)
    assert next_run(ledger, files)[1] == files
    assert ledger.get_note(NOTE) == {}


def test_what_a_killed_run_had_suspects_comes_last_alone_and_on_trial(
    ledger: SqliteLedger, files: list[DueFile]
) -> None:
    killed(ledger, files[2:4], trial=False)
    suspects, first = next_run(ledger, files)
    assert first == files[:2] + files[4:]
    assert [(task.files, task.alone, task.trial) for task in suspects.tasks(count())] == [
        ((files[2],), True, True),
        ((files[3],), True, True),
    ]
    assert not suspects.held_back


def test_a_file_that_was_replaced_is_no_suspect(
    ledger: SqliteLedger, files: list[DueFile], make_ref: Callable[..., FileRef]
) -> None:
    killed(ledger, files[:1], trial=False)
    other = DueFile(make_ref("a", etag="another"))
    assert next_run(ledger, [other])[1] == [other]


def test_the_third_death_alone_and_on_trial_is_the_last(ledger: SqliteLedger, files: list[DueFile]) -> None:
    killed(ledger, files, trial=False)
    killed(ledger, files[:1], trial=True)
    suspects, _ = next_run(ledger, files)
    assert suspects.given_up() == []
    killed(ledger, files[:1], trial=True)
    suspects, _ = next_run(ledger, files)
    (settlement,) = suspects.given_up()
    (aside,) = settlement.set_aside
    assert (aside.position.key, settlement.files[0].state) == ("a", FileState.FAILED)
    assert "ended the whole run 3 times" in aside.detail
    assert [task.files[0].ref.key for task in suspects.tasks(count())] == list("bcdef")


def test_files_that_were_not_alone_are_never_given_up(ledger: SqliteLedger, files: list[DueFile]) -> None:
    for _ in range(20):
        killed(ledger, files[:2], trial=True)
    assert next_run(ledger, files)[0].given_up() == []


def test_waiting_for_amplitude_when_a_run_is_killed_makes_nobody_guilty(
    ledger: SqliteLedger, files: list[DueFile]
) -> None:
    for _ in range(10):
        killed(ledger, files[:1], trial=False)
        suspects, _ = next_run(ledger, files)
        assert suspects.given_up() == []
        (task,) = suspects.tasks(count())
        suspects.passed(task)
        suspects.note([Task(0, tuple(files[:1]), alone=True)])


def test_a_trial_that_ended_well_clears_a_file_of_those_before(
    ledger: SqliteLedger, files: list[DueFile]
) -> None:
    killed(ledger, files[:1], trial=True)
    suspects, _ = next_run(ledger, files)
    (task,) = suspects.tasks(count())
    suspects.passed(task)
    suspects.note([])
    killed(ledger, files[:1], trial=True)
    assert next_run(ledger, files)[0].given_up() == []


def test_a_settled_file_is_no_suspect_and_one_that_was_not_reached_stays_one(
    ledger: SqliteLedger, files: list[DueFile]
) -> None:
    killed(ledger, files[:3], trial=False)
    suspects, _ = next_run(ledger, files[:2])
    done = FileSettlement(files[0].ref, FileState.DONE, Tally(accepted=1))
    suspects.noting([], [done])
    for name, fact in suspects.at_end(all_seen=True).items():
        ledger.put_note(name, fact)
    assert next_run(ledger, files)[1] == [files[0], *files[2:]]  # c was not due any more


def test_thousands_of_suspects_share_tasks(ledger: SqliteLedger, make_ref: Callable[..., FileRef]) -> None:
    many = [DueFile(make_ref(f"f{number:04}")) for number in range(1001)]
    killed(ledger, many, trial=False)
    suspects, first = next_run(ledger, many)
    tasks = list(suspects.tasks(count()))
    assert first == []
    assert len(tasks) <= 100
    assert [due for task in tasks for due in task.files] == many


def test_a_file_that_held_its_worker_when_its_run_had_to_end_is_a_suspect(
    ledger: SqliteLedger, files: list[DueFile]
) -> None:
    for trial in (False, True, True):
        suspects, _ = next_run(ledger, files)
        assert suspects.given_up() == []
        suspects.stuck([Task(0, tuple(files[:1]), alone=trial, trial=trial)])
        for name, fact in suspects.at_end(all_seen=True).items():
            ledger.put_note(name, fact)
    assert len(next_run(ledger, files)[0].given_up()) == 1
