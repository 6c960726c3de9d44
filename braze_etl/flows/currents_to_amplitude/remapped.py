"""After a change of the mapping: which settled files hold records that are sent now, and were not before."""

from __future__ import annotations

import hashlib
import math
import shutil
import zlib
from base64 import b64decode, b64encode
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, Final, TypeAlias, cast

import orjson

from braze_etl.clock import Clock
from braze_etl.config.loading import Config
from braze_etl.engine.budget import Account, Spending
from braze_etl.engine.due import DueFile, Origin, Wanted
from braze_etl.engine.executors.workers import Workers
from braze_etl.engine.flow import Found, ShouldStop, WorkerParts, WorkList
from braze_etl.engine.inspection import Inspector, Killed
from braze_etl.engine.source_health import Listing
from braze_etl.engine.worker import Life
from braze_etl.engine.worklists.listed import Chunks, restore_command
from braze_etl.errors import FileError, SourceGoneError
from braze_etl.flows.currents_to_amplitude.mapping import open_mapping
from braze_etl.flows.currents_to_amplitude.reader import Decoder, EventReader
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.currents_to_amplitude.source import Scope, ScopeOf, listing
from braze_etl.flows.currents_to_amplitude.worker import executor_to_read
from braze_etl.flows.pipeline import ledger_to_read
from braze_etl.logs import get_logger
from braze_etl.mapping.identity import People
from braze_etl.mapping.mapping import MIN_ID_LENGTH, EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import (
    Damage,
    FileRef,
    FileState,
    OpenPositions,
    Outcome,
    Reason,
    ReasonCounts,
    Tally,
    Verdict,
)
from braze_etl.state.ledger import BacklogLine, KnownFile, Ledger, OpenFile
from braze_etl.storage.store import Store

HeldFrom: TypeAlias = tuple[int, int] | None
"""Block and record; None where the budget held nothing."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One reading of a file, by the mapping of that version."""

    version: str
    held_from: HeldFrom = None

    def leaves(self, place: tuple[int, int], reason: Reason | None) -> bool:
        """Whether it leaves the record at *place* unsent, of which the mapping says *reason* (None: send)."""
        if reason is None:
            return self.held_from is not None and place >= self.held_from
        return reason.outcome is Outcome.FILTERED

    def __str__(self) -> str:
        return self.version if self.held_from is None else "{}@{}/{}".format(self.version, *self.held_from)


def judgements_of(mapping: str, held_from: HeldFrom) -> tuple[Judgement, ...]:
    """Read what the ledger keeps of a file; nothing where it does not know the mapping."""
    if not mapping:
        return ()
    *before, last = map(_judgement, mapping.split(","))
    return (*before, Judgement(last.version, held_from or last.held_from))


def followed_by(judgements: tuple[Judgement, ...], version: str) -> str:
    """Give the text of these and another one, in which the budget may hold something or not."""
    return ",".join(map(str, (*judgements, Judgement(version))))


def renamed(judgements: tuple[Judgement, ...], before: str, after: str) -> str:
    """Give the text of these, with *after* for a mapping that judges alike."""
    return ",".join(
        str(Judgement(after, each.held_from) if each.version == before else each) for each in judgements
    )


def _judgement(text: str) -> Judgement:
    version, _, place = text.partition("@")
    if not place:
        return Judgement(version)
    block, _, record = place.partition("/")
    return Judgement(version, (int(block), int(record)))


@dataclass(frozen=True, slots=True)
class FormerMapping:
    """A mapping as the ledger keeps it: all that is needed to make it again, in whatever process."""

    version: str
    options: Mapping[str, Any]
    preset: bytes = field(repr=False)
    """As `_packed` gives it."""

    def again(self, now: EventMapping) -> EventMapping | None:
        """Make it with the lists and tables of people as they are today, which are those of *now*.

        None where this release can't read its preset or options any more, or its table of people is none
        that is in use today, or had another content when it decided what is filtered.
        """
        decisive = dict(self.options)
        try:
            length = decisive.pop("min_id_length", MIN_ID_LENGTH)
            options = _salted(MappingSection.model_validate(decisive), now.options)
            people = _people(options, now)
            if people is None:
                return None
            data = orjson.loads(zlib.decompress(self.preset))
            mapping = EventMapping.load(options, people, min_id_length=length, data=data)
        except (KeyError, TypeError, ValueError, zlib.error):
            return None  # in a form that this release does not have
        return mapping if mapping.version == self.version else None


class Mappings:
    """Knows mappings by their versions; `now` is the one in force."""

    def __init__(self, ledger: Ledger, now: EventMapping) -> None:
        self.now: Final = now
        self._ledger = ledger
        self._kept: dict[str, FormerMapping | None] = {}
        self._made: dict[str, EventMapping | None] = {now.version: now}

    def keep(self) -> None:
        """Have the ledger remember the mapping in force, if it does not know it yet."""
        name, preset = _note(self.now.version), _packed(self.now.data)
        if self._ledger.get_note(name):
            return
        digest = hashlib.sha256(preset).hexdigest()[:16]
        if not self._ledger.get_note(f"preset:{digest}"):
            self._ledger.put_note(f"preset:{digest}", {"packed": b64encode(preset).decode()})
        self._ledger.put_note(name, {"options": self.now.decisive, "preset": digest})

    def of(self, version: str) -> EventMapping | None:
        """Give the mapping of that version; None where it can't be had (see `FormerMapping.again`)."""
        if version not in self._made:
            kept = self.kept(version)
            self._made[version] = kept.again(self.now) if kept else None
        return self._made[version]

    def kept(self, version: str) -> FormerMapping | None:
        """Give what the ledger keeps of a version; None where it does not know it."""
        if version not in self._kept:
            self._kept[version] = self._read(version)
        return self._kept[version]

    def _read(self, version: str) -> FormerMapping | None:
        note = self._ledger.get_note(_note(version))
        try:
            packed = self._ledger.get_note(f"preset:{note['preset']}")["packed"]
            return FormerMapping(version, note["options"], b64decode(packed))
        except (KeyError, TypeError, ValueError):
            return None


def _packed(data: dict[str, Any]) -> bytes:
    """A preset in few bytes, the same for the same data."""
    return zlib.compress(orjson.dumps(data, option=orjson.OPT_SORT_KEYS), 9)


def _note(version: str) -> str:
    """The name of the note: one for all contents of a look-up table, for the options are the same."""
    return f"mapping:{version.partition('~')[0]}"


def _salted(options: MappingSection, now: MappingSection) -> MappingSection:
    """The options with the salt of today: it is never kept, and does not decide whether a record is sent."""
    if not options.privacy.hash:
        return options
    privacy = options.privacy.model_copy(update={"salt": now.privacy.salt})
    return options.model_copy(update={"privacy": privacy})


def _people(options: MappingSection, now: EventMapping) -> People | None:
    """The people of *now*, as these options would have taken them; None where that can't be said."""
    today, before, after = now.people, options.identity.lookup, now.options.identity.lookup
    if before is None:
        return People(suppressed=today.suppressed)
    ways = {"key": before.key, "missing": before.missing}
    if after is None or after.model_copy(update=ways) != before:
        return None
    return replace(today, key=before.key, missing=before.missing)


Reasons: TypeAlias = dict[int, list[Reason | None]]
"""What a mapping says of each record of a block, by block offset: the reason, or None for an event."""

_IN_MEMORY = 64_000_000
"""Bytes of a file; a larger one lies in a temporary file while it is read by several mappings."""


class NotComparable(StrEnum):
    """Why a file is left alone."""

    MAPPING_UNKNOWN = "mapping_unknown"
    """By what it was judged is not known, or can't be evaluated by this program."""
    PRUNED = "pruned"
    """The ledger has no row of it any more (`state.keep`)."""
    SOURCE_GONE = "source_gone"
    UNREADABLE = "unreadable"
    BOOKS_DIFFER = "books_differ"
    """More records, or fewer, would have been filtered than its books say: people's lists have changed."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Records that are sent now (none, or some), by block offset, and the `reasons` why they were not before.

    By `mapping` the file is judged when they are settled, and by `mapping_if_held` when the budget has held
    some of them. `unsent` counts those that all mappings so far have left unsent, the ones held by the budget
    among them. Who is on the suppress list today is not counted: nothing is sent of them, whatever was.
    """

    blocks: dict[int, tuple[int, ...]]
    mapping: str
    mapping_if_held: str
    reasons: Counter[Reason] = field(default_factory=Counter)
    unsent: int = 0

    @property
    def count(self) -> int:
        """How many records are sent."""
        return sum(map(len, self.blocks.values()))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A settled file that only reading tells of; `before` are the mappings by which it was `judged`."""

    ref: FileRef
    known: KnownFile
    judged: tuple[Judgement, ...]
    before: tuple[FormerMapping, ...]
    left_open: tuple[OpenPositions, ...] = ()

    @property
    def whole(self) -> bool:
        """See `Readable`."""
        return True

    @property
    def weight(self) -> int:
        """See `Readable`."""
        return DueFile(self.ref).weight


def judge(ref: FileRef, known: KnownFile, mappings: Mappings) -> Candidate | Compared | NotComparable:
    """Say what the mappings alone tell of a file, or that it has to be read; *known* has the same etag."""
    judged, now = judgements_of(known.mapping, known.held_from), mappings.now
    before = [mapping for each in judged if (mapping := mappings.of(each.version)) is not None]
    if not judged or len(before) < len(judged):
        return NotComparable.MAPPING_UNKNOWN
    if foreseen := _foreseen(ref.event_type, judged, before, now):
        return Compared({}, foreseen, foreseen)
    versions = dict.fromkeys(each.version for each in judged if each.version != now.version)
    return Candidate(ref, known, judged, tuple(kept for each in versions if (kept := mappings.kept(each))))


class Comparer:
    """Reads candidates, by the mapping in force and by former ones; these are made once."""

    def __init__(self, now: EventMapping, *, decoder: Decoder = "auto") -> None:
        self._now = now
        self._decoder: Decoder = decoder
        self._readers = {now.version: EventReader(now, decoder=decoder)}

    def compare(
        self, file: Candidate, store: Store, step: Callable[[], None] = lambda: None
    ) -> Compared | NotComparable:
        """Say what of a file is sent under the mapping in force, and was not; a *step* is a block."""
        self._make(file.before)
        versions = [each.version for each in file.judged]
        if not self._readers.keys() >= set(versions):
            return NotComparable.MAPPING_UNKNOWN
        try:
            after, *past = self._read(file.ref, store, [self._now.version, *versions], step)
        except SourceGoneError:
            return NotComparable.SOURCE_GONE
        except FileError:
            return NotComparable.UNREADABLE
        compared = _difference(after, list(zip(file.judged, past, strict=True)), self._now.version)
        # Held records are filtered in the books too. With more, some of what is taken for unsent was sent.
        if compared.unsent > file.known.tally.filtered:
            return NotComparable.BOOKS_DIFFER
        return compared

    def _make(self, before: Iterable[FormerMapping]) -> None:
        for former in before:
            if former.version not in self._readers and (mapping := former.again(self._now)) is not None:
                self._readers[former.version] = EventReader(mapping, decoder=self._decoder)

    def _read(
        self, ref: FileRef, store: Store, versions: Iterable[str], step: Callable[[], None]
    ) -> list[Reasons]:
        with SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
            with store.open(ref.key, etag=ref.etag, size=ref.size or None) as stream:
                shutil.copyfileobj(stream, copy)
            whole = cast("BinaryIO", copy)
            return [_reasons(self._readers[version], ref, whole, step) for version in versions]


def _reasons(reader: EventReader, ref: FileRef, stream: BinaryIO, step: Callable[[], None]) -> Reasons:
    reasons: Reasons = {}
    stream.seek(0)
    for block in reader.read(ref, stream):
        step()
        if not isinstance(block, Damage):
            reasons[block.offset] = [
                each.reason if isinstance(each, Verdict) else None for each in block.outcomes
            ]
    return reasons


@dataclass(frozen=True, slots=True)
class Comparison:
    """Asks workers to compare candidates: the question of `--changed-only`."""

    decoder: Decoder = "auto"

    def __call__(
        self, files: Sequence[Candidate], parts: WorkerParts, life: Life
    ) -> list[Compared | NotComparable]:
        """See `Question`."""
        comparer = parts.kept.get("comparer")
        if comparer is None:
            reader = cast("EventReader", parts.reader)
            comparer = parts.kept["comparer"] = Comparer(reader.mapping, decoder=self.decoder)
        return [comparer.compare(file, parts.store, life.step) for file in files]


def _foreseen(
    event_type: str, judged: tuple[Judgement, ...], before: Sequence[EventMapping], now: EventMapping
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


def _filters(mapping: EventMapping, event_type: str) -> tuple[Any, ...]:
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
    return Compared(blocks, version if covers else chain, chain, why, left)


NOT_COMPARABLE: Final = "not_comparable_files"
_AT_ONCE: Final = 50
"""Files that are compared in one go: what another run could wait for meanwhile."""
WORDS: Final = {
    NotComparable.MAPPING_UNKNOWN: "by which mapping they were judged is not known, or is none that this "
    "program can evaluate; `backfill --resend` sends such files whole",
    NotComparable.PRUNED: "they are older than `state.keep`, and what was sent of them is no longer known",
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
        self.to_send[ref.event_type] += compared.count
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

    def report(self) -> None:
        """Write it to the log: what is about to be sent, and what is left alone."""
        for event_type in sorted(self.files):
            _log.info("the mapping lets through", event_type=event_type, **self._line(event_type))
        if not self.files:
            _log.info("the mapping lets nothing through that was not sent")
        for why, files in self.not_comparable.items():
            _log.warning(f"files are left alone: {WORDS[why]}", files=files)


class Remapped(WorkList):
    """The files of a listing that hold such records; `difference` is all of them when that is done.

    If it *sends* them, the difference is told first, and files that are settled with the mapping in force
    thereby are noted as such in the ledger, so that they are not looked at again.
    """

    covers_all = False

    def __init__(
        self,
        new_listing: Callable[[], Listing],
        mappings: Mappings,
        inspector: Inspector,
        *,
        sends: bool,
        decoder: Decoder = "auto",
    ) -> None:
        self.difference = Difference()
        self._new_listing = new_listing
        self._mappings = mappings
        self._inspector = inspector
        self._comparison = Comparison(decoder)
        self._sends = sends
        self._listing: Listing | None = None
        self._files = Chunks((), _AT_ONCE)
        self._settled: list[tuple[FileRef, str]] = []
        """Files that the mapping in force settles, and what the ledger is to know of them."""

    def find(self, ledger: Ledger, now: datetime, stop: ShouldStop) -> Iterator[DueFile]:  # noqa: ARG002
        """Compare as far as *stop* lets it: what workers have in hand by then is still given."""
        if self._listing is None:
            self._listing = self._new_listing()
            self._files = Chunks(self._listing, _AT_ONCE)
        reported = self._files.over
        for files, answer in self._inspector.answers(self._candidates(ledger, stop), self._comparison):
            for file, compared in zip(files, _compared(files, answer), strict=True):
                yield from self._of_file(file, compared)
            self._note_settled(ledger, _AT_ONCE)
        self._note_settled(ledger)
        if self._sends and self._files.over and not reported:
            self.difference.report()

    def found(self) -> Found:
        """The records that are sent, and the files that are left alone."""
        counted = self._listing and {"requests": self._listing.requests, "foreign": self._listing.foreign}
        return Found(
            archived=self.difference.archived,
            warnings=+Counter({NOT_COMPARABLE: self.difference.not_comparable.total()}),
            listing=counted or {},
            records=self.difference.to_send.total(),
        )

    def _candidates(self, ledger: Ledger, stop: ShouldStop) -> Iterator[Candidate]:
        """Give the files that have to be read, as they are asked for; the others are judged at once."""
        open_files: dict[str, OpenFile] = {}
        for chunk in self._files.until(stop):
            known = ledger.known(chunk)
            if not open_files and any(each.state is FileState.OPEN for each in known.values()):
                open_files = {file.ref.key: file for file in ledger.open_files()}
            for ref in chunk:
                if ref.key not in known or not self._may_differ(ref, known[ref.key]):
                    continue
                judged = judge(ref, known[ref.key], self._mappings)
                if isinstance(judged, Candidate):
                    left = open_files.get(ref.key)
                    yield replace(judged, left_open=left.open) if left else judged
                elif isinstance(judged, NotComparable):
                    self.difference.not_comparable[judged] += 1
                else:
                    self._settled.append((ref, judged.mapping))
            self._note_settled(ledger, _AT_ONCE)

    def _may_differ(self, ref: FileRef, known: KnownFile) -> bool:
        """Whether a record of it was filtered, and not by the mapping in force."""
        if known.pruned:
            self.difference.not_comparable[NotComparable.PRUNED] += 1
        if known.etag != ref.etag or not known.tally.filtered:
            return False
        now = self._mappings.now.version
        judged = judgements_of(known.mapping, known.held_from)
        if any(each.version == now and each.held_from is None for each in judged):
            return False
        if ref.archived:
            self.difference.archived += BacklogLine(1, ref.size)
        return not ref.archived

    def _of_file(self, file: Candidate, compared: Compared | NotComparable) -> Iterator[DueFile]:
        if isinstance(compared, NotComparable):
            self.difference.not_comparable[compared] += 1
        elif compared.blocks:
            self.difference.add(file.ref, compared)
            yield _due(file, compared)
        else:
            self._settled.append((file.ref, compared.mapping))

    def _note_settled(self, ledger: Ledger, least: int = 1) -> None:
        """Have the ledger remember them, if there are so many."""
        if len(self._settled) >= least:
            if self._sends:
                ledger.note_mappings(self._settled)
            self._settled = []


def _compared(
    files: Sequence[Candidate], answer: list[Compared | NotComparable] | Killed
) -> list[Compared | NotComparable]:
    if isinstance(answer, Killed):
        _log.warning(f"a file is left alone: {answer.words}", key=files[0].ref.key)
        return [NotComparable.UNREADABLE]
    return answer


def _due(file: Candidate, compared: Compared) -> DueFile:
    tally = file.known.tally
    return DueFile(
        file.ref,
        Origin.CHANGED,
        (Wanted(compared.blocks),),
        later=file.left_open,
        carried=Tally(tally.accepted, tally.filtered - compared.count, tally.quarantined),
        still_failed=file.known.state is FileState.FAILED,
        mapping=compared.mapping,
        mapping_if_held=compared.mapping_if_held,
    )


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


def changed_scope(since: datetime | None, until: datetime | None, event_types: tuple[str, ...]) -> ScopeOf:
    """The hours in which changes are looked for; from an open beginning, all that the ledger knows."""
    return lambda _, ledger: Scope(since or ledger.oldest_day() or ledger.start_at, until, event_types)


def plan_changes(
    config: Config[Settings], scope: ScopeOf, clock: Clock, *, workers: Workers | None = None
) -> ChangePlan:
    """Find the difference in *scope*; nothing is sent, and nothing is written anywhere."""
    settings = config.settings
    mapping, terms, now = open_mapping(settings), settings.terms, clock.now()
    with (
        closing(ledger_to_read(settings, clock)) as ledger,
        closing(executor_to_read(config, workers)) as executor,
    ):
        listed = listing(settings.source, scope(settings.source, ledger), now)
        mappings, inspector = Mappings(ledger, mapping), Inspector(executor)
        work = Remapped(lambda: listed, mappings, inspector, sends=False, decoder=settings.decoder)
        deque(work.find(ledger, now, lambda: False), maxlen=0)
        account = Account.read(ledger, terms, clock.now()) if terms.configured else None
    restore = restore_command(settings.source.uri, work.difference.archived)
    return ChangePlan(work.difference, settings.amplitude.max_events, restore, account)
