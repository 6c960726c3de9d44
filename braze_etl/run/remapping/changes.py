"""After a change of the mapping: which settled files hold records that are sent now, and were not before."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import Any, Final

from braze_etl.checkpoint import BacklogLine, KnownFile, Ledger, OpenFile
from braze_etl.clock import Clock
from braze_etl.config import Settings
from braze_etl.model import FileRef, FileState, Reason, ReasonCounts, Tally
from braze_etl.run.assembly import Scope, ScopeOf, listing, open_mapping, open_source
from braze_etl.run.budget import Account, Spending, Terms
from braze_etl.run.finding.due import DueFile
from braze_etl.run.finding.restoring import restore_command
from braze_etl.run.foresight.looking import ledger_to_read
from braze_etl.run.remapping.comparing import Compared, Comparer, NotComparable
from braze_etl.run.remapping.judged import judgements_of
from braze_etl.run.remapping.mappings import Mappings
from braze_etl.telemetry import get_logger

NOT_COMPARABLE: Final = "not_comparable_files"
_AT_ONCE: Final = 50
"""Files that are compared in one go: what another pass could wait for meanwhile."""
WORDS: Final = {
    NotComparable.MAPPING_UNKNOWN: "by which mapping they were judged is not known, or is none that this "
    "program can evaluate; `backfill --resend` sends such files whole",
    NotComparable.SOURCE_GONE: "they are no longer in the source",
    NotComparable.UNREADABLE: "they can't be read",
    NotComparable.BOOKS_DIFFER: "by the old mapping more of their records are filtered today than their "
    "books say, so that some of them may have been sent",
}
_log = get_logger(__name__)


@dataclass(slots=True)
class Difference:
    """What a change of the mapping lets through: files with such records, and the records by event type.

    `reasons` say why they were not sent before. `not_comparable` counts files that are left alone.
    """

    files: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    to_send: Counter[str] = field(default_factory=Counter)
    reasons: ReasonCounts = field(default_factory=Counter)
    not_comparable: Counter[NotComparable] = field(default_factory=Counter)
    archived: BacklogLine = field(default_factory=BacklogLine)

    def add(self, ref: FileRef, compared: Compared) -> None:
        """Count a file with a difference."""
        self.files[ref.event_type] += 1
        self.bytes += ref.size
        self.to_send[ref.event_type] += compared.changed.count
        for reason, records in compared.reasons.items():
            self.reasons[ref.event_type, reason] += records

    def as_dict(self) -> dict[str, Any]:
        """The difference as JSON values."""
        total = Counter[Reason]()
        for (_, reason), records in self.reasons.items():
            total[reason] += records
        return {
            "files": self.files.total(),
            "bytes": self.bytes,
            "to_send": self.to_send.total(),
            "reasons": {reason.value: records for reason, records in total.most_common()},
            "by_event_type": {name: self._line(name) for name in sorted(self.files)},
            "not_comparable": self.not_comparable.total(),
            "not_comparable_because": {why.value: n for why, n in self.not_comparable.items()},
            "archived": {"files": self.archived.files, "bytes": self.archived.bytes},
        }

    def _line(self, event_type: str) -> dict[str, Any]:
        reasons = {r.value: n for (of_type, r), n in self.reasons.items() if of_type == event_type}
        return {"files": self.files[event_type], "to_send": self.to_send[event_type], "reasons": reasons}

    def tell(self) -> None:
        """Write it to the log: what is about to be sent, and what is left alone."""
        for event_type in sorted(self.files):
            _log.info("the mapping lets through", event_type=event_type, **self._line(event_type))
        if not self.files:
            _log.info("the mapping lets nothing through that was not sent")
        for why, files in self.not_comparable.items():
            _log.warning(f"files are left alone: {WORDS[why]}", files=files)


class Changes:
    """Finds the difference, file by file; `found` is all of it when that is done.

    With *note*, files that are settled with the mapping in force thereby are noted as such in the ledger, so
    that they are not looked at again; the caller holds the lease.
    """

    def __init__(self, ledger: Ledger, comparer: Comparer, *, note: bool) -> None:
        self.found = Difference()
        self._ledger = ledger
        self._comparer = comparer
        self._note = note

    def due(self, files: Iterable[FileRef], goes_on: Callable[[], bool] = lambda: True) -> Iterator[DueFile]:
        """Give those of *files* that hold such records, as far as *goes_on* lets it; asked now and then."""
        rest = iter(files)
        while (chunk := list(islice(rest, _AT_ONCE))) and goes_on():
            known = self._ledger.known(chunk)
            settled: list[tuple[FileRef, str]] = []
            for ref in chunk:
                if ref.key in known and self._is_candidate(ref, known[ref.key]):
                    yield from self._of_file(ref, known[ref.key], settled)
            if settled and self._note:
                self._ledger.note_mappings(settled)

    def _is_candidate(self, ref: FileRef, known: KnownFile) -> bool:
        """Whether a record of it was filtered, and not by the mapping in force."""
        if known.etag != ref.etag or not known.tally.filtered:
            return False
        now = self._comparer.mappings.now.version
        judged = judgements_of(known.mapping, known.held_from)
        if any(each.version == now and each.held_from is None for each in judged):
            return False
        if ref.archived:
            self.found.archived += BacklogLine(1, ref.size)
        return not ref.archived

    def _of_file(
        self, ref: FileRef, known: KnownFile, settled: list[tuple[FileRef, str]]
    ) -> Iterator[DueFile]:
        compared = self._comparer.compare(ref, known)
        if isinstance(compared, NotComparable):
            self.found.not_comparable[compared] += 1
        elif compared.changed.blocks:
            self.found.add(ref, compared)
            yield self._due(ref, known, compared)
        else:
            settled.append((ref, compared.changed.mapping))

    def _due(self, ref: FileRef, known: KnownFile, compared: Compared) -> DueFile:
        tally = known.tally
        filtered = tally.filtered - compared.changed.count
        left_open = self._open_files.get(ref.key) if known.state is FileState.OPEN else None
        return DueFile(
            ref,
            later=left_open.open if left_open is not None else (),
            carried=Tally(tally.accepted, filtered, tally.quarantined),
            changed=compared.changed,
        )

    @cached_property
    def _open_files(self) -> dict[str, OpenFile]:
        return {file.ref.key: file for file in self._ledger.open_files()}


@dataclass(frozen=True, slots=True)
class ChangePlan:
    """What `backfill --changed-only` would do."""

    difference: Difference
    max_events: int
    restore: str | None = None
    account: Account | None = None

    @property
    def spending(self) -> Spending | None:
        """What this would spend, against what is left; None without a budget."""
        return Spending.of(self.account, self.difference.to_send) if self.account else None

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON values; `restore` is the command that makes archived files readable."""
        facts = self.difference.as_dict()
        facts["requests"] = math.ceil(facts["to_send"] / self.max_events)
        facts["archived"]["restore"] = self.restore
        if spending := self.spending:
            facts["budget"] = spending.as_dict()
        return {"estimated": False, "changed_only": True, **facts}


def changes_of(settings: Settings, ledger: Ledger, mappings: Mappings, *, note: bool) -> Changes:
    """The changes that the mapping in force makes to what this ledger knows."""
    store, _ = open_source(settings)
    return Changes(ledger, Comparer(store, mappings, decoder=settings.decoder), note=note)


def changed_scope(since: datetime | None, until: datetime | None, event_types: tuple[str, ...]) -> ScopeOf:
    """The hours in which changes are looked for; from an open beginning, all that the ledger knows."""
    return lambda _, ledger: Scope(since or ledger.oldest_day() or ledger.start_at, until, event_types)


def plan_changes(settings: Settings, scope: ScopeOf, clock: Clock) -> ChangePlan:
    """Find the difference in *scope*; nothing is sent, and nothing is written anywhere."""
    mapping, terms = open_mapping(settings), Terms.of(settings)
    with closing(ledger_to_read(settings, clock)) as ledger:
        changes = changes_of(settings, ledger, Mappings(ledger, mapping), note=False)
        for _ in changes.due(listing(settings, scope(settings, ledger), clock.now())):
            pass
        account = Account.read(ledger, terms, clock.now()) if terms.configured else None
    restore = restore_command(settings.source.uri, changes.found.archived)
    return ChangePlan(changes.found, settings.amplitude.max_events, restore, account)
