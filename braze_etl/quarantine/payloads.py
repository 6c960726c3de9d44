"""Payloads: the records of entries, kept apart from these and not for longer than their time to live.

An object `payloads/2026-10-01/<digest of the ids>-<payloads>.jsonl` has a line for each, its id in front. The
day is that of the entries; it tells what has expired without a look inside.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import islice
from typing import Final, NamedTuple, Protocol

import orjson

from braze_etl.model import Record
from braze_etl.quarantine import segments
from braze_etl.quarantine.segments import Segment
from braze_etl.storage.store import Store

FOLDER: Final = "payloads/"
OBJECT_PAYLOADS: Final = 2_000
_ID: Final = slice(len(b'{"id":"'), len(b'{"id":"') + 16)


class Traces(Protocol):
    """By what a person is recognised."""

    def are_in(self, record: Record) -> bool:
        """Whether this record is theirs, or names them."""
        ...

    def blot_out(self, text: str) -> str:
        """The text without their name."""
        ...


class Found(NamedTuple):
    """How many things of one kind were looked at, and how many of them held the person."""

    looked_at: int
    found: int


class Payloads:
    """The payloads below *prefix*, each a Currents record as JSON; NaN and infinities become null."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = f"{prefix}{FOLDER}"

    def write(self, day: date, records: Mapping[str, Record]) -> None:
        """Store records by the id of their entry; the same ones of a day always become the same objects."""
        rest = iter(sorted(records.items()))
        while part := list(islice(rest, OBJECT_PAYLOADS)):
            self._put(day, [_line(id_, record) for id_, record in part])

    def find(self, ids: Collection[str], days: Collection[date]) -> dict[str, Record]:
        """Give the records of those of *ids* whose entries are of these days and that have one."""
        found: dict[str, Record] = {}
        for each in self._objects(days):
            for line in self._lines(each):
                if _id(line) in ids:
                    found[_id(line)] = orjson.loads(line)["record"]
        return found

    def remove(self, ids: Collection[str], days: Collection[date]) -> None:
        """Remove records; what breaks off in the middle is finished by the same call made again."""
        for each in list(self._objects(days)):
            lines = self._lines(each)
            self._keep(each, lines, [line for line in lines if _id(line) not in ids])

    def erase(self, is_theirs: Callable[[Record], bool], *, dry_run: bool) -> Found:
        """Remove the records for which *is_theirs* holds, of whatever day; broken off, as for `remove`."""
        looked_at = found = 0
        for each in list(self._objects()):
            lines = self._lines(each)
            stay = [line for line in lines if not is_theirs(orjson.loads(line)["record"])]
            looked_at, found = looked_at + len(lines), found + len(lines) - len(stay)
            if not dry_run:
                self._keep(each, lines, stay)
        return Found(looked_at, found)

    def expire(self, before: date) -> int:
        """Delete the payloads of all days before that one, and return how many objects that were."""
        keys = [each.key for each in self._objects() if each.day < before]
        if keys:
            self._store.delete(keys)
        return len(keys)

    def _keep(self, each: Segment, lines: Sequence[bytes], stay: Sequence[bytes]) -> None:
        """Leave these of its lines in an object."""
        if len(stay) == len(lines):
            return
        if stay:
            self._put(each.day, stay)
        self._store.delete([each.key])

    def _objects(self, days: Collection[date] | None = None) -> Iterator[Segment]:
        found = segments.listed(self._store, self._prefix)
        return (each for each in found if days is None or each.day in days)

    def _lines(self, each: Segment) -> list[bytes]:
        return segments.content(self._store, each.key).splitlines(keepends=True)

    def _put(self, day: date, lines: Iterable[bytes]) -> None:
        segments.put(self._store, self._prefix, day, {_id(line): line for line in lines})


def erase_words(
    store: Store, prefix: str, found_in: Iterable[Segment], traces: Traces, *, dry_run: bool
) -> Found:
    """Blot a person out of the details of entries; the entries stay, and so do their number and ids."""
    looked_at = found = 0
    for segment in found_in:
        entries = segments.read(store, segment)
        clean = [replace(entry, detail=traces.blot_out(entry.detail)) for entry in entries]
        changed = sum(before != after for before, after in zip(entries, clean, strict=True))
        looked_at, found = looked_at + len(entries), found + changed
        if changed and not dry_run:
            # The name comes of the ids: the old object is replaced, unless another release has named it.
            key = segments.write(store, prefix, segment.day, clean)
            store.delete([segment.key] if key != segment.key else [])
    return Found(looked_at, found)


def _line(id_: str, record: Record) -> bytes:
    return orjson.dumps({"id": id_, "record": record}, option=orjson.OPT_APPEND_NEWLINE)


def _id(line: bytes) -> str:
    return line[_ID].decode("ascii", "replace")
