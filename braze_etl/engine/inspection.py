"""Passes that read: files go to workers with a question; the answers come in the order of the files."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from braze_etl.engine.deaths import Deaths, killed_by
from braze_etl.engine.flow import SharedExecutor
from braze_etl.engine.tasks import MAX_FILES, TASKS_A_PROCESS, Findings, Inspection, Readable, WorkerDied
from braze_etl.engine.worker import Question
from braze_etl.errors import AbandonedError, BrazeEtlError, StoreError

F = TypeVar("F", bound=Readable)
A = TypeVar("A")

INSPECTION_BYTES: Final = 4_000_000
"""About 25,000 records: half a second of a process, which is what one may work longer than another."""
_AHEAD: Final = 2 * TASKS_A_PROCESS
"""Inspections a process that are begun and not given yet: as many may wait for the one before them."""
_POLL: Final = 0.25


@dataclass(frozen=True, slots=True)
class Killed:
    """Stands for the answer about one file: reading it has ended two workers, in these words."""

    words: str


class Inspector:
    """Has workers answer questions about files, through the executor that the run has for its tasks, too.

    Once *should_stop* says so, workers stop with what they are at; once *gives_up* does, they are killed.
    """

    def __init__(
        self,
        executor: SharedExecutor,
        *,
        should_stop: Callable[[], bool] = lambda: False,
        gives_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self.executor = executor
        self.should_stop = should_stop
        self.gives_up = gives_up

    def answers(
        self, files: Iterable[F], question: Question[F, A]
    ) -> Iterator[tuple[tuple[F, ...], A | Killed]]:
        """Give pieces of *files*, in their order, each with the answer about it.

        Files are taken as workers have room, and what waits for its turn is bounded. When *files* ends,
        as it may for a pause, all that is under way is still given. A `StoreError` of *files*, and whatever
        kept a worker from going on, is raised after that. So is `FatalError` where worker after worker dies.
        """
        return iter(_Pass(self, files, question))


class _Part(Generic[F]):
    """A piece of the files, on its way."""

    def __init__(self, inspection: Inspection) -> None:
        self.inspection = inspection
        self.answer: Any = None
        self.dropped = False
        """Whether nobody answers any more."""

    @property
    def is_over(self) -> bool:
        return self.dropped or self.answer is not None


class _Pass(Generic[F, A]):
    """One pass over files. `_parts` has all that was begun and not given, in the order of the files."""

    def __init__(self, inspector: Inspector, files: Iterable[F], question: Question[F, A]) -> None:
        self._inspector = inspector
        self._shared = inspector.executor
        self._question = question
        self._pieces = pieces(files)
        self._parts: deque[_Part[F]] = deque()
        self._waiting: deque[_Part[F]] = deque()
        self._held: dict[int, _Part[F]] = {}
        self._deaths = Deaths(self._shared.numbers)
        self._over = False
        self._stopped = False
        self._error: BrazeEtlError | None = None

    def __iter__(self) -> Iterator[tuple[tuple[F, ...], A | Killed]]:
        while not self._over or self._parts:
            if self._inspector.should_stop() and not self._stopped:
                self._stop()
            self._hand_out()
            if self._held and self._inspector.gives_up():
                self._shared().kill()
                return
            if self._held or self._waiting:
                self._receive()
            yield from self._given()
        if self._error is not None:
            raise self._error

    def _hand_out(self) -> None:
        while (part := self._next()) is not None:
            if not self._shared().submit(part.inspection):
                self._waiting.appendleft(part)
                return
            self._held[part.inspection.number] = part

    def _next(self) -> _Part[F] | None:
        if self._waiting:
            return self._waiting.popleft()
        if self._over or (self._parts and len(self._parts) >= _AHEAD * self._shared().processes):
            return None
        try:
            files = next(self._pieces, None)
        except StoreError as error:
            self._end(error)
            return None
        if files is None:
            self._over = True
            return None
        part = _Part[F](Inspection(next(self._shared.numbers), files, self._question))
        self._parts.append(part)
        return part

    def _given(self) -> Iterator[tuple[tuple[F, ...], A | Killed]]:
        while self._parts and self._parts[0].is_over:
            part = self._parts.popleft()
            if not part.dropped:
                yield part.inspection.files, part.answer

    def _receive(self) -> None:
        for event in list(self._shared().poll(_POLL)):
            if isinstance(event, Findings):
                self._deaths.in_a_row = 0
                self._take(self._held.pop(event.task), event)
            elif isinstance(event, WorkerDied):
                self._on_death(event, [self._held.pop(work.number) for work in event.tasks])

    def _take(self, part: _Part[F], findings: Findings) -> None:
        part.answer, part.dropped = findings.answer, findings.answer is None
        if part.dropped and not self._stopped:
            self._end(findings.fatal or AbandonedError("a worker has stopped before it had an answer"))

    def _on_death(self, event: WorkerDied, parts: list[_Part[F]]) -> None:
        after = self._deaths.after(event, [part.inspection for part in parts])
        for part, (inspection, again) in zip(parts, after, strict=True):
            if not again:
                part.answer = Killed(killed_by(inspection, event))
                continue
            part.dropped = True
            if self._is_ending:
                continue
            halves, at = [_Part[F](each) for each in again], self._parts.index(part)
            for half in reversed(halves):
                self._parts.insert(at, half)
            self._waiting.extendleft(reversed(halves))

    @property
    def _is_ending(self) -> bool:
        return self._stopped or self._error is not None

    def _stop(self) -> None:
        """Have workers stop, and wait for no answer but those that are there."""
        self._stopped = self._over = True
        self._drop_waiting()
        if self._held:
            self._shared().stop()

    def _end(self, error: BrazeEtlError) -> None:
        """Begin nothing more: what is under way is still answered."""
        self._error = self._error or error
        self._over = True
        self._drop_waiting()

    def _drop_waiting(self) -> None:
        for part in self._waiting:
            part.dropped = True
        self._waiting.clear()


def pieces(files: Iterable[F]) -> Iterator[tuple[F, ...]]:
    """Cut files into pieces of about `INSPECTION_BYTES`, or at most `MAX_FILES` files.

    Where *files* break off with a `StoreError`, what came before is given first.
    """
    piece, size = list[F](), 0
    broken: StoreError | None = None
    try:
        for file in files:
            weight = file.weight
            if piece and (size + weight > INSPECTION_BYTES or len(piece) >= MAX_FILES):
                yield tuple(piece)
                piece, size = [], 0
            piece.append(file)
            size += weight
    except StoreError as error:
        broken = error
    if piece:
        yield tuple(piece)
    if broken is not None:
        raise broken
