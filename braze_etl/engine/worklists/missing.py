"""What a verification did not find at the destination: records that were accepted, and are sent once more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

from braze_etl.clock import iso
from braze_etl.engine.due import DueFile, Origin, Wanted
from braze_etl.engine.flow import Found, ShouldStop, WorkList
from braze_etl.engine.tasks import Settlement
from braze_etl.model import FileRef, FileSettlement, FileState, Tally
from braze_etl.state.ledger import KnownFile, Ledger, OpenFile

_LOOKUP: Final = 500
_NOTE: Final = "repairs"
_REMEMBERED: Final = 50
_LONGEST: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class MissingRecords:
    """Records of a file, by block offset, that are not there; that run had settled it when this was found."""

    ref: FileRef
    run_id: str
    blocks: Mapping[int, tuple[int, ...]]

    @property
    def count(self) -> int:
        """How many records are missing."""
        return sum(map(len, self.blocks.values()))


class Missing(WorkList):
    """The *files* of a verification, oldest hour first, with what is missing of each; for the run of that id.

    A file that another run has settled since is left alone. The books of a file stay as they are, and so do
    the times at which it was sent first: those of the repair are remembered by themselves (`repairs`).
    """

    covers_all = False

    def __init__(self, files: Iterable[MissingRecords], run_id: str) -> None:
        self._run_id = run_id
        self._files = iter(files)
        self._records = 0
        self._ledger: Ledger | None = None
        self._hours: list[datetime] = []
        self._sent: list[datetime] = []

    def find(self, ledger: Ledger, now: datetime, stop: ShouldStop) -> Iterator[DueFile]:
        """Ask the ledger for files as they are needed."""
        while not stop() and (chunk := list(islice(self._files, _LOOKUP))):
            known = ledger.known([file.ref for file in chunk])
            left_open: dict[str, OpenFile] = {}
            if any(each.state is FileState.OPEN for each in known.values()):
                left_open = {file.ref.key: file for file in ledger.open_files() if file.ref.key in known}
            for file in chunk:
                of_file = known.get(file.ref.key)
                if of_file is None or (of_file.etag, of_file.run_id) != (file.ref.etag, file.run_id):
                    continue
                self._hours = [*self._hours[:1], file.ref.hour]
                self._records += file.count
                if self._ledger is None:
                    self._ledger, self._sent = ledger, [now]
                    self._note(over=False)
                yield _due(file, of_file, left_open.get(file.ref.key))

    def found(self) -> Found:
        """How many records are sent."""
        return Found(records=self._records)

    def claim(self, settlements: Sequence[Settlement]) -> list[FileSettlement]:
        """Give the files without the times of their repair."""
        files = super().claim(settlements)
        self._sent += [file.sent_to for file in files if file.sent_to is not None]
        return [replace(file, sent_from=None, sent_to=None) for file in files]

    def finish(self, *, in_order: bool) -> None:  # noqa: ARG002
        """Remember when it was over."""
        self._note(over=True)

    def _note(self, *, over: bool) -> None:
        if self._ledger is None:
            return
        before = [each for each in _notes(self._ledger) if each["run"] != self._run_id]
        this = {
            "run": self._run_id,
            "first": iso(self._hours[0]),
            "last": iso(self._hours[-1]),
            "began": iso(self._sent[0]),
            "ended": iso(max(self._sent)) if over else None,
        }
        self._ledger.put_note(_NOTE, {"repairs": [*before, this][-_REMEMBERED:]})


def _notes(ledger: Ledger) -> list[dict[str, Any]]:
    notes: list[dict[str, Any]] = ledger.get_note(_NOTE).get("repairs", [])
    return notes


def _due(file: MissingRecords, known: KnownFile, left_open: OpenFile | None) -> DueFile:
    books = known.tally
    return DueFile(
        file.ref,
        Origin.MISSING,
        (Wanted(file.blocks),),
        later=left_open.open if left_open is not None else (),
        carried=Tally(max(0, books.accepted - file.count), books.filtered, books.quarantined),
        still_failed=known.state is FileState.FAILED,
        mapping=known.mapping,
        held_from=known.held_from,
        mapping_if_held=known.mapping,
    )


@dataclass(frozen=True, slots=True)
class Repair:
    """A run that sent what was missing in files of the hours from `first` to `last`, and when it did.

    Of one that was killed the end is not known; it is taken to have lasted a day. Nor is the last hour, for
    while it is under way only the first is remembered.
    """

    run_id: str
    first: datetime
    last: datetime | None
    began: datetime
    ended: datetime

    def concerns(self, hour: datetime) -> bool:
        """Whether files of that hour may have been repaired."""
        return self.first <= hour and (self.last is None or hour <= self.last)


def repairs(ledger: Ledger) -> list[Repair]:
    """The last repairs that there were."""
    return [_repair(**each) for each in _notes(ledger)]


def _repair(run: str, first: str, last: str, began: str, ended: str | None) -> Repair:
    begin, is_over = datetime.fromisoformat(began), ended is not None
    return Repair(
        run,
        datetime.fromisoformat(first),
        datetime.fromisoformat(last) if is_over else None,
        begin,
        datetime.fromisoformat(ended) if ended else begin + _LONGEST,
    )
