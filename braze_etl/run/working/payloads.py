"""Payloads in a worker: records read again to be kept, and kept ones where their source is gone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from braze_etl.clock import Clock
from braze_etl.compile import read_records
from braze_etl.errors import FileError, StoreError
from braze_etl.model import FileRef, Position, Record, SetAside
from braze_etl.quarantine import Quarantine, entry_id
from braze_etl.run.finding.due import DueFile, Place
from braze_etl.storage import Store


class Payloads:
    """Fetches records of the quarantine; with *keep*, what is set aside gets its payload."""

    def __init__(self, store: Store, quarantine: Quarantine, clock: Clock, *, keep: bool) -> None:
        self._store = store
        self._quarantine = quarantine
        self._clock = clock
        self._keep = keep

    def stored(self, due: DueFile, places: Iterable[Place]) -> dict[tuple[int, int], Record]:
        """The kept records of *due* at these places; empty where a replay is not at work."""
        if due.again is None:
            return {}
        ids = {
            entry_id(_position(due.ref, block, record), reason): (block, record)
            for block, record in places
            if record is not None
            for reason in due.again.reasons.get((block, record), ())
        }
        kept = self._quarantine.payloads(ids, due.again.days, self._clock.now()) if ids else {}
        return {ids[id_]: record for id_, record in kept.items()}

    def attach(self, set_aside: Sequence[SetAside], files: Sequence[DueFile]) -> list[SetAside]:
        """Add the payloads that can be had; each wanted block is read again, for these are few."""
        if not self._keep:
            return list(set_aside)
        places: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for each in set_aside:
            if each.position.record is not None:
                places[each.position.key].append((each.position.block, each.position.record))
        found = {
            _position(due.ref, *place): record
            for due in files
            if due.ref.key in places
            for place, record in self._records(due, places[due.ref.key]).items()
        }
        return [replace(each, payload=found.get(each.position)) for each in set_aside]

    def _records(self, due: DueFile, places: Collection[tuple[int, int]]) -> dict[tuple[int, int], Record]:
        # An outcome must not be lost for want of its payload: what can't be had is left out.
        with suppress(FileError, StoreError):
            return read_records(self._store, due.ref, _by_block(places))
        with suppress(StoreError):
            return self.stored(due, places)
        return {}


def _position(ref: FileRef, block: int, record: int) -> Position:
    return Position(ref.key, ref.etag, block, record)


def _by_block(places: Iterable[tuple[int, int]]) -> dict[int, set[int]]:
    blocks: defaultdict[int, set[int]] = defaultdict(set)
    for block, record in places:
        blocks[block].add(record)
    return blocks
