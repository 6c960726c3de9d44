"""One record of the source: at its position, or by its `insert_id` in the files of some hours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, TypeAlias

from braze_etl.braze.currents.container import AvroFile, Block
from braze_etl.braze.currents.keys import parse_key
from braze_etl.braze.currents.records import DamagedBlock, RecordReader
from braze_etl.braze.currents.settings import Source
from braze_etl.clock import Clock, hour_of, iso
from braze_etl.errors import BrazeEtlError, FileError, SourceGoneError, UsageError
from braze_etl.flows.currents_to_amplitude.reader import RangedFile
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.currents_to_amplitude.source import Scope, listing, open_source, open_source_ahead
from braze_etl.model import Damage, FileRef, Reason, Record, Verdict
from braze_etl.storage.store import Store

_AHEAD: Final = 500
"""Files of a listing that are announced together, to be fetched before they are read."""
_PLACE: Final = re.compile(r"(?P<key>.+)#(?P<block>[0-9]{1,18})#(?P<record>[0-9]{1,18})", re.DOTALL)


class RecordNotFoundError(BrazeEtlError):
    """There is no such record where it was looked for."""


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """A record's position as people write it: `KEY#BLOCK#RECORD`, the last two in decimal digits."""

    key: str
    block: int
    record: int

    @classmethod
    def parse(cls, text: str) -> RecordPlace | None:
        """Read a position; None where *text* is none, and so may be an `insert_id`."""
        found = _PLACE.fullmatch(text)
        return cls(found["key"], int(found["block"]), int(found["record"])) if found else None

    def __str__(self) -> str:
        return f"{self.key}#{self.block}#{self.record}"


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """A record that lies in `ref`, and what it holds; a verdict where nobody can read it."""

    ref: FileRef
    place: RecordPlace
    content: Record | Verdict


@dataclass(slots=True)
class Searched:
    """Where an `insert_id` was looked for: whole files of the hours from `since` on, before `until`.

    `unread` files could not be read at all; `damaged` counts stretches of the others.
    """

    since: datetime | None = None
    until: datetime | None = None
    files: int = 0
    bytes: int = 0
    unread: int = 0
    damaged: int = 0

    def __str__(self) -> str:
        hours = (
            f" of the hours from {iso(self.since)} to before {iso(self.until)}"
            if self.since and self.until
            else ""
        )
        left = f"; {self.unread:,} of them could not be read" if self.unread else ""
        damaged = f"; {self.damaged:,} stretches of them are damaged" if self.damaged else ""
        return f"{self.files:,} files{hours}, {self.bytes / 1e6:,.1f} MB{left}{damaged}"


RECENT: Final = timedelta(hours=48)
"""Which `date=` hours are searched where nothing else is said."""
Watch: TypeAlias = Callable[[Searched], None]
"""Is told after each file that was read in vain."""


def find_record(
    settings: Settings,
    id_: str,
    scope: Scope | None,
    *,
    file: str | None,
    clock: Clock,
    watch: Watch = lambda _: None,
) -> FoundRecord:
    """Find a record by its position, or by its `insert_id` in *file* or in the files of *scope*.

    Without both, in those of the last 48 hours. `RecordNotFoundError` says where it was looked for.
    """
    place = RecordPlace.parse(id_)
    if place is not None:
        return record_at(settings.source, place)
    searched, now = Searched(), clock.now()
    if file is not None:
        ref = file_of(settings.source, file)
        files: Iterable[FileRef] = [] if ref is None else [ref]
    else:
        scope = scope or Scope(hour_of(now - RECENT))
        searched.since, searched.until = scope.since, scope.until or hour_of(now) + timedelta(hours=1)
        files = listing(settings.source, scope, now)
    found = _search(settings.source, id_, files, searched, watch)
    if found is None:
        raise RecordNotFoundError(
            f"no record with the insert_id {id_!r} is in what was searched: {searched}",
            remedy="Search other hours with --from and --to, or one file with --file; a position "
            "KEY#BLOCK#RECORD needs no search.",
        )
    return found


def file_of(source: Source, key: str) -> FileRef | None:
    """Look a file up by its key; None where the source has none of that name.

    `UsageError` where *key* is no key of Currents.
    """
    parsed = parse_key(key)
    if parsed is None:
        raise UsageError(
            f"{key!r} is no key of a Currents file",
            remedy="Give the whole key in S3, or the path below the folder of source.uri.",
        )
    store, _ = open_source(source)
    for page in store.pages(key):
        for item in page.objects:
            if item.key == key:
                return FileRef(
                    key, item.etag, item.size, item.modified, parsed.event_type, parsed.hour, item.archived
                )
    return None


def record_at(source: Source, place: RecordPlace) -> FoundRecord:
    """Read the record at *place*; `RecordNotFoundError` where its block has no record of that number."""
    ref = file_of(source, place.key)
    if ref is None:
        return FoundRecord(_gone(place.key), place, Verdict(Reason.SOURCE_GONE, "it is not in the source"))
    store, _ = open_source(source)
    try:
        file = RangedFile(store, ref)
        block = file.block(place.block)
        content = block if isinstance(block, Damage) else _record(file, block, place)
    except FileError as error:
        return FoundRecord(ref, place, _unread(error))
    if isinstance(content, Damage):
        content = Verdict(Reason.DAMAGED_BLOCK, content.detail)
    return FoundRecord(ref, place, content)


def _record(file: RangedFile, block: Block, place: RecordPlace) -> Record | Verdict:
    records = list(RecordReader(file.header.schema_json).decode(block))
    if place.record < len(records):
        return records[place.record]
    raise RecordNotFoundError(
        f"the block at byte {place.block} of {place.key} has {len(records):,} records: there is none of the "
        f"number {place.record}, for the first one is 0",
        remedy="Correct the last number of the position.",
    )


def _search(
    source: Source, insert_id: str, files: Iterable[FileRef], searched: Searched, watch: Watch
) -> FoundRecord | None:
    """Read *files* in their order up to the first record with that id.

    One process will do: an inflated block that does not hold the id as bytes is not decoded.
    """
    rest = iter(files)
    with closing(open_source_ahead(source)) as store:
        while chunk := list(islice(rest, _AHEAD)):
            store.expect(chunk)
            for ref in chunk:
                searched.files += 1
                searched.bytes += ref.size
                try:
                    found = _search_file(store, ref, insert_id, searched)
                except FileError:
                    searched.unread += 1
                    found = None
                if found is not None:
                    return found
                watch(searched)
    return None


def _search_file(store: Store, ref: FileRef, insert_id: str, searched: Searched) -> FoundRecord | None:
    wanted = insert_id.encode()
    with closing(store.open(ref.key, etag=ref.etag, size=ref.size or None)) as stream:
        file = AvroFile(stream, ref.size or None, name=ref.key)
        for block in file.blocks():
            if isinstance(block, Damage):
                searched.damaged += 1
            elif wanted in block.payload:
                try:
                    found = _search_block(file, block, insert_id)
                except DamagedBlock:
                    searched.damaged += 1
                    continue
                if found is not None:
                    number, record = found
                    return FoundRecord(ref, RecordPlace(ref.key, block.offset, number), record)
    return None


def _search_block(file: AvroFile, block: Block, insert_id: str) -> tuple[int, Record] | None:
    for number, record in enumerate(RecordReader(file.schema_json).decode(block)):
        if isinstance(record, dict) and record.get("id") == insert_id:
            return number, record
    return None


def _unread(error: FileError) -> Verdict:
    is_gone = isinstance(error, SourceGoneError)
    return Verdict(Reason.SOURCE_GONE if is_gone else Reason.UNREADABLE_FILE, error.message)


def _gone(key: str) -> FileRef:
    parsed = parse_key(key)
    assert parsed is not None
    return FileRef(key, "", 0, parsed.hour, parsed.event_type, parsed.hour)
