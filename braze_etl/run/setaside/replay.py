"""A replay: due files out of the quarantine, and what becomes of their entries.

A pass files what is refused anew, then settles the ledger, and only then are the entries removed that are no
longer true. A crash in between leaves entries of records that are settled: to replay them again repeats
events, which Amplitude recognises for 7 days, and the books of their files come out the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Final

from braze_etl.checkpoint import KnownFile, Ledger, OpenFile
from braze_etl.model import FileRef, FileSettlement, FileState, Position, Tally
from braze_etl.quarantine import Quarantine, Selection, entry_id
from braze_etl.run.finding.due import DEDUPLICATED_FOR, WHOLE_FILE, DueFile, FromQuarantine, Place
from braze_etl.run.setaside.choosing import ChosenFile, FileId, choose
from braze_etl.run.working.tasks import Settlement
from braze_etl.telemetry import get_logger

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
