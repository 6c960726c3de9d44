"""Which files are due: what a listing finds and the ledger does not have as done, oldest hour first."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from braze_etl.checkpoint import KnownFile, Ledger, OpenFile
from braze_etl.model import FileRef, FileState, OpenPositions, Tally

_CHUNK = 1000
_DEDUPLICATED_FOR = timedelta(days=7)
"""How long Amplitude recognises a repeated insert_id (amplitude.md 1.5)."""


@dataclass(frozen=True, slots=True)
class DueFile:
    """A file to be worked on: whole, or (with `open`) only at the positions that earlier runs left open.

    `later` are open positions whose time has not come; `carried` are the books of all that is settled.
    """

    ref: FileRef
    open: tuple[OpenPositions, ...] = ()
    later: tuple[OpenPositions, ...] = ()
    carried: Tally = field(default_factory=Tally)

    @property
    def whole(self) -> bool:
        """Whether every record is to be read."""
        return not self.open and not self.later

    @property
    def ready(self) -> bool:
        """Whether anything can be done about it now."""
        return self.whole or bool(self.open)

    def open_records(self) -> dict[int, frozenset[int]] | None:
        """The records to read, by block offset; None for all of them."""
        if self.whole:
            return None
        blocks: dict[int, set[int]] = {}
        for part in self.open:
            for offset, records in part.blocks.items():
                blocks.setdefault(offset, set()).update(records)
        return {offset: frozenset(records) for offset, records in blocks.items()}


class DueFiles:
    """Iterates over the due files of a listing, lazily and in its order.

    `changed` counts done files whose content changed after Amplitude's de-duplication window: they are
    reported, and not sent again.
    """

    def __init__(
        self, listing: Iterable[FileRef], ledger: Ledger, *, now: datetime, resend: bool = False
    ) -> None:
        self._listing = listing
        self._ledger = ledger
        self._now = now
        self._resend = resend
        self.changed = 0

    def __iter__(self) -> Iterator[DueFile]:
        for chunk in _chunks(self._listing):
            known = self._ledger.known(chunk)
            for ref in chunk:
                due = self._judge(ref, known.get(ref.key))
                if due is not None:
                    yield due

    def _judge(self, ref: FileRef, known: KnownFile | None) -> DueFile | None:
        if known is None or self._resend:
            return DueFile(ref)
        if known.etag == ref.etag:
            # Open files come from the ledger itself, wherever they lie.
            return None
        if known.state is FileState.DONE and self._now - known.settled_at >= _DEDUPLICATED_FOR:
            self.changed += 1
            return None
        return DueFile(ref)


def open_files(files: Iterable[OpenFile], *, now: datetime) -> Iterator[DueFile]:
    """Turn the ledger's open files into due ones, with what is ready apart from what has to wait."""
    for file in files:
        ready = tuple(part for part in file.open if part.not_before <= now)
        later = tuple(part for part in file.open if part.not_before > now)
        settled = Tally(file.tally.accepted, file.tally.filtered, file.tally.quarantined)
        yield DueFile(file.ref, ready, later, settled)


def by_hour(*streams: Iterable[DueFile]) -> Iterator[DueFile]:
    """Merge sorted streams of due files into one, oldest hour first; a file to be read whole comes once."""
    merged = heapq.merge(*streams, key=_order)
    for _, same in itertools.groupby(merged, key=_order):
        # An open file whose content changed is due as a whole; its old positions mean nothing any more.
        yield max(same, key=lambda due: due.whole)


def _order(due: DueFile) -> tuple[datetime, str]:
    return (due.ref.hour, due.ref.key)


def _chunks(refs: Iterable[FileRef]) -> Iterator[list[FileRef]]:
    iterator = iter(refs)
    while chunk := list(itertools.islice(iterator, _CHUNK)):
        yield chunk
