"""Tasks: groups of due files that a worker takes whole, and what else travels between it and the parent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol, Self, TypeAlias

from braze_etl.delivery.batches import RequestCounts
from braze_etl.engine.due import DueFile
from braze_etl.errors import BrazeEtlError, FileReplacedError, FileUnavailableError
from braze_etl.model import Counts, FileRef, FileSettlement, Position, SetAside

RECORD_BYTES = 160
"""What a record takes in a file, about."""
TASK_BYTES = 8_000_000
"""About 50,000 records, until it is known how fast they go; a task is also what a crash sends again."""
MAX_FILES = 500
TASKS_A_PROCESS: Final = 2
"""It reads the second while the last requests of the first are on their way."""


@dataclass(frozen=True, slots=True)
class Task:
    """Files that one worker reads in order.

    `attempt` counts the workers that died over it, and `lost` the machines that were lost with it. One that
    is `alone` begins when nothing else is in flight. On `trial` it is read to its end, and nothing is sent or
    settled of it (see `suspects`).
    """

    number: int
    files: tuple[DueFile, ...]
    attempt: int = 0
    alone: bool = False
    trial: bool = False
    lost: int = 0

    @property
    def exclusive(self) -> bool:
        """Whether it must not share its process, so that another death is surely its own doing."""
        return self.trial or self.attempt > 0

    def whole_files(self) -> Iterator[FileRef]:
        """The files that are read from their beginning to their end."""
        return (due.ref for due in self.files if due.whole)


class Readable(Protocol):
    """A file of an `Inspection`; a `DueFile` is one."""

    @property
    def ref(self) -> FileRef:
        """Which file."""
        ...

    @property
    def whole(self) -> bool:
        """Whether it is read from its beginning to its end."""
        ...

    @property
    def weight(self) -> int:
        """About how many bytes are read of it."""
        ...


@dataclass(frozen=True, slots=True)
class Inspection:
    """Files that a worker reads to answer a *question* about them; nothing is sent, and nothing settled.

    The question pickles, and is called in the worker (see `worker.Question`). `attempt` counts the workers
    that died over the files, and `lost` the machines that were lost with them.
    """

    number: int
    files: tuple[Any, ...]
    """Each of them is `Readable`."""
    question: Callable[..., Any]
    attempt: int = 0
    lost: int = 0

    @property
    def exclusive(self) -> bool:
        """See `Task.exclusive`."""
        return self.attempt > 0

    def whole_files(self) -> Iterator[FileRef]:
        """See `Task.whole_files`."""
        return (file.ref for file in self.files if file.whole)


Work: TypeAlias = Task | Inspection
"""What a worker is given."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A worker wants to send so many events for a task; `stops`: those that are not granted are held."""

    task: int
    events: int
    stops: bool


@dataclass(frozen=True, slots=True)
class Grant:
    """What a worker may send, or more; with less than it asked for, which bound grants no more until when."""

    events: int
    words: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """Over how many processes the limits of the service are split from now on.

    A worker begins no task before its first one. It sends each back when it keeps to it (see `shares`).
    """

    processes: int


@dataclass(slots=True)
class Unavailable:
    """Files that stay due because the store did not give them as listed: how many by kind, and the first."""

    files: Counter[str] = field(default_factory=Counter)
    first: dict[str, FileUnavailableError] = field(default_factory=dict)

    def note(self, error: FileUnavailableError) -> None:
        """Count a file."""
        self.files[error.kind] += 1
        self.first.setdefault(error.kind, error)

    def add(self, other: Unavailable) -> None:
        """Take over what another task met."""
        self.files += other.files
        self.first = {**other.first, **self.first}

    @property
    def worst(self) -> FileUnavailableError | None:
        """The first file of the kind that most are of. A file that was replaced is nobody's trouble."""
        kinds = [kind for kind, _ in self.files.most_common() if kind != FileReplacedError.kind]
        return self.first[kinds[0]] if kinds else None

    def as_dict(self) -> dict[str, Any]:
        """For the report: by kind, the number of files, and in words what became of the first."""
        return {
            kind: {"files": self.files[kind], "message": error.message, "remedy": error.remedy}
            for kind, error in self.first.items()
        }


class Extras(Protocol):
    """What a flow finds in files beside their records. The engine adds it up, and knows nothing of it.

    *records* is how many were read, by event type.
    """

    def merge(self, other: Self) -> None:
        """Take over what *other*, of the same flow, has found later."""
        ...

    def as_dict(self, records: Mapping[str, int]) -> dict[str, Any]:
        """JSON values by key of the run report."""
        ...

    def lines(self, records: Mapping[str, int]) -> Iterator[tuple[str, str]]:
        """The same for people, each line with its title; none where there is nothing to say."""
        ...

    def warn(self, records: Mapping[str, int]) -> None:
        """Log what somebody should look at, when the run is over."""
        ...


class NoExtras:
    """For a flow that finds nothing beside records."""

    def merge(self, other: Self) -> None:
        """See `Extras`."""

    def as_dict(self, records: Mapping[str, int]) -> dict[str, Any]:  # noqa: ARG002 - see `Extras`
        """See `Extras`."""
        return {}

    def lines(self, records: Mapping[str, int]) -> Iterator[tuple[str, str]]:  # noqa: ARG002 - see `Extras`
        """See `Extras`."""
        return iter(())

    def warn(self, records: Mapping[str, int]) -> None:
        """See `Extras`."""


@dataclass(slots=True)
class Settlement:
    """What came of a task: the files' states, what to set aside, and this run's counts.

    `counts` are of the records whose outcome this task fixed, and `repeats` of those among them that lie in
    files without a state, which the next run reads again; `files` carry the books of each file over all runs.
    It took `seconds` to read them, with every wait until their events could be sent.
    `kept` are positions that a replay could not read: their entries in the quarantine stay. `in_flight_limit`
    is the most requests that this worker (a process id) allows itself now. `fatal` says why the worker can't
    go on at all.
    """

    task: int
    files: list[FileSettlement] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    kept: list[Position] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    repeats: Counts = field(default_factory=Counts)
    repairs: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    """Records by event type that the budget kept from being sent."""
    warnings: Counter[str] = field(default_factory=Counter)
    unavailable: Unavailable = field(default_factory=Unavailable)
    requests: RequestCounts = field(default_factory=RequestCounts)
    extras: Extras | None = None
    seconds: float = 0.0
    worker: int = 0
    in_flight_limit: int = 0
    fatal: BrazeEtlError | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What came of an `Inspection`.

    The answer is None where the worker had to stop before it knew; `fatal` says why it could not go on.
    """

    task: int
    answer: Any = None
    fatal: BrazeEtlError | None = None


Result: TypeAlias = Settlement | Findings
"""What a worker gives back."""

LOOK_ABOVE: Final = "Look at the log above; give the job more memory or fewer workers."


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """A worker ended without being asked to, or was killed; *tasks* are what it had not settled, all of it.

    `error` is set when it never came up: then no file is to blame. Nor is one when a whole *machine* was
    lost. A *silent* worker had given no sign of life for a while.
    """

    tasks: tuple[Work, ...]
    cause: str
    error: str | None = None
    silent: bool = False
    machine: bool = False


def group(
    files: Iterable[DueFile], numbers: Iterator[int], *, target: Callable[[int], int] = lambda _: TASK_BYTES
) -> Iterator[Task]:
    """Group due files, in their order, into tasks of about *target* bytes or at most `MAX_FILES` files.

    *target* is asked for each task anew, with the bytes of all tasks before it.
    """
    members, size, before = list[DueFile](), 0, 0
    for file in files:
        weight = file.weight
        if members and (size + weight > target(before) or len(members) >= MAX_FILES):
            yield Task(next(numbers), tuple(members))
            before += size
            members, size = [], 0
        members.append(file)
        size += weight
    if members:
        yield Task(next(numbers), tuple(members))
