"""A replay: due files out of the quarantine, and what becomes of their entries.

A run files what is refused anew, then settles the ledger, and only then are the entries removed that are no
longer true. A crash in between leaves entries of records that are settled: to replay them again repeats
events, which Amplitude recognises for 7 days, and the books of their files come out the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Final, TypeAlias

from braze_etl.clock import hour_of
from braze_etl.engine.due import DEDUPLICATED_FOR, WHOLE_FILE, DueFile, Origin, Place, Wanted
from braze_etl.engine.flow import Found, ShouldStop, WorkList
from braze_etl.engine.tasks import Settlement
from braze_etl.logs import get_logger
from braze_etl.model import FileRef, FileSettlement, FileState, Position, Reason, Tally
from braze_etl.quarantine.entry import EVERYTHING, Entry, Selection, entry_id
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.state.ledger import KnownFile, Ledger, OpenFile

FileId: TypeAlias = tuple[str, str]
"""Key and etag: entries of a file that was replaced since are another matter than those of what it is now."""
Reasons: TypeAlias = dict[Place, set[Reason]]
"""What each place of a file was set aside for."""


@dataclass(slots=True)
class ChosenFile:
    """What is taken up of one file; `left` are the places of the same file that stay in the quarantine."""

    event_type: str
    reasons: Reasons = field(default_factory=dict)
    filed: dict[Place, datetime] = field(default_factory=dict)
    left: set[Place] = field(default_factory=set)

    def take(self, entry: Entry) -> None:
        """Take this entry up."""
        place = _place(entry)
        self.reasons.setdefault(place, set()).add(entry.reason)
        self.filed[place] = min(entry.at, self.filed.get(place, entry.at))

    def consider(self, entry: Entry) -> None:
        """Take it up too if its fate is settled with the others': the whole file is read, or this place."""
        if WHOLE_FILE in self.reasons or _place(entry) in self.reasons:
            self.take(entry)
        else:
            self.left.add(_place(entry))

    def older_than(self, moment: datetime) -> int:
        """Count the places that were set aside before then."""
        return sum(at < moment for at in self.filed.values())

    @property
    def still_failed(self) -> bool:
        """Whether parts of the file that could not be read stay in the quarantine."""
        return any(record is None for _, record in self.left)

    def wanted(self) -> tuple[Wanted, ...]:
        """What a worker has to know of it."""
        days = frozenset(at.astimezone(UTC).date() for at in self.filed.values())
        parts: dict[tuple[Reason, ...], dict[int, list[int | None]]] = {}
        for (block, record), reasons in self.reasons.items():
            parts.setdefault(tuple(sorted(reasons)), {}).setdefault(block, []).append(record)
        return tuple(
            Wanted({block: tuple(records) for block, records in blocks.items()}, reasons, days=days)
            for reasons, blocks in parts.items()
        )


def choose(quarantine: Quarantine, where: Selection) -> dict[FileId, ChosenFile]:
    """Group the entries that *where* means, and those whose fate is settled with them."""
    chosen: dict[FileId, ChosenFile] = {}
    for entry in quarantine.entries(where):
        chosen.setdefault(_file(entry), ChosenFile(entry.event_type)).take(entry)
    if where != EVERYTHING:
        for entry in quarantine.entries():
            if _file(entry) in chosen:
                chosen[_file(entry)].consider(entry)
    return chosen


def _file(entry: Entry) -> FileId:
    return (entry.position.key, entry.position.etag)


def _place(entry: Entry) -> Place:
    return (entry.position.block, entry.position.record)


OLD: Final = "older_than_deduplication"
_OLD_WORDS = (
    "entries older than 7 days are replayed, and Amplitude recognises no repeat of what it took before that; "
    "single records were never accepted, so they count once; what may count twice is what was readable of a "
    "file that is replayed whole, and what this replay sends if it breaks off and is finished after 7 days"
)
_log = get_logger(__name__)
_LOOKUP = 1000
_REMOVED_AT_ONCE = 10_000
"""A removal reads the whole quarantine, so it is not made after every task."""


class Replayed(WorkList):
    """Takes entries of the quarantine up, once.

    *hour_of_key* reads the hour of a file from its key; None where there is none in it.
    """

    covers_all = False

    def __init__(
        self, quarantine: Quarantine, where: Selection, hour_of_key: Callable[[str], datetime | None]
    ) -> None:
        self._quarantine = quarantine
        self._where = where
        self._hour_of_key = hour_of_key
        self._chosen: dict[FileId, ChosenFile] | None = None
        self._warnings = Counter[str]()
        self._taken: dict[FileId, Reasons] = {}
        self._in_ledger: set[FileId] = set()
        self._claimed: set[str] = set()
        self._untrue: set[str] = set()

    def find(self, ledger: Ledger, now: datetime, stop: ShouldStop) -> Iterator[DueFile]:
        """Give the files of the chosen entries, oldest hour first; `StoreError` from the quarantine."""
        if self._chosen is None:
            self._chosen = choose(self._quarantine, self._where)
            self._warn_of_old(now)
        chosen = self._chosen
        refs = sorted((self._ref(id_, file) for id_, file in chosen.items()), key=lambda r: (r.hour, r.key))
        open_files = {file.ref.key: file for file in ledger.open_files()}
        rest = iter(refs)
        while not stop() and (chunk := list(islice(rest, _LOOKUP))):
            known = ledger.known(chunk)
            for ref in chunk:
                id_ = (ref.key, ref.etag)
                yield self._due(ref, chosen.pop(id_), known.get(ref.key), open_files.get(ref.key))

    def found(self) -> Found:
        """Warn of entries that Amplitude may count twice."""
        return Found(warnings=self._warnings)

    def claim(self, settlements: Sequence[Settlement]) -> list[FileSettlement]:
        """Give what the ledger is to be told of these, and note which entries that makes untrue.

        No row is invented for a file that the ledger does not have, or has pruned: a run would take it for
        done as these entries name it. Records that such a file leaves open stay in the quarantine, and the
        file counts as remaining.
        """
        self._claimed.clear()
        told: list[FileSettlement] = []
        for settlement in settlements:
            for number, file in enumerate(settlement.files):
                self._claim_entries(settlement, file)
                if _id(file.ref) in self._in_ledger:
                    told.append(file)
                elif file.state is FileState.OPEN:
                    settlement.files[number] = replace(file, state=None)
            self._claimed -= {entry_id(each.position, each.reason) for each in settlement.set_aside}
        return told

    def replaces(self, files: Sequence[FileSettlement]) -> Sequence[FileSettlement]:  # noqa: ARG002
        """None: one that is done may not be whole, and entries for earlier bytes may be taken up as well."""
        return ()

    def settled(self) -> None:
        """What was claimed last may be removed."""
        self._untrue |= self._claimed
        self._claimed.clear()
        if len(self._untrue) >= _REMOVED_AT_ONCE:
            self._remove()

    def finish(self, *, in_order: bool) -> None:  # noqa: ARG002
        """Remove the entries that are no longer true, however the run has ended."""
        self._remove()

    def _remove(self) -> None:
        if self._untrue:
            self._quarantine.remove(self._untrue)
            self._untrue.clear()

    def _claim_entries(self, settlement: Settlement, file: FileSettlement) -> None:
        id_ = _id(file.ref)
        taken = None if file.state is None else self._taken.pop(id_, None)
        if taken is not None:
            settled = _settled_places(taken, file, settlement, open_too=id_ in self._in_ledger)
            self._claimed |= {
                entry_id(Position(*id_, *place), reason) for place in settled for reason in taken[place]
            }

    def _ref(self, id_: FileId, chosen: ChosenFile) -> FileRef:
        """The file as far as its entries tell: they do not know its size."""
        (key, etag), at = id_, min(chosen.filed.values())
        return FileRef(key, etag, 0, at, chosen.event_type, self._hour_of_key(key) or hour_of(at))

    def _due(
        self, ref: FileRef, chosen: ChosenFile, known: KnownFile | None, left_open: OpenFile | None
    ) -> DueFile:
        id_ = _id(ref)
        self._taken[id_] = chosen.reasons
        due = DueFile(ref, Origin.QUARANTINED, chosen.wanted(), still_failed=chosen.still_failed)
        if known is None or known.pruned or known.etag != ref.etag:
            return due
        self._in_ledger.add(id_)
        if due.whole:
            return due
        return replace(
            due,
            later=left_open.open if left_open is not None and left_open.ref.etag == ref.etag else (),
            carried=without(known.tally, taken=len(chosen.reasons), left=len(chosen.left)),
            mapping=known.mapping,
            held_from=known.held_from,
        )

    def _warn_of_old(self, now: datetime) -> None:
        chosen = self._chosen or {}
        old = sum(file.older_than(now - DEDUPLICATED_FOR) for file in chosen.values())
        if old:
            self._warnings[OLD] = old
            _log.warning(_OLD_WORDS, records=old)


def without(tally: Tally, *, taken: int, left: int) -> Tally:
    """The books of a file without the *taken* places that a replay takes up, while *left* stay set aside.

    A replay that broke off may have moved some in the books before their entries were removed: as many as
    there are more entries than quarantined records. The sum of the books is the same again in the end.
    """
    moved = min(taken, max(0, taken + left - tally.quarantined))
    from_accepted = min(moved, tally.accepted)
    return Tally(
        accepted=tally.accepted - from_accepted,
        filtered=max(0, tally.filtered - (moved - from_accepted)),
        quarantined=max(0, tally.quarantined - (taken - moved)),
    )


def _settled_places(
    taken: Reasons, file: FileSettlement, settlement: Settlement, *, open_too: bool
) -> Iterator[Place]:
    """The places whose fate does not depend on their entries any more."""
    id_ = _id(file.ref)
    stay: set[Place] = {(each.block, each.record) for each in settlement.kept if (each.key, each.etag) == id_}
    if not open_too:
        stay.update(
            (block, record)
            for part in file.open
            for block, records in part.blocks.items()
            for record in records
        )
    return (place for place in taken if place not in stay)


def _id(ref: FileRef) -> FileId:
    return (ref.key, ref.etag)
