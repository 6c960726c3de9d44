"""A meter over a ledger in memory, and workers that are asked to send blocks of events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from braze_etl.clock import ManualClock
from braze_etl.engine.books import TaskBooks, tags_of
from braze_etl.engine.budget import NOTE, Terms
from braze_etl.engine.due import DueFile
from braze_etl.engine.meter import Allowance, Meter
from braze_etl.engine.tasks import Settlement, Task
from braze_etl.model import FileRef, Reason
from braze_etl.state.ledger import LedgerIdentity
from braze_etl.state.sqlite import SqliteLedger

EVENING = datetime(2026, 11, 24, 23, 50, tzinfo=UTC)
STOPPED, OTHER = "users.messages.email.Open", "users.behaviors.Purchase"


def due(name: str, kind: str = STOPPED) -> DueFile:
    return DueFile(FileRef(name, "e1", 1000, EVENING, kind, EVENING.replace(minute=0)))


class World:
    """A ledger, the meter over it, and what was sent: `sent` events may have reached Amplitude."""

    def __init__(self, terms: Terms, *, workers: int = 1) -> None:
        self.clock = ManualClock(EVENING)
        self.ledger = SqliteLedger.in_memory(LedgerIdentity("p", "shop", "US"), clock=self.clock)
        self.workers = workers
        self.terms = terms
        self.sent = 0
        self.meter = self.started()

    def started(self) -> Meter:
        """The meter of another run."""
        self.meter = Meter(self.ledger, self.terms, self.clock, workers=self.workers)
        self.meter.open()
        return self.meter

    def noted(self) -> tuple[int, int]:
        """What the state remembers: events of the month, and of the day."""
        note = self.ledger.get_note(NOTE)
        return (note["month_events"], note["day_events"]) if note else (0, 0)

    def work(self, task: Task, blocks: Sequence[int], *, refused: int = 0) -> Settlement:
        """Send a task whose files have blocks of so many events; Amplitude defers some of each block."""
        *_, last = self.working(task, blocks, refused=refused)
        assert last is not None
        return last

    def working(self, task: Task, blocks: Sequence[int], *, refused: int = 0) -> Iterator[Settlement | None]:
        """The same in steps of a block; the last one is the settlement, which the meter has not seen."""
        books, allowance = TaskBooks(task), Allowance(self.terms.stops, self.meter.answer)
        for file in range(len(task.files)):
            for number, count in enumerate(blocks, 1):
                tags = tags_of(task.number, file, 100 * number, range(count))
                if self.terms.enforced:
                    _, tags = allowance.admit(books, file, [{} for _ in tags], tags)
                books.joined_batch(file, len(tags))
                for tag in tags[:refused]:
                    books.deferred(tag, Reason.THROTTLED, EVENING)
                books.accepted(tags[refused:])
                self.sent += len(tags[refused:])
                yield None
            books.read_to_end(file)
        books.reading = False
        yield books.settlement()
