"""One settled file, compared under the mappings that it was judged by and the one in force."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, TypeAlias, cast

from braze_etl.checkpoint import KnownFile
from braze_etl.compile import Decoder, EventReader
from braze_etl.currents import Damage
from braze_etl.errors import FileError, SourceGoneError
from braze_etl.model import FileRef, FileState, Outcome, Reason, Verdict
from braze_etl.run.finding.due import Changed
from braze_etl.run.remapping.judged import Judgement, followed_by, judgements_of, renamed
from braze_etl.run.remapping.mappings import Mappings
from braze_etl.storage import Store
from braze_etl.transform import Mapping

Reasons: TypeAlias = dict[int, list[Reason | None]]
"""What a mapping says of each record of a block, by block offset: the reason, or None for an event."""

_IN_MEMORY = 64_000_000
"""Bytes of a file; a larger one lies in a temporary file while it is read by several mappings."""


class NotComparable(StrEnum):
    """Why a file is left alone."""

    MAPPING_UNKNOWN = "mapping_unknown"
    """By what it was judged is not known, or can't be evaluated by this program."""
    SOURCE_GONE = "source_gone"
    UNREADABLE = "unreadable"
    BOOKS_DIFFER = "books_differ"
    """More records, or fewer, would have been filtered than its books say: people's lists have changed."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Which records are sent now (none, or some), and why they were not before.

    `unsent` counts those that all mappings so far have left unsent, the ones held by the budget among them.
    Who is on the suppress list today is not counted: nothing is sent of them, whatever was.
    """

    changed: Changed
    reasons: Counter[Reason] = field(default_factory=Counter)
    unsent: int = 0


class Comparer:
    """Compares files. Only those are read of which the mappings alone do not tell."""

    def __init__(self, store: Store, mappings: Mappings, *, decoder: Decoder = "auto") -> None:
        self.mappings = mappings
        self._store = store
        self._decoder: Decoder = decoder
        self._readers: dict[str, EventReader] = {}

    def compare(self, ref: FileRef, known: KnownFile) -> Compared | NotComparable:
        """Say what of a file is sent under the mapping in force, and was not; *known* has the same etag."""
        judged, now = judgements_of(known.mapping, known.held_from), self.mappings.now
        before = [mapping for each in judged if (mapping := self.mappings.of(each.version)) is not None]
        if not judged or len(before) < len(judged):
            return NotComparable.MAPPING_UNKNOWN
        if foreseen := _foreseen(ref.event_type, judged, before, now):
            return Compared(Changed({}, foreseen, foreseen))
        try:
            compared = self._read(ref, judged, before)
        except SourceGoneError:
            return NotComparable.SOURCE_GONE
        except FileError:
            return NotComparable.UNREADABLE
        # Held records are filtered in the books too. With more, some of what is taken for unsent was sent.
        if compared.unsent > known.tally.filtered:
            return NotComparable.BOOKS_DIFFER
        return compared if known.state is not FileState.FAILED else _of_failed(compared)

    def _read(self, ref: FileRef, judged: Sequence[Judgement], before: Sequence[Mapping]) -> Compared:
        now = self.mappings.now
        with SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
            with self._store.open(ref.key, etag=ref.etag, size=ref.size or None) as stream:
                shutil.copyfileobj(stream, copy)
            whole = cast("BinaryIO", copy)
            after = self._reasons(now, ref, whole)
            past = [self._reasons(mapping, ref, whole) for mapping in before]
        return _difference(after, list(zip(judged, past, strict=True)), now.version)

    def _reasons(self, mapping: Mapping, ref: FileRef, stream: BinaryIO) -> Reasons:
        stream.seek(0)
        if mapping.version not in self._readers:
            self._readers[mapping.version] = EventReader(mapping, decoder=self._decoder)
        reader = self._readers[mapping.version]
        return {
            block.offset: [each.reason if isinstance(each, Verdict) else None for each in block.outcomes]
            for block in reader.read(ref, stream)
            if not isinstance(block, Damage)
        }


def _foreseen(
    event_type: str, judged: tuple[Judgement, ...], before: Sequence[Mapping], now: Mapping
) -> str | None:
    """By what the file is judged from now on, if it is clear without reading that nothing is to be sent."""
    filters = _filters(now, event_type)
    for each, mapping in zip(judged, before, strict=True):
        if each.held_from is None and _filters(mapping, event_type) == filters:
            return renamed(judged, each.version, now.version)
    if now.plan(event_type).withheld is None:
        return None
    nothing_was_sent = all(mapping.plan(event_type).withheld for mapping in before)
    return now.version if nothing_was_sent else followed_by(judged, now.version)


def _filters(mapping: Mapping, event_type: str) -> tuple[Any, ...]:
    """All that decides whether a record of that type is filtered."""
    plan = mapping.plan(event_type)
    return (plan.filter, plan.choice, plan.loop_guard, plan.placeholders, plan.identity, mapping.people)


def _difference(after: Reasons, past: list[tuple[Judgement, Reasons]], version: str) -> Compared:
    """Which records all of the *past* has left unsent, and that are no longer filtered."""
    blocks: dict[int, tuple[int, ...]] = {}
    why = Counter[Reason]()
    covers, left = True, 0
    for block, reasons in after.items():
        sent: list[int] = []
        for record, reason in enumerate(reasons):
            unsent = all(each.leaves((block, record), says[block][record]) for each, says in past)
            left += unsent and reason is not Reason.SUPPRESSED
            filtered = reason is not None and reason.outcome is Outcome.FILTERED
            # What was sent and is filtered now has to be told from what never was, in times to come.
            covers &= unsent or not filtered
            if unsent and not filtered:
                sent.append(record)
                why[past[-1][1][block][record] or Reason.HELD] += 1
        if sent:
            blocks[block] = tuple(sent)
    chain = followed_by(tuple(each for each, _ in past), version)
    return Compared(Changed(blocks, version if covers else chain, chain), why, left)


def _of_failed(compared: Compared) -> Compared:
    changed = compared.changed
    failed = Changed(changed.blocks, changed.mapping, changed.mapping_if_held, still_failed=True)
    return replace(compared, changed=failed)
