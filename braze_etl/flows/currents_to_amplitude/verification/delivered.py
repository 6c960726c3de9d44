"""The files that a verification is about: those of a range or of a run, as the ledger knows them."""

from __future__ import annotations

import pickle
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from tempfile import TemporaryFile
from typing import IO, Final, TypeAlias

from braze_etl.braze.currents.keys import hour_of_key
from braze_etl.clock import hour_of
from braze_etl.engine.due import WHOLE_FILE, Place
from braze_etl.engine.worklists.listed import Chunks
from braze_etl.engine.worklists.missing import repairs_of
from braze_etl.errors import UsageError
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.currents_to_amplitude.source import Scope, listing
from braze_etl.flows.currents_to_amplitude.verification.comparison import Comparison
from braze_etl.flows.currents_to_amplitude.verification.expected import NotComparable, SentFile
from braze_etl.model import FileRef
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.state.ledger import KnownFile, Ledger, SettledFile

Delivered: TypeAlias = tuple[FileRef, KnownFile]
_CHUNK: Final = 1000
_HOUR: Final = timedelta(hours=1)
_ALL_RUNS: Final = 1_000_000
_VERIFY: Final = "verify"


def of_range(settings: Settings, scope: Scope, ledger: Ledger, now: datetime) -> Iterator[Delivered]:
    """The files of a listing that the ledger knows; the others were not delivered."""
    for chunk in Chunks(listing(settings.source, scope, now), _CHUNK).until(lambda: False):
        known = ledger.known(chunk)
        yield from ((ref, known[ref.key]) for ref in chunk if ref.key in known)


def of_run(run_id: str, ledger: Ledger) -> Iterator[Delivered]:
    """The files that a run has settled last, or that were repaired since; `UsageError` for an unknown run."""
    runs = {run.run_id: run for run in ledger.runs(_ALL_RUNS)}
    if run_id not in runs:
        raise UsageError(
            f"there is no run {run_id} in the ledger",
            remedy="`braze-etl status` names the last runs; --from and --to verify a range of hours.",
        )
    began, ended = runs[run_id].started_at.replace(microsecond=0), runs[run_id].finished_at
    repairs = {each.run_id for each in runs.values() if each.command == _VERIFY}

    def is_of_run(known: KnownFile) -> bool:
        if known.run_id != run_id and known.run_id in repairs and known.sent_to is not None:
            return began <= known.sent_to and (ended is None or known.sent_to <= ended)
        return known.run_id == run_id

    for file in ledger.contents().files:
        if isinstance(file, SettledFile) and is_of_run(file.known):
            yield file.ref, file.known


def unsent_places(
    ledger: Ledger, quarantine: Quarantine, concerns: Callable[[datetime | None], bool]
) -> dict[tuple[str, str], frozenset[Place]]:
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
class Times:
    """When events of a file were accepted, first and last."""

    first: datetime
    last: datetime


class Deliveries:
    """Gives the files of which events are expected, and remembers what a verification needs of all of them.

    `hours` are those of Amplitude in which they were accepted or repaired, and `near` these with one before
    and behind. `not_comparable` counts files that can't be compared, by the reason.
    """

    def __init__(self, ledger: Ledger, mapping: str, now: datetime) -> None:
        self.hours: set[datetime] = set()
        self.not_comparable: Counter[NotComparable] = Counter()
        self.files = 0
        self._ledger = ledger
        self._mapping = mapping
        self._now = now
        self._spool: IO[bytes] = TemporaryFile(prefix="braze-etl-verify-")  # noqa: SIM115 - see close

    def close(self) -> None:
        """Let go of the files."""
        self._spool.close()

    def expected(
        self,
        delivered: Iterable[Delivered],
        unsent: dict[tuple[str, str], frozenset[Place]],
        comparison: Comparison,
    ) -> Iterator[SentFile]:
        """Take the files one by one, and give those that are to be read."""
        for ref, known in delivered:
            if reason := self._not_comparable(ref, known):
                self.not_comparable[reason] += 1
            elif known.tally.accepted:
                left_out = unsent.get((ref.key, ref.etag), frozenset())
                times = self._times(ref, known)
                number = comparison.add_file(ref.event_type, times.last.timestamp())
                pickle.dump((ref, known.run_id, times), self._spool)
                self.files += 1
                yield SentFile(number, ref, known.tally.accepted, known.held_from, left_out)

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
