"""What is expected: the events of files that were delivered, as the flow's own reader makes them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias, cast
from zlib import crc32

from braze_etl.engine.due import DueFile, Place
from braze_etl.engine.flow import WorkerParts
from braze_etl.engine.worker import Life
from braze_etl.errors import FileError, SourceGoneError
from braze_etl.flows.currents_to_amplitude.verification.comparison import Cutter
from braze_etl.model import Damage, Event, FileRef, Verdict

if TYPE_CHECKING:
    from braze_etl.flows.currents_to_amplitude.reader import EventReader

ERASED_NOTE: Final = "erased"
"""The note of the persons who were removed: `ids` are their marks."""
_QUARTER: Final = 900_000
_AT_ONCE: Final = 5_000
_PART: Final = 2_000


class NotComparable(StrEnum):
    """Why nothing is expected of a file that was delivered, though events of it were sent."""

    OTHER_MAPPING = "other_mapping"
    PRUNED = "pruned"
    CHANGED = "changed"
    ARCHIVED = "archived"
    SOURCE_GONE = "source_gone"
    UNREADABLE = "unreadable"
    BOOKS_DIFFER = "books_differ"


WORDS: Final = {
    NotComparable.OTHER_MAPPING: "they were judged by another mapping than the one in force; "
    "`backfill --changed-only` sends what that one lets through, and judges them anew",
    NotComparable.PRUNED: "they are older than `state.keep`, and what was sent of them is no longer known",
    NotComparable.CHANGED: "the source holds another content than was sent",
    NotComparable.ARCHIVED: "they are archived, and have to be restored before they can be read",
    NotComparable.SOURCE_GONE: "they are no longer in the source",
    NotComparable.UNREADABLE: "they can't be read",
    NotComparable.BOOKS_DIFFER: "more of their records would be sent today than were accepted, as after a "
    "change of people's lists",
}

Unsent: TypeAlias = frozenset[Place]
"""Records of a file that were not accepted; without a record, a stretch of it."""
_NOTHING: Final[Unsent] = frozenset()


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file of which events are expected: `accepted` by its books, none of the `unsent`.

    Nor are those from `held_from` on, which the budget held.
    """

    number: int
    ref: FileRef
    accepted: int
    held_from: tuple[int, int] | None = None
    unsent: Unsent = _NOTHING
    whole: bool = True

    @property
    def weight(self) -> int:
        """Bytes to be read, and those of the answer, which are up to three times as many."""
        return 4 * self.ref.size

    def was_sent(self, place: tuple[int, int]) -> bool:
        """Whether what became an event at that place was accepted."""
        held = self.held_from is not None and place >= self.held_from
        return not held and self.unsent.isdisjoint((place, (place[0], None)))


def mark_of(salt: str, person: str) -> str:
    """What is kept of whoever was erased: half of a hash under the project's salt."""
    return hashlib.sha256(f"{salt}{person}".encode()).hexdigest()[:32]


@dataclass(slots=True)
class Expectation:
    """The expected events of some files, as rows of `comparison.Expected`, and files that tell none."""

    pieces: defaultdict[int, bytes] = field(default_factory=lambda: defaultdict(bytes))
    not_comparable: dict[int, NotComparable] = field(default_factory=dict)

    def take(self, cutter: Cutter) -> None:
        """Take over what waits there."""
        for number, lines in cutter.take().items():
            self.pieces[number] += lines


@dataclass(frozen=True, slots=True)
class ExpectedEvents:
    """The question to a worker, which events of these files are expected."""

    erased: frozenset[str] = frozenset()

    def __call__(self, files: Sequence[SentFile], parts: WorkerParts, life: Life) -> Expectation:
        """Read them to their ends; events of those whom *erased* marks are left out."""
        expectation, cutter = Expectation(), Cutter()
        for file in files:
            events = 0
            try:
                for place, event in _events(file, parts, life):
                    events += 1
                    if not (self.erased and self._erased(event, parts)):
                        _add(cutter, file, place, event)
                    if cutter.waiting == _AT_ONCE:
                        expectation.take(cutter)
            except SourceGoneError:
                expectation.not_comparable[file.number] = NotComparable.SOURCE_GONE
            except FileError:
                expectation.not_comparable[file.number] = NotComparable.UNREADABLE
            if events > file.accepted:
                expectation.not_comparable[file.number] = NotComparable.BOOKS_DIFFER
        expectation.take(cutter)
        return expectation

    def _erased(self, event: Event, parts: WorkerParts) -> bool:
        ids = (event.get("user_id"), event.get("device_id"))
        salt = cast("EventReader", parts.reader).mapping.options.privacy.salt.get_secret_value()
        return any(mark_of(salt, each) in self.erased for each in ids if each)


def _events(file: SentFile, parts: WorkerParts, life: Life) -> Iterator[tuple[tuple[int, int], Event]]:
    for block in parts.reader.blocks(DueFile(file.ref), parts.store):
        life.step()
        if isinstance(block, Damage):
            continue
        for record, outcome in enumerate(block.outcomes):
            if record % _PART == 0:
                life.step()
            if not isinstance(outcome, Verdict) and file.was_sent((block.offset, record)):
                yield (block.offset, record), outcome


def _add(cutter: Cutter, file: SentFile, place: tuple[int, int], event: Event) -> None:
    person = crc32((event.get("user_id") or event["device_id"]).encode())
    insert_id = event["insert_id"]
    row = (insert_id, file.number, *place, event["time"] // _QUARTER, person)
    cutter.add(insert_id, event["event_type"], row)
