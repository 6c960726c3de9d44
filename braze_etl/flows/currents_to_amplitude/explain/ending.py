"""How one record stands: what ledger and quarantine know, and what the mappings make of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from braze_etl.braze.currents.keys import parse_key
from braze_etl.clock import iso
from braze_etl.engine.due import WHOLE_FILE
from braze_etl.flows.currents_to_amplitude.explain.search import FoundRecord
from braze_etl.flows.currents_to_amplitude.remapped import Mappings, judgements_of
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.currents_to_amplitude.source import selection
from braze_etl.mapping.limits import mend_event
from braze_etl.mapping.mapper import mapper_for
from braze_etl.mapping.mapping import EventMapping
from braze_etl.model import Event, FileRef, FileState, OpenPositions, Outcome, Reason, Record, Verdict
from braze_etl.quarantine.entry import Entry
from braze_etl.state.ledger import KnownFile, Ledger


class Ending(StrEnum):
    """How a record stands; the first four belong to a file of which nothing was sent."""

    NOT_SELECTED = "not_selected"
    """`source` does not select its file."""
    BEFORE_START = "before_start"
    """Its hour lies before the ledger's start: only a backfill sends it."""
    DUE = "due"
    """Its file waits for a run."""
    CHANGED = "changed"
    """Its file has another content than the one that was settled."""
    ACCEPTED = "accepted"
    FILTERED = "filtered"
    QUARANTINED = "quarantined"
    DEFERRED = "deferred"
    DROPPED = "dropped"
    """It was set aside, and given up."""
    UNKNOWN = "unknown"
    """What is kept does not tell."""


RULES: Final = {
    Reason.NOT_IN_NATIVE: "the preset; mapping.send names types to be sent all the same",
    Reason.NOT_SELECTED: "mapping.choose",
    Reason.HELD: "mapping.unknown_types",
    Reason.TEST_EVENT: "mapping.test_events",
    Reason.NO_IDENTITY: "mapping.identity.anonymous",
    Reason.SUPPRESSED: "mapping.privacy.suppress",
    Reason.SHARED_ID: "mapping.identity.shared",
    Reason.UNKNOWN_USER: "mapping.identity.lookup",
    Reason.FROM_AMPLITUDE: "mapping.loop_guard",
    Reason.REDACTED_IDENTITY: "a field transformation of the Current in Braze",
    Reason.INVALID_USER_ID: "amplitude.min_id_length and mapping.identity",
    Reason.INVALID_DEVICE_ID: "amplitude.min_id_length and mapping.identity",
    Reason.INVALID_EVENT: "what Amplitude takes; mapping.time where it is about the time",
    Reason.REJECTED: "Amplitude's answer",
    Reason.SILENCED: "Amplitude's answer",
    Reason.TOO_LARGE: "what a request may hold",
    Reason.DAMAGED_BLOCK: "the file",
    Reason.UNREADABLE_FILE: "the file",
    Reason.SOURCE_GONE: "the source",
    Reason.THROTTLED: "Amplitude's answer",
    Reason.DAILY_QUOTA: "Amplitude's answer",
    Reason.FAILING: "Amplitude's answer",
}
"""Which part of the configuration, or who else, stands behind a reason."""
_BUDGET: Final = "budget.stop"


@dataclass(frozen=True, slots=True)
class RecordEnding:
    """How a record stands, and why; `not_before` for a deferred one, `entry` for one that was set aside.

    `event` is what was or would be sent; a verdict where nothing is.
    """

    ending: Ending
    event: Event | Verdict | None = None
    reason: Reason | None = None
    detail: str = ""
    rule: str = ""
    not_before: datetime | None = None
    entry: Entry | None = None
    notes: tuple[str, ...] = ()


def entries_of(entries: Iterable[Entry], ref: FileRef, known: KnownFile | None) -> list[Entry]:
    """Those of the file as it was settled last, or else as it is."""
    etag = known.etag if known is not None and not known.pruned else ref.etag
    found = (each for each in entries if each.position.key == ref.key)
    return [each for each in found if not etag or each.position.etag == etag]


def entry_of(found: FoundRecord, entries: Sequence[Entry]) -> Entry | None:
    """The entry that holds the record: its own, that of its file, or that of the stretch it lies in."""
    block, record = found.place.block, found.place.record
    by_place = {(each.position.block, each.position.record): each for each in entries}
    entry = by_place.get((block, record)) or by_place.get(WHOLE_FILE)
    if entry is not None or isinstance(found.content, dict):
        return entry
    before = [offset for offset, number in by_place if number is None and offset <= block]
    return by_place[max(before), None] if before else None


def mapped(mapping: EventMapping, ref: FileRef, record: Record) -> Event | Verdict:
    """What becomes of a record of that file, as it would be sent."""
    outcome = mapper_for(mapping.plan(ref.event_type))(record, ref.hour.timestamp())
    if not isinstance(outcome, Verdict):
        mend_event(outcome, Counter())
    return outcome


@dataclass(frozen=True, slots=True)
class Books:
    """What ledger and quarantine say of one record; `now` is what the mapping in force makes of it.

    `entry` holds it, if one does; `dropped` did, before it was given up.
    """

    ledger: Ledger
    settings: Settings
    mapping: EventMapping
    found: FoundRecord
    record: Record | None
    now: Event | Verdict | None
    known: KnownFile | None
    entry: Entry | None
    dropped: Entry | None

    def ending(self) -> RecordEnding:
        """The first of these that applies."""
        if self.entry is not None:
            return self._set_aside(self.entry)
        if self.dropped is not None:
            reason, words = self.dropped.reason, self.dropped.reason.meaning
            return RecordEnding(Ending.DROPPED, self.now, reason, words, RULES[reason])
        if self.known is None:
            return self._never_settled()
        if self.known.pruned:
            words = "its file is older than state.keep: of such files, only sums are kept"
            return self._ending(Ending.UNKNOWN, words)
        if self.found.ref.etag not in ("", self.known.etag):
            words = f"its file was settled at {iso(self.known.settled_at)} with another content"
            return self._ending(Ending.CHANGED, words)
        return self._settled(self.known)

    def _settled(self, known: KnownFile) -> RecordEnding:
        part = self._open_positions() if known.state is FileState.OPEN else None
        if part is not None:
            words = part.reason.meaning
            return RecordEnding(
                Ending.DEFERRED, self.now, part.reason, words, RULES[part.reason], part.not_before
            )
        if self.record is None:
            return self._ending(Ending.UNKNOWN, "its file was settled, and the record can't be read now")
        return self._by_mapping(self.record, known)

    def _ending(self, ending: Ending, words: str) -> RecordEnding:
        return RecordEnding(ending, self.now, detail=words)

    def _set_aside(self, entry: Entry) -> RecordEnding:
        reason, words = entry.reason, entry.detail or entry.reason.meaning
        notes: tuple[str, ...] = ()
        if entry.position.record is None and self.record and self.known and self.known.tally.accepted:
            notes = ("its file could be read in part: what was read before may have been sent",)
        return RecordEnding(
            Ending.QUARANTINED, self.now, reason, words, RULES[reason], entry=entry, notes=notes
        )

    def _never_settled(self) -> RecordEnding:
        ref, source = self.found.ref, self.settings.source
        chosen, parsed = selection(source), parse_key(ref.key)
        if not chosen.matches_event_type(ref.event_type):
            return RecordEnding(Ending.NOT_SELECTED, self.now, rule="source.event_types")
        if parsed is not None and not chosen.matches_integration(parsed.integration):
            return RecordEnding(Ending.NOT_SELECTED, self.now, rule="source.integrations")
        if ref.hour < self.ledger.start_at:
            words = f"the ledger begins at {iso(self.ledger.start_at)}; `backfill` sends older hours"
            return self._ending(Ending.BEFORE_START, words)
        if ref.archived:
            return self._ending(
                Ending.DUE, "its file is archived: it has to be restored before it can be read"
            )
        if isinstance(self.found.content, Verdict):
            return self._ending(Ending.DUE, f"no run has settled its file; {self.found.content.detail}")
        return self._ending(Ending.DUE, "no run has settled its file yet")

    def _open_positions(self) -> OpenPositions | None:
        place = self.found.place
        parts = (part for file in self.ledger.open_files() if file.ref.key == place.key for part in file.open)
        return next((part for part in parts if place.record in part.blocks.get(place.block, ())), None)

    def _by_mapping(self, record: Record, known: KnownFile) -> RecordEnding:
        """By the mappings that its file was judged by: what one of them sent was sent."""
        judgements = judgements_of(known.mapping, known.held_from)
        mappings = Mappings(self.ledger, self.mapping)
        then = [mapping for each in judgements if (mapping := mappings.of(each.version)) is not None]
        if not judgements or len(then) < len(judgements):
            words = "its file was judged by a mapping that is not known, or that this release can't evaluate"
            return self._ending(Ending.UNKNOWN, words)
        outcomes = [mapped(mapping, self.found.ref, record) for mapping in then]
        place = (self.found.place.block, self.found.place.record)
        for judgement, outcome in zip(judgements, outcomes, strict=True):
            if not isinstance(outcome, Verdict) and not judgement.leaves(place, None):
                return RecordEnding(Ending.ACCEPTED, outcome)
            if isinstance(outcome, Verdict) and not judgement.leaves(place, outcome.reason):
                return self._replayed(outcome, known)
        return _filtered(outcomes[-1], known)

    def _replayed(self, before: Verdict, known: KnownFile) -> RecordEnding:
        """It could not be sent as it was, and its entry is gone without having been dropped."""
        if isinstance(self.now, dict):
            return RecordEnding(Ending.ACCEPTED, self.now, notes=("by a replay, after it was set aside",))
        if self.now is not None and self.now.reason.outcome is Outcome.FILTERED:
            return _filtered(self.now, known)
        words = f"{before.detail}; it was set aside, and its entry is no longer in the quarantine"
        return RecordEnding(Ending.UNKNOWN, before, before.reason, words, RULES[before.reason])


def _filtered(outcome: Event | Verdict, known: KnownFile) -> RecordEnding:
    if not isinstance(outcome, Verdict):
        return RecordEnding(
            Ending.FILTERED, outcome, Reason.HELD, "a bound of the budget was used up", _BUDGET
        )
    notes: tuple[str, ...] = ()
    if outcome.reason is Reason.SUPPRESSED and known.tally.accepted:
        notes = ("lists are read as they are today: it may have been sent before the person was on this one",)
    return RecordEnding(
        Ending.FILTERED, outcome, outcome.reason, outcome.detail, RULES[outcome.reason], notes=notes
    )
