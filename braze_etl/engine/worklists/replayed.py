"""A replay: due files out of the quarantine, and what becomes of their entries.

A pass files what is refused anew, then settles the ledger, and only then are the entries removed that are no
longer true. A crash in between leaves entries of records that are settled: to replay them again repeats
events, which Amplitude recognises for 7 days, and the books of their files come out the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Final, TypeAlias

from braze_etl.braze.currents.keys import parse_key
from braze_etl.clock import hour_of
from braze_etl.engine.due import DEDUPLICATED_FOR, WHOLE_FILE, DueFile, FromQuarantine, Place
from braze_etl.engine.tasks import Settlement
from braze_etl.logs import get_logger
from braze_etl.model import FileRef, FileSettlement, FileState, Position, Reason, Tally
from braze_etl.quarantine.entry import EVERYTHING, Entry, Selection, entry_id
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.state.ledger import KnownFile, Ledger, OpenFile

FileId: TypeAlias = tuple[str, str]
"""Key and etag: entries of a file that was replaced since are another matter than those of what it is now."""


@dataclass(slots=True)
class ChosenFile:
    """What is taken up of one file; `left` are the places of the same file that stay in the quarantine."""

    event_type: str
    reasons: dict[Place, set[Reason]] = field(default_factory=dict)
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

    def ref(self, id_: FileId) -> FileRef:
        """The file as far as its entries tell: they do not know its size."""
        key, etag = id_
        parsed, at = parse_key(key), min(self.filed.values())
        return FileRef(key, etag, 0, at, self.event_type, parsed.hour if parsed else hour_of(at))

    def from_quarantine(self) -> FromQuarantine:
        """What a worker has to know of it."""
        return FromQuarantine(
            reasons={place: tuple(sorted(reasons)) for place, reasons in self.reasons.items()},
            days=frozenset(at.astimezone(UTC).date() for at in self.filed.values()),
            still_failed=any(record is None for _, record in self.left),
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


class Replay:
    """Takes entries up once, under the lease of the ledger; `warnings` are for the run report."""

    def __init__(self, quarantine: Quarantine, where: Selection) -> None:
        self.warnings: Counter[str] = Counter()
        self._quarantine = quarantine
        self._where = where
        self._taken: dict[FileId, FromQuarantine] = {}
        self._in_ledger: set[FileId] = set()
        self._claimed: set[str] = set()
        self._untrue: set[str] = set()

    def due(self, ledger: Ledger, now: datetime) -> Iterator[DueFile]:
        """Give the files of the chosen entries, oldest hour first; `StoreError` from the quarantine."""
        chosen = choose(self._quarantine, self._where)
        self._warn_of_old(chosen, now)
        refs = sorted((file.ref(id_) for id_, file in chosen.items()), key=lambda ref: (ref.hour, ref.key))
        open_files = {file.ref.key: file for file in ledger.open_files()}
        rest = iter(refs)
        while chunk := list(islice(rest, _LOOKUP)):
            known = ledger.known(chunk)
            for ref in chunk:
                id_ = (ref.key, ref.etag)
                yield self._due(ref, chosen.pop(id_), known.get(ref.key), open_files.get(ref.key))

    def claim(self, settlement: Settlement) -> list[FileSettlement]:
        """Give what of a settlement the ledger is to be told, and note which entries it makes untrue.

        No row is invented for a file that the ledger does not have: a run would take it for done. Records
        that such a file leaves open stay in the quarantine, and the file counts as remaining.
        """
        self._claimed.clear()
        # A record that this pass had left open may have been refused after all, for its old reason.
        aside = {entry_id(each.position, each.reason) for each in settlement.set_aside}
        self._untrue -= aside
        told: list[FileSettlement] = []
        for number, file in enumerate(settlement.files):
            id_ = (file.ref.key, file.ref.etag)
            again = None if file.state is None else self._taken.pop(id_, None)
            if again is not None:
                settled = _settled_places(again, file, settlement, open_too=id_ in self._in_ledger)
                self._claimed |= _entry_ids(id_, again, settled)
            if id_ in self._in_ledger:
                told.append(file)
            elif file.state is FileState.OPEN:
                settlement.files[number] = replace(file, state=None)
        self._claimed -= aside
        return told

    def release(self) -> None:
        """The ledger was told: what was claimed last may be removed."""
        self._untrue |= self._claimed
        self._claimed.clear()
        if len(self._untrue) >= _REMOVED_AT_ONCE:
            self.finish()

    def finish(self) -> None:
        """Remove the entries that are no longer true."""
        if self._untrue:
            self._quarantine.remove(self._untrue)
            self._untrue.clear()

    def _due(
        self, ref: FileRef, chosen: ChosenFile, known: KnownFile | None, left_open: OpenFile | None
    ) -> DueFile:
        id_ = (ref.key, ref.etag)
        again = self._taken[id_] = chosen.from_quarantine()
        if known is None or known.etag != ref.etag:
            return DueFile(ref, again=again)
        self._in_ledger.add(id_)
        if WHOLE_FILE in again.reasons:
            return DueFile(ref, again=again)
        later = left_open.open if left_open is not None and left_open.ref.etag == ref.etag else ()
        carried = without(known.tally, taken=len(again.reasons), left=len(chosen.left))
        return DueFile(
            ref,
            later=later,
            carried=carried,
            again=again,
            mapping=known.mapping,
            held_from=known.held_from,
        )

    def _warn_of_old(self, chosen: Mapping[FileId, ChosenFile], now: datetime) -> None:
        old = sum(file.older_than(now - DEDUPLICATED_FOR) for file in chosen.values())
        if old:
            self.warnings[OLD] = old
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
    again: FromQuarantine, file: FileSettlement, settlement: Settlement, *, open_too: bool
) -> Iterator[Place]:
    """The places whose fate does not depend on their entries any more."""
    id_ = (file.ref.key, file.ref.etag)
    stay: set[Place] = {(each.block, each.record) for each in settlement.kept if (each.key, each.etag) == id_}
    if not open_too:
        stay.update(
            (block, record)
            for part in file.open
            for block, records in part.blocks.items()
            for record in records
        )
    return (place for place in again.reasons if place not in stay)


def _entry_ids(id_: FileId, again: FromQuarantine, places: Iterable[Place]) -> set[str]:
    return {entry_id(Position(*id_, *place), reason) for place in places for reason in again.reasons[place]}
