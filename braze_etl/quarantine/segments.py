"""Segments: objects of up to 10,000 entries, one JSON object a line, written whole and never changed.

The name is `2026-10-01/<digest of the ids>-<entries>.jsonl`: the same entries make the same object, and a
listing alone tells how many there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import blake2b
from itertools import accumulate, groupby
from typing import Final

import orjson

from braze_etl.errors import AccessDeniedError, FileError, SourceGoneError, StoreError, TooSlowError
from braze_etl.model import Position, Reason
from braze_etl.quarantine.entry import Entry
from braze_etl.storage.store import Store

SEGMENT_ENTRIES: Final = 10_000
_BESIDE: Final = "damaged/"

_NAME = re.compile(r"(?P<day>\d{4}-\d{2}-\d{2})/[0-9a-f]{16}-(?P<entries>\d+)\.jsonl")
_OUT_OF_REACH: Final = (
    "Give it to the user that runs the job (chown; in S3, allow s3:GetObject, and kms:Decrypt for its key), "
    "then run again: a command that was run as another user, such as root, may have made it."
)

MANY: Final = 16
SMALL: Final = 1000


class SegmentGoneError(StoreError):
    """A segment was removed or rewritten between listing and reading."""


class DamagedSegmentError(StoreError):
    """What is in a segment is not what was written."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as its name tells."""

    key: str
    day: date
    entries: int


def listed(store: Store, prefix: str) -> Iterator[Segment]:
    """List what `put` has stored below *prefix*, oldest day first; other objects are left alone."""
    for page in store.pages(prefix):
        for stored in page.objects:
            match = _NAME.fullmatch(stored.key, len(prefix))
            if match:
                yield Segment(stored.key, date.fromisoformat(match["day"]), int(match["entries"]))


def write(store: Store, prefix: str, day: date, entries: Sequence[Entry]) -> str:
    """Store a segment; see `put`."""
    return put(store, prefix, day, {each.id: _line(each) for each in entries})


def put(store: Store, prefix: str, day: date, lines: Mapping[str, bytes]) -> str:
    """Store lines by their ids; the same ids of a day always become the same object. Returns its key."""
    digest = blake2b("".join(sorted(lines)).encode(), digest_size=8).hexdigest()
    key = f"{prefix}{day.isoformat()}/{digest}-{len(lines)}.jsonl"
    store.put(key, b"".join(lines.values()))
    return key


def read(store: Store, segment: Segment) -> list[Entry]:
    """Read a segment; `StoreError` when it can't be, `SegmentGoneError` when it is not there."""
    lines = content(store, segment.key).splitlines()
    try:
        entries = [_entry(line) for line in lines]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(store, segment, f"a line is no entry ({error})") from error
    if len(entries) != segment.entries:
        raise _damaged(store, segment, f"{len(entries)} lines instead of {segment.entries}")
    return entries


def put_beside(store: Store, prefix: str, segment: Segment) -> str:
    """Move a damaged segment to where none is looked for, and nothing is lost of it. Returns its new key."""
    key = f"{prefix}{_BESIDE}{segment.key.removeprefix(prefix)}"
    store.put(key, content(store, segment.key))
    store.delete([segment.key])
    return key


def _damaged(store: Store, segment: Segment, what: str) -> StoreError:
    return DamagedSegmentError(
        f"The quarantine's segment {segment.key} in {store.uri} is damaged or of a newer version: {what}.",
        remedy="Restore it from a copy, or move it away; the other segments do not need it.",
    )


def content(store: Store, key: str) -> bytes:
    """Read an object whole; errors are those of `read`."""
    with _as_the_quarantines():
        try:
            with closing(store.open(key)) as stream:
                return stream.read()
        except SourceGoneError as error:
            raise SegmentGoneError(
                f"The quarantine's segment {key} in {store.uri} was removed while it was to be read.",
                remedy="Another command is at work on the quarantine; try again when it has ended.",
            ) from error


def check_access(store: Store, prefix: str, room: int) -> None:
    """Raise `StoreError` where what is there can't be read, or *room* bytes can't be written."""
    with _as_the_quarantines():
        store.check_access(prefix, room)


@contextmanager
def _as_the_quarantines() -> Iterator[None]:
    """To the store it is one file's trouble; but a quarantine that is read in part would tell lies."""
    try:
        yield
    except TooSlowError as error:
        raise StoreError(f"The quarantine can't be read: {error.message}.", remedy=error.remedy) from error
    except AccessDeniedError as error:
        raise StoreError(f"The quarantine is out of reach: {error.message}.", remedy=_OUT_OF_REACH) from error
    except FileError as error:
        raise StoreError(
            f"The quarantine can't be read: {error.message}.",
            remedy="Restore this object from a copy, or move it away; the others do not need it.",
        ) from error


def _line(entry: Entry) -> bytes:
    facts = {
        "id": entry.id,
        "run_id": entry.run_id,
        "at": entry.at.astimezone(UTC).isoformat(),
        "event_type": entry.event_type,
        "reason": entry.reason,
        "detail": entry.detail,
        **entry.position._asdict(),
    }
    return orjson.dumps(facts, option=orjson.OPT_APPEND_NEWLINE)


def _entry(line: bytes) -> Entry:
    facts = orjson.loads(line)
    return Entry(
        id=facts["id"],
        run_id=facts["run_id"],
        at=datetime.fromisoformat(facts["at"]),
        event_type=facts["event_type"],
        reason=Reason(facts["reason"]),
        detail=facts["detail"],
        position=Position(facts["key"], facts["etag"], facts["block"], facts["record"]),
    )


def merge_small(store: Store, prefix: str, found: Iterable[Segment]) -> None:
    """Merge the small segments of each day that has many of them."""
    for _, of_day in groupby(found, key=lambda segment: segment.day):
        small = [segment for segment in of_day if segment.entries < SMALL]
        if len(small) > MANY:
            _merge(store, prefix, _that_fit(small))


def _that_fit(small: Sequence[Segment]) -> list[Segment]:
    """Take as many as fill one segment; the others are left to the next run."""
    sizes = accumulate(segment.entries for segment in small)
    return [segment for segment, size in zip(small, sizes, strict=True) if size <= SEGMENT_ENTRIES]


def _merge(store: Store, prefix: str, parts: Sequence[Segment]) -> None:
    """Write the whole before the parts are deleted; both at once are read as one."""
    entries = {entry.id: entry for part in parts for entry in read(store, part)}
    whole = write(store, prefix, parts[0].day, list(entries.values()))
    # A merge that broke off before may have left the whole among the parts.
    store.delete([part.key for part in parts if part.key != whole])
