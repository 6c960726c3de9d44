"""All that is known of one record, without a person's ids unless they are asked for."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from braze_etl.braze.currents.catalogue import load_catalogue
from braze_etl.clock import Clock, iso
from braze_etl.flows.currents_to_amplitude.explain.ending import (
    RULES,
    Books,
    RecordEnding,
    entries_of,
    entry_of,
    mapped,
)
from braze_etl.flows.currents_to_amplitude.explain.presence import NOT_ASKED, Presence
from braze_etl.flows.currents_to_amplitude.explain.search import FoundRecord, RecordNotFoundError, RecordPlace
from braze_etl.flows.currents_to_amplitude.mapping import open_mapping
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.currents_to_amplitude.verification.expected import ERASED_NOTE, mark_of
from braze_etl.flows.pipeline import ledger_to_read, open_quarantine
from braze_etl.globs import matches
from braze_etl.mapping.groups import load_groups
from braze_etl.mapping.mapping import TypePlan
from braze_etl.model import Event, FileRef, Reason, Record, Verdict
from braze_etl.quarantine.entry import Selection
from braze_etl.state.ledger import KnownFile, Ledger, RunRecord

MASK: Final = "***"
_ERASED: Final = "the person was erased here, and Amplitude may have been asked to delete the user"
_ALL_RUNS: Final = 1_000_000
_IDS: Final = ("external_user_id", "device_id", "user_id")


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is known of one record.

    `content` is a verdict where nobody can read the record. `now` is what the mapping in force makes of it.
    `known` is the ledger's row of the file, `run` the run that settled it last. `presence` says whether
    Amplitude has the event.
    """

    ref: FileRef
    place: RecordPlace
    content: Record | Verdict
    plan: TypePlan
    preset: str
    now: Event | Verdict | None
    outcome: RecordEnding
    known: KnownFile | None
    run: RunRecord | None
    presence: Presence = NOT_ASKED

    @property
    def record(self) -> Record | None:
        """The record; None where nobody can read it."""
        return self.content if isinstance(self.content, dict) else None

    @property
    def insert_id(self) -> str | None:
        """Its id in Braze, which is the event's `insert_id`."""
        found = (self.record or {}).get("id")
        return found if isinstance(found, str) else None

    @property
    def identity(self) -> str | None:
        """The id by which Amplitude knows the person, if it can know them at all."""
        found = next((each for each in (self.outcome.event, self.now) if isinstance(each, dict)), None)
        if found is None and self.record is not None:
            resolved = self.plan.identity.resolve(*(self.record.get(name) for name in _IDS))
            found = None if isinstance(resolved, Verdict) else resolved
        return (found.get("user_id") or found.get("device_id")) if found else None

    def shown(self, field: str, value: Any, *, ids: bool, record: bool) -> Any:
        """The value of a field of the record, masked where it is personal data or nobody knows."""
        if record or value is None or (ids and field in _IDS) or not self._is_personal(field):
            return value
        return MASK

    def as_dict(self, *, ids: bool = False, record: bool = False) -> dict[str, Any]:
        """The explanation as JSON values: with the *ids* of the person, with the *record* as it is."""
        fields = None if self.record is None else self.record.items()
        return {
            "insert_id": self.insert_id,
            "position": str(self.place),
            "event_type": self.ref.event_type,
            "identity": self.identity if ids or record else self.identity and MASK,
            "file": self._file(),
            "record": fields
            and {name: self.shown(name, value, ids=ids, record=record) for name, value in fields},
            "verdict": self._verdict(),
            "outcome": self._outcome(ids=ids or record),
            "amplitude": asdict(self.presence),
        }

    def without_ids(self, text: str) -> str:
        """A text of others, with the person's ids masked."""
        ids = {str((self.record or {}).get(name) or "") for name in _IDS} | {self.identity or ""}
        words = "|".join(re.escape(each) for each in sorted(ids - {""}, key=len, reverse=True))
        return re.sub(rf"(?<!\w)(?:{words})(?!\w)", MASK, text) if words else text

    def _is_personal(self, field: str) -> bool:
        known = load_catalogue().get(self.ref.event_type)
        declared = known.fields.get(field) if known else None
        groups = load_groups()
        return (
            declared is None
            or declared.pii
            or field in _IDS
            or field in groups.json_texts
            or matches(field, (*groups.pii, *groups.urls))
        )

    def _file(self) -> dict[str, Any]:
        known, run = self.known, self.run
        facts: dict[str, Any] = {"key": self.ref.key, "hour": iso(self.ref.hour), "bytes": self.ref.size}
        if known is None or known.pruned:
            return {**facts, "state": None}
        return {
            **facts,
            "state": known.state.value,
            "settled_at": iso(known.settled_at),
            "sent_from": iso(known.sent_from) if known.sent_from else None,
            "sent_to": iso(known.sent_to) if known.sent_to else None,
            "books": known.tally.as_dict(),
            "run_id": known.run_id,
            "command": run.command if run else None,
        }

    def _verdict(self) -> dict[str, Any] | None:
        if self.now is None:
            return None
        if isinstance(self.now, Verdict):
            reason = self.now.reason
            return {"sent": False, "reason": reason.value, "detail": self.now.detail, "rule": RULES[reason]}
        return {"sent": True, "name": self.now["event_type"], "rule": f"preset {self.preset}"}

    def _outcome(self, *, ids: bool) -> dict[str, Any]:
        outcome = self.outcome
        detail = outcome.detail if ids else self.without_ids(outcome.detail)
        return {
            "ending": outcome.ending.value,
            "sent_as": outcome.event["event_type"] if isinstance(outcome.event, dict) else None,
            "reason": outcome.reason.value if outcome.reason else None,
            "detail": detail,
            "rule": outcome.rule,
            "not_before": iso(outcome.not_before) if outcome.not_before else None,
            "entry": outcome.entry.id if outcome.entry else None,
            "notes": list(outcome.notes),
        }


def explain(settings: Settings, found: FoundRecord, clock: Clock) -> Explanation:
    """Say what became of a record; nothing is written, no lease taken.

    `RecordNotFoundError` where its file is not in the source and was never settled.
    """
    mapping, ref, quarantine = open_mapping(settings), found.ref, open_quarantine(settings)
    with closing(ledger_to_read(settings, clock)) as ledger:
        known = ledger.known([ref]).get(ref.key)
        entries = entries_of(quarantine.entries(Selection(files=(ref.key,))), ref, known)
        dropped = entry_of(found, entries_of(quarantine.dropped(), ref, known))
        entry, content = entry_of(found, entries), found.content
        if isinstance(content, Verdict) and content.reason is Reason.SOURCE_GONE:
            if known is None and not entries:
                raise _never_seen(found.place, settings)
            content = (entry and quarantine.payload(entry, clock.now())) or content
        record = content if isinstance(content, dict) else None
        now = None if record is None else mapped(mapping, ref, record)
        books = Books(ledger, settings, mapping, found, record, now, known, entry, dropped)
        explanation = Explanation(
            ref=ref,
            place=found.place,
            content=content,
            plan=mapping.plan(ref.event_type),
            preset=mapping.options.preset,
            now=now,
            outcome=books.ending(),
            known=known,
            run=_run(ledger, known),
        )
        salt = mapping.options.privacy.salt.get_secret_value()
        if mark_of(salt, explanation.identity or "") not in ledger.get_note(ERASED_NOTE).get("ids", ()):
            return explanation
        outcome = replace(explanation.outcome, notes=(*explanation.outcome.notes, _ERASED))
        return replace(explanation, outcome=outcome)


def _never_seen(place: RecordPlace, settings: Settings) -> RecordNotFoundError:
    return RecordNotFoundError(
        f"{place.key} is not in the source {settings.source.uri}, the ledger or the quarantine",
        remedy="Correct the key, or source.uri; `braze-etl quarantine list` shows keys.",
    )


def _run(ledger: Ledger, known: KnownFile | None) -> RunRecord | None:
    if known is None or not known.run_id:
        return None
    return next((run for run in ledger.runs(_ALL_RUNS) if run.run_id == known.run_id), None)
