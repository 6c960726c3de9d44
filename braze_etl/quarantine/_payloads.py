"""Payloads: the records of entries, kept apart from these and not for longer than their time to live.

An object `payloads/2026-10-01/<digest of the ids>-<payloads>.jsonl` has a line for each, its id in front. The
day is that of the entries; it tells what has expired without a look inside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from itertools import islice
from typing import Final

import orjson

from braze_etl.model import Record
from braze_etl.quarantine._segments import content
from braze_etl.quarantine.erasure import Found
from braze_etl.storage import Store

FOLDER: Final = "payloads/"
OBJECT_PAYLOADS: Final = 2_000
_NAME: Final = re.compile(r"(?P<day>\d{4}-\d{2}-\d{2})/[0-9a-f]{16}-\d+\.jsonl")
_ID: Final = slice(len(b'{"id":"'), len(b'{"id":"') + 16)


@dataclass(frozen=True, slots=True)
class _Object:
    key: str
    day: date


class Payloads:
    """The payloads below *prefix*, each a Currents record as JSON; NaN and infinities become null."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = f"{prefix}{FOLDER}"

    def write(self, day: date, records: Mapping[str, Record]) -> None:
        """Store records by the id of their entry; the same ones of a day always become the same objects."""
        rest = iter(sorted(records.items()))
        while part := list(islice(rest, OBJECT_PAYLOADS)):
            self._put(day, [orjson.dumps({"id": id_, "record": record}) for id_, record in part])

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

    def _keep(self, each: _Object, lines: Sequence[bytes], stay: Sequence[bytes]) -> None:
        """Leave these of its lines in an object."""
        if len(stay) == len(lines):
            return
        if stay:
            self._put(each.day, stay)
        self._store.delete([each.key])

    def _objects(self, days: Collection[date] | None = None) -> Iterator[_Object]:
        for page in self._store.pages(self._prefix):
            for stored in page.objects:
                match = _NAME.fullmatch(stored.key, len(self._prefix))
                day = date.fromisoformat(match["day"]) if match else None
                if day is not None and (days is None or day in days):
                    yield _Object(stored.key, day)

    def _lines(self, each: _Object) -> list[bytes]:
        return content(self._store, each.key).splitlines()

    def _put(self, day: date, lines: Collection[bytes]) -> None:
        digest = blake2b(b"".join(line[_ID] for line in lines), digest_size=8).hexdigest()
        key = f"{self._prefix}{day.isoformat()}/{digest}-{len(lines)}.jsonl"
        self._store.put(key, b"".join(line + b"\n" for line in lines))


def _id(line: bytes) -> str:
    return line[_ID].decode("ascii", "replace")
