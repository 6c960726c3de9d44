"""The files that a verification is about: those of a range or of a run, as the ledger knows them."""

from __future__ import annotations

import pickle
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from tempfile import TemporaryFile
from typing import IO, Final, TypeAlias

from braze_etl.braze.currents.keys import hour_of_key
from braze_etl.clock import hour_of
from braze_etl.engine.due import Place
from braze_etl.engine.worklists.listed import Chunks
from braze_etl.engine.worklists.missing import repairs
from braze_etl.errors import UsageError
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.currents_to_amplitude.source import Scope, listing
from braze_etl.flows.currents_to_amplitude.verification.comparison import Comparison
from braze_etl.flows.currents_to_amplitude.verification.expected import NotComparable, SentFile, Unsent
from braze_etl.model import FileRef
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.state.ledger import KnownFile, Ledger, SettledFile

Delivered: TypeAlias = tuple[FileRef, KnownFile]
_CHUNK: Final = 1000
HOUR: Final = timedelta(hours=1)
_RUNS: Final = 1_000


def of_range(settings: Settings, scope: Scope, ledger: Ledger, now: datetime) -> Iterator[Delivered]:
    """The files of a listing that the ledger knows; the others were not delivered."""
    for chunk in Chunks(listing(settings.source, scope, now), _CHUNK).until(lambda: False):
        known = ledger.known(chunk)
        yield from ((ref, known[ref.key]) for ref in chunk if ref.key in known)


def of_run(run_id: str, ledger: Ledger) -> Iterator[Delivered]:
    """The files that a run has settled last, or that were repaired since; `UsageError` for an unknown run."""
    run = next((run for run in ledger.runs(_RUNS) if run.run_id == run_id), None)
    if run is None:
        raise UsageError(
            f"there is no run {run_id} among the last {_RUNS:,} of the ledger",
            remedy="`braze-etl status` names the last runs; --from and --to verify a range of hours.",
        )
    began, ended = run.started_at.replace(microsecond=0), run.finished_at
    repaired_by = {repair.run_id for repair in repairs(ledger)}

    def is_of_run(known: KnownFile) -> bool:
        if known.run_id == run_id or known.run_id not in repaired_by or known.sent_to is None:
            return known.run_id == run_id
        return began <= known.sent_to and (ended is None or known.sent_to <= ended)  # as a repair left it

    for file in ledger.contents().files:
        if isinstance(file, SettledFile) and is_of_run(file.known):
            yield file.ref, file.known


def unsent_places(
    ledger: Ledger, quarantine: Quarantine, concerns: Callable[[datetime | None], bool]
) -> dict[tuple[str, str], Unsent]:
    """By key and etag of a file of hours that this *concerns*: what is open, set aside, or was dropped."""
    places: defaultdict[tuple[str, str], set[Place]] = defaultdict(set)
    for entry in chain(quarantine.entries(), quarantine.dropped()):
        position = entry.position
        if concerns(hour_of_key(position.key)):
            places[position.key, position.etag].add((position.block, position.record))
    for file in ledger.open_files():
        for part in file.open:
            for block, records in part.blocks.items():
                places[file.ref.key, file.ref.etag].update((block, record) for record in records)
    return {id_: frozenset(of_file) for id_, of_file in places.items()}


@dataclass(frozen=True, slots=True)
class VerifiedFile:
    """A file whose events were expected; `first` and `last` are when they were accepted first, and last."""

    ref: FileRef
    run_id: str
    first: datetime
    last: datetime


class Deliveries:
    """The files whose events are expected; each is given to the comparison, and remembered by its number.

    `hours` are those in which they were accepted or repaired, but for what was sent after *settled_before*.
    `files` counts them, and `not_comparable` those that can't be compared, by the reason.
    """

    def __init__(
        self,
        ledger: Ledger,
        comparison: Comparison,
        *,
        mapping: str,
        now: datetime,
        settled_before: datetime,
    ) -> None:
        self.hours: set[datetime] = set()
        self.not_comparable: Counter[NotComparable] = Counter()
        self.files = 0
        self._comparison = comparison
        self._mapping = mapping
        self._now = now
        self._settled_before = settled_before
        self._repairs = repairs(ledger)
        self._numbers = 0
        self._spool: IO[bytes] = TemporaryFile(prefix="braze-etl-verify-")  # noqa: SIM115 - see close

    def close(self) -> None:
        """Let go of the files."""
        self._spool.close()

    def expected(
        self, delivered: Iterable[Delivered], unsent: Mapping[tuple[str, str], Unsent]
    ) -> Iterator[SentFile]:
        """Take the files one by one, and give those that are to be read."""
        for ref, known in delivered:
            if reason := self._not_comparable(ref, known):
                self.not_comparable[reason] += 1
            elif known.tally.accepted:
                yield self._expected(ref, known, unsent.get((ref.key, ref.etag), frozenset()))

    def take_back(self, files: Mapping[int, NotComparable]) -> None:
        """Expect nothing of these files after all."""
        for number, reason in files.items():
            self._comparison.take_back(number)
            self.not_comparable[reason] += 1
            self.files -= 1

    def all(self) -> Iterator[VerifiedFile]:
        """Give the files by their numbers, those that were taken back among them."""
        self._spool.seek(0)
        for _ in range(self._numbers):
            file: VerifiedFile = pickle.load(self._spool)  # noqa: S301 - our own anonymous file
            yield file

    def _expected(self, ref: FileRef, known: KnownFile, unsent: Unsent) -> SentFile:
        first, last = known.sent_from or known.settled_at, known.sent_to or known.settled_at
        spans, latest = [(first, last)], last
        for repair in self._repairs:
            if repair.concerns(ref.hour):
                spans.append((repair.began, min(repair.ended, self._now)))
                latest = max(latest, repair.ended) if known.run_id == repair.run_id else latest
        if latest <= self._settled_before:
            self.hours.update(hour for span in spans for hour in _hours(*span))
        number = self._comparison.add_file(ref.event_type, latest.timestamp())
        pickle.dump(VerifiedFile(ref, known.run_id, first, last), self._spool)
        self.files += 1
        self._numbers += 1
        return SentFile(number, ref, known.tally.accepted, known.held_from, unsent)

    def _not_comparable(self, ref: FileRef, known: KnownFile) -> NotComparable | None:
        if known.pruned:
            return NotComparable.PRUNED
        if not known.tally.accepted:
            return None
        if known.etag != ref.etag:
            return NotComparable.CHANGED
        if known.mapping != self._mapping:
            return NotComparable.OTHER_MAPPING
        return NotComparable.ARCHIVED if ref.archived else None


def _hours(first: datetime, last: datetime) -> Iterator[datetime]:
    hour = hour_of(first)
    while hour <= last:
        yield hour
        hour += HOUR
