"""The store of what was set aside: filed once, listed, and removed when it was replayed or given up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import groupby, islice
from typing import Final

from braze_etl.errors import UsageError
from braze_etl.model import Reason, ReasonCounts, Record, SetAside
from braze_etl.quarantine import segments
from braze_etl.quarantine.entry import EVERYTHING, Entry, Selection, entry_id
from braze_etl.quarantine.payloads import Found, Payloads, Traces, erase_words
from braze_etl.quarantine.segments import DamagedSegmentError, Segment, SegmentGoneError, merge_small
from braze_etl.storage.store import Store

# About 110 MB of ids. Behind that many entries, one filed twice may be stored and counted twice.
IDS_REMEMBERED: Final = 1_000_000
PAYLOAD_TTL: Final = timedelta(days=30)
_UNREAD: Final = frozenset({Reason.DAMAGED_BLOCK, Reason.UNREADABLE_FILE, Reason.SOURCE_GONE})
"""Why bytes of a file were set aside, and not a record."""
_UNREAD_REMEMBERED: Final = 100_000
"""About 60 MB. Behind that many such entries, one may stay that could be closed."""
_ROOM: Final = 1 << 16
_BYTES_OF_AN_ENTRY: Final = 512
_DROPPED: Final = "dropped/"
_ID_PREFIX: Final = re.compile(r"[0-9a-f]{6,16}")


class Quarantine:
    """The entries below *prefix* in *store*; the prefix is empty or ends in `/`.

    A store of which nothing exists yet must list as empty (`open_store(..., must_exist=False)`). One process
    writes at a time: the holder of the ledger's lease. Every method raises `StoreError` when the store can't
    be used, or a segment is damaged.
    """

    def __init__(self, store: Store, prefix: str = "", *, payload_ttl: timedelta = PAYLOAD_TTL) -> None:
        self._store = store
        self._prefix = prefix
        self._payloads = Payloads(store, prefix)
        self._payload_ttl = payload_ttl
        self._filed: set[str] | None = None
        self._unread: dict[str, list[Entry]] = {}
        self._beside: list[str] = []

    def prepare(self, records: int) -> list[str]:
        """Find out, before anything is sent, whether what a run of so many records sets aside can be filed.

        A segment that is damaged is put beside, for a person to look at; returns the keys they have now.
        """
        room = _ROOM + _BYTES_OF_AN_ENTRY * min(records, segments.SEGMENT_ENTRIES)
        segments.check_access(self._store, self._prefix, room)
        self._filed, beside = self._ids_filed(), self._beside
        self._beside = []
        return beside

    def file(self, run_id: str, at: datetime, set_aside: Sequence[SetAside]) -> int:
        """Store what was set aside, and return how many of it were not there before.

        A put stores up to 10,000 new entries. `prepare`, or else the first call, reads the quarantine once,
        to know what is new, and merges the small objects of many calls. Payloads are stored where *set_aside*
        has them.
        """
        if not set_aside:
            return 0
        filed = self._ids_filed()
        entries = {entry.id: entry for entry in (Entry.of(each, run_id, at) for each in set_aside)}
        fresh = [entry for entry in entries.values() if entry.id not in filed]
        self._store_payloads(set_aside, {entry.id for entry in fresh}, at)
        for start in range(0, len(fresh), segments.SEGMENT_ENTRIES):
            part = fresh[start : start + segments.SEGMENT_ENTRIES]
            segments.write(self._store, self._prefix, _day(at), part)
            _remember(filed, (entry.id for entry in part))
        return len(fresh)

    def _store_payloads(self, set_aside: Sequence[SetAside], fresh: Collection[str], at: datetime) -> None:
        # Before the entries: one that is filed is not filed again, and its payload would be missing for good.
        payloads = {
            entry_id(each.position, each.reason): each.payload
            for each in set_aside
            if each.payload is not None
        }
        new = {id_: record for id_, record in payloads.items() if id_ in fresh}
        self._payloads.write(_day(at), new)

    def payload(self, entry: Entry, now: datetime) -> Record | None:
        """Give the record of an entry, if it was kept and has not expired."""
        if entry.at + self._payload_ttl <= now:
            return None
        return self._payloads.find([entry.id], [_day(entry.at)]).get(entry.id)

    def payloads(self, ids: Collection[str], days: Collection[date], now: datetime) -> dict[str, Record]:
        """Give the records that were kept of entries filed on these UTC days, and have not expired."""
        first = _day(now - self._payload_ttl)
        return self._payloads.find(frozenset(ids), {day for day in days if day > first})

    def expire_payloads(self, now: datetime) -> int:
        """Remove the payloads whose time to live is over; costs a listing. Returns how many objects went."""
        return self._payloads.expire(_day(now - self._payload_ttl))

    def entries(self, where: Selection = EVERYTHING) -> Iterator[Entry]:
        """Give the entries that are meant, each once, oldest day first; a segment at a time is in memory.

        Entries may be removed while this is read; those that stay come all the same.
        """
        seen: set[str] = set()
        for content in self._contents(where):
            chosen = [each for each in content if where.matches(each)]
            yield from (each for each in chosen if each.id not in seen)
            _remember(seen, (each.id for each in chosen))

    def get(self, id_: str) -> Entry:
        """Give the one entry whose id begins with these 6 or more digits; `UsageError` when it is not one."""
        return self._find([id_])[0]

    def resolve(self, ids: Collection[str]) -> frozenset[str]:
        """Give the whole ids for ids or beginnings of 6 or more digits; `UsageError` as for `get`."""
        return frozenset(entry.id for entry in self._find(ids))

    def counts(self) -> ReasonCounts:
        """Count the entries by event type and reason."""
        return Counter((entry.event_type, entry.reason) for entry in self.entries())

    def depth(self) -> int:
        """Count the entries from a listing alone; after a removal that broke off, some count twice."""
        return sum(segment.entries for segment in segments.listed(self._store, self._prefix))

    def remove(self, where: Selection | Iterable[str]) -> int:
        """Remove the entries that are meant (or have these whole ids), and return how many.

        What breaks off in the middle loses nothing else, and is finished by the same call made again.
        """
        selection = where if isinstance(where, Selection) else Selection(ids=frozenset(where))
        removed: set[str] = set()
        # Listed beforehand: what is rewritten here need not be read again.
        for segment in list(self._segments_of(selection)):
            removed.update(self._rewrite(segment, selection))
        if self._filed is not None:
            self._filed -= removed
        return len(removed)

    def drop(self, where: Selection) -> ReasonCounts:
        """Remove the entries that are meant for good, and count them; that they were there stays known."""
        counts: ReasonCounts = Counter()
        for day, of_day in groupby(self.entries(where), key=lambda entry: _day(entry.at)):
            while part := [replace(entry, detail="") for entry in islice(of_day, segments.SEGMENT_ENTRIES)]:
                segments.write(self._store, self._prefix + _DROPPED, day, part)
                counts.update((entry.event_type, entry.reason) for entry in part)
        if counts:
            self.remove(where)
        return counts

    def dropped(self) -> Iterator[Entry]:
        """Give the entries that were dropped, without their details: nobody expects their records."""
        for segment in segments.listed(self._store, self._prefix + _DROPPED):
            yield from segments.read(self._store, segment)

    def close(self, files: Collection[tuple[str, str]]) -> int:
        """Remove the entries for bytes that are replaced: those of other etags, of whole files (key, etag).

        It knows of those that `prepare` has read, and asks nothing of the store where none is meant. Returns
        how many were removed.
        """
        replaced = {
            entry.id: entry
            for key, etag in files
            for entry in self._unread.get(key, ())
            if entry.position.etag != etag
        }
        if not replaced:
            return 0
        times = [entry.at for entry in replaced.values()]
        where = Selection(ids=frozenset(replaced), since=min(times), until=max(times) + timedelta.resolution)
        removed = self.remove(where)
        for key, _ in files:
            self._unread.pop(key, None)
        return removed

    def erase(self, traces: Traces, *, dry_run: bool = False) -> tuple[Found, Found]:
        """Remove a person's records, and blot them out of the details of entries; what was found of each.

        Every entry stays, with its position: the books of its file hold, and it may be replayed as long as
        its source is there. What breaks off in the middle is finished by the same call made again.
        """
        records = self._payloads.erase(traces.are_in, dry_run=dry_run)
        listed = list(self._segments_of(EVERYTHING))
        return records, erase_words(self._store, self._prefix, listed, traces, dry_run=dry_run)

    def _rewrite(self, segment: Segment, without: Selection) -> list[str]:
        """Store what stays of a segment before the old one is deleted; both at once are read as one."""
        entries = segments.read(self._store, segment)
        gone = [entry.id for entry in entries if without.matches(entry)]
        if gone:
            # Payloads first: a removal that breaks off must not leave one without its entry.
            self._payloads.remove(frozenset(gone), [segment.day])
            stay = [entry for entry in entries if not without.matches(entry)]
            if stay:
                segments.write(self._store, self._prefix, segment.day, stay)
            self._store.delete([segment.key])
        return gone

    def _contents(self, where: Selection) -> Iterator[list[Entry]]:
        """Read each segment once; when one was rewritten meanwhile, look for what took its place."""
        done: set[str] = set()
        look_again = True
        while look_again:
            look_again = False
            for segment in [each for each in self._segments_of(where) if each.key not in done]:
                done.add(segment.key)
                try:
                    content = segments.read(self._store, segment)
                except SegmentGoneError:
                    look_again = True
                else:
                    yield content

    def _segments_of(self, where: Selection) -> Iterator[Segment]:
        found = segments.listed(self._store, self._prefix)
        return (segment for segment in found if where.may_match_on(segment.day))

    def _ids_filed(self) -> set[str]:
        if self._filed is None:
            filed: set[str] = set()
            sound: list[Segment] = []
            # The newest are the likeliest to be filed again, should there be too many to remember.
            for segment in reversed(list(self._segments_of(EVERYTHING))):
                try:
                    entries = segments.read(self._store, segment)
                except DamagedSegmentError:
                    self._beside.append(segments.put_beside(self._store, self._prefix, segment))
                else:
                    _remember(filed, (entry.id for entry in entries))
                    self._remember_unread(entries)
                    sound.append(segment)
            merge_small(self._store, self._prefix, reversed(sound))
            self._filed = filed
        return self._filed

    def _remember_unread(self, entries: Iterable[Entry]) -> None:
        unread = (entry for entry in entries if entry.reason in _UNREAD)
        for entry in islice(unread, _UNREAD_REMEMBERED - sum(map(len, self._unread.values()))):
            self._unread.setdefault(entry.position.key, []).append(replace(entry, detail=""))

    def _find(self, ids: Collection[str]) -> list[Entry]:
        found: dict[str, list[Entry]] = {_checked(each): [] for each in ids}
        for entry in self.entries():
            for prefix, matching in found.items():
                if entry.id.startswith(prefix):
                    matching.append(entry)
        return [_only(prefix, matching) for prefix, matching in found.items()]


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def _remember(ids: set[str], more: Iterable[str]) -> None:
    if len(ids) < IDS_REMEMBERED:
        ids.update(more)


def _checked(prefix: str) -> str:
    if _ID_PREFIX.fullmatch(prefix):
        return prefix
    raise UsageError(
        f"{prefix!r} is no id of a quarantined entry.",
        remedy="Give at least the first 6 of its 16 digits, as `braze-etl quarantine list` shows them.",
    )


def _only(prefix: str, matching: Sequence[Entry]) -> Entry:
    if len(matching) == 1:
        return matching[0]
    if not matching:
        raise UsageError(
            f"No entry with the id {prefix!r} is in the quarantine.",
            remedy="Look it up with `braze-etl quarantine list`; it may have been replayed or dropped.",
        )
    raise UsageError(
        f"{len(matching)} entries have ids that begin with {prefix!r}, {matching[0].id} for one.",
        remedy="Give more digits of the id.",
    )
