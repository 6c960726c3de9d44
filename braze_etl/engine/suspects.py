"""What a run has begun, on record before it begins it; and whom that makes a suspect when the run is killed.

A file whose reading takes the memory of a whole pod ends the run, and nobody is left to set it aside.

1. The ledger notes a task's files before a worker has them: with the settlement that makes room for the task,
   or by a write of its own, before the first task and before each trial. Who is killed while it stores a
   settlement has not begun the trial that comes next.
2. A run that ends in order clears the note. So whatever the next run finds in it was begun by one that was
   killed: these files are suspects, most of them innocent.
3. Suspects are read last, so that all others are delivered first; and alone, with nothing else in flight.
   First on trial: read to the end, and nothing of it is sent. Only then in earnest.
4. A run that is killed during the trial of a single file was ended by it, or by chance. At the second such
   trial, the third death, the file is set aside unread. Deaths in earnest make nobody guilty: waiting for
   Amplitude takes long, and a run may be killed in it for any reason.
5. A trial that ends well clears a file of those before. A file that is settled is no suspect any more; one
   that the run did not come to stays one.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from braze_etl.engine.books import TaskBooks
from braze_etl.engine.due import DueFile
from braze_etl.engine.tasks import Settlement, Task
from braze_etl.model import FileRef, FileSettlement, Reason, Verdict
from braze_etl.state.ledger import Ledger

NOTE: Final = "begun"
"""The name of the ledger's note."""
_TRIALS: Final = 2
_MOST_TASKS: Final = 100
"""Of suspects; more files share a task, and are told apart at the next death."""
_BYTES: Final = 6
"""Of a file's key and etag in the note: enough to tell thousands apart, and it stays small."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """How many killed runs had begun a file, and in how many of its trials since the last good one."""

    deaths: int = 0
    trials: int = 0


class Suspects:
    """The note of one ledger, and what it says about the files that are due."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._suspicions: dict[str, Suspicion] = {}
        self._guilty: set[str] = set()
        self._waiting: list[DueFile] = []
        self._seen: set[str] = set()
        self._noted = False

    def read(self) -> None:
        """Take up what the last run has left; under the lease, before a task is begun."""
        note = self._ledger.get_note(NOTE)
        self._noted = bool(note)
        self._suspicions = {id_: Suspicion(*counts) for id_, counts in note.get("suspects", {}).items()}
        begun, tried = _split(note.get("files", "")), _split(note.get("trial", ""))
        alone = len(begun) + len(tried) == 1  # only one that was the only one begun can be guilty
        self._suspect(begun, on_trial=False)
        self._suspect(tried, on_trial=alone)
        self._guilty = {id_ for id_, each in self._suspicions.items() if each.trials >= _TRIALS}

    def _suspect(self, ids: Iterable[str], *, on_trial: bool) -> None:
        for id_ in ids:
            before = self._suspicions.get(id_, Suspicion())
            self._suspicions[id_] = Suspicion(before.deaths + 1, before.trials + on_trial)

    def stuck(self, tasks: Iterable[Task]) -> None:
        """These held their workers when the run had to end: they are suspects of the next one."""
        for task in tasks:
            ids = [_id(due.ref) for due in task.files]
            self._seen.update(ids)
            self._suspect(ids, on_trial=task.trial and len(ids) == 1)

    def filter(self, files: Iterable[DueFile]) -> Iterator[DueFile]:
        """Give the files that are beyond suspicion, and hold the others back for `tasks`."""
        for due in files:
            if _id(due.ref) in self._suspicions:
                self._seen.add(_id(due.ref))
                self._waiting.append(due)
            else:
                yield due

    @property
    def held_back(self) -> bool:
        """Whether suspects were held back."""
        return bool(self._waiting)

    def given_up(self) -> list[Settlement]:
        """Set aside the file that has ended its last run, unread, if it was held back."""
        guilty = [due for due in self._waiting if _id(due.ref) in self._guilty]
        self._waiting = [due for due in self._waiting if due not in guilty]
        return [_set_aside(due, self._suspicions[_id(due.ref)].deaths) for due in guilty]

    def tasks(self, numbers: Iterator[int]) -> Iterator[Task]:
        """Give the suspects on trial, the gravest last; what is given once is not held back any more."""
        files, self._waiting = self._waiting, []
        files.sort(key=lambda due: self._suspicions.get(_id(due.ref), Suspicion()).deaths)
        size = -(-len(files) // _MOST_TASKS) or 1
        for start in range(0, len(files), size):
            yield Task(next(numbers), tuple(files[start : start + size]), alone=True, trial=True)

    def passed(self, task: Task) -> None:
        """The trial of a task's files has ended well."""
        for due in task.files:
            if (before := self._suspicions.get(_id(due.ref))) is not None:
                self._suspicions[_id(due.ref)] = Suspicion(before.deaths)

    def noting(self, begun: Iterable[Task], settled: Iterable[FileSettlement] = ()) -> Mapping[str, Any]:
        """The notes to store, by name, before *begun* (all that is in flight) and with *settled*."""
        for file in settled:
            if file.state is not None:
                self._suspicions.pop(_id(file.ref), None)
        parts = {False: "", True: ""}
        for task in begun:
            parts[task.trial] += "".join(_id(due.ref) for due in task.files)
        return self._fact(files=parts[False], trial=parts[True])

    def note(self, begun: Iterable[Task]) -> None:
        """Store that these are begun."""
        for name, fact in self.noting(begun).items():
            self._ledger.put_note(name, fact)

    def at_end(self, *, all_seen: bool) -> Mapping[str, Any]:
        """The notes to store with the end of the run: nothing is begun, and who is left stays suspected.

        With *all_seen* a suspect that was not due any more is forgotten.
        """
        if all_seen:
            self._suspicions = {id_: each for id_, each in self._suspicions.items() if id_ in self._seen}
        return self._fact() if self._noted or self._suspicions else {}

    def _fact(self, **lists: str) -> Mapping[str, Any]:
        self._noted = True
        suspects = {id_: [each.deaths, each.trials] for id_, each in self._suspicions.items()}
        fact: dict[str, Any] = {name: ids for name, ids in lists.items() if ids}
        return {NOTE: fact | ({"suspects": suspects} if suspects else {})}


def _set_aside(due: DueFile, deaths: int) -> Settlement:
    books = TaskBooks(Task(0, (due,)))
    words = f"reading it ended the whole run {deaths} times, the last times alone"
    books.failed(0, Verdict(Reason.UNREADABLE_FILE, words))
    books.read_to_end(0)
    return books.settlement()


def _id(ref: FileRef) -> str:
    digest = blake2b(f"{ref.key}\n{ref.etag}".encode(), digest_size=_BYTES).digest()
    return base64.b64encode(digest).decode()


def _split(ids: str) -> list[str]:
    length = len(base64.b64encode(bytes(_BYTES)))
    return [ids[at : at + length] for at in range(0, len(ids), length)]
