"""A verification: what the ledger says was accepted, held against what Amplitude exports."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

import orjson

from braze_etl.amplitude.dashboard import DailyTotals, event_types
from braze_etl.amplitude.export import AMPLITUDE, DELAY, ExportSource, open_export
from braze_etl.amplitude.rest import RestApi
from braze_etl.clock import Clock, hour_of, iso
from braze_etl.engine.due import DEDUPLICATED_FOR
from braze_etl.engine.exits import Stop
from braze_etl.engine.flow import SharedExecutor
from braze_etl.engine.inspection import Inspector, Killed
from braze_etl.engine.worklists.missing import MissingRecords
from braze_etl.errors import AbandonedError, FatalError, NotLoadedError, StateError, StoreError, UsageError
from braze_etl.flows.currents_to_amplitude.mapping import open_mapping
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.currents_to_amplitude.verification.comparison import Comparison, Missing
from braze_etl.flows.currents_to_amplitude.verification.counts import compare_counts, day_in
from braze_etl.flows.currents_to_amplitude.verification.delivered import (
    HOUR,
    Delivered,
    Deliveries,
    VerifiedFile,
    of_range,
    of_run,
    unsent_places,
)
from braze_etl.flows.currents_to_amplitude.verification.expected import (
    ERASED_NOTE,
    ExpectedEvents,
    NotComparable,
    SentFile,
)
from braze_etl.flows.currents_to_amplitude.verification.findings import Asked, Verification
from braze_etl.flows.currents_to_amplitude.verification.reasons import likely_reasons
from braze_etl.flows.pipeline import open_quarantine, open_state
from braze_etl.logs import get_logger
from braze_etl.monitoring.verification import NOTE
from braze_etl.state.ledger import Ledger

Watch: TypeAlias = Callable[[str, int, int | None], None]
"""Told what is done now, how far that is, and of how much, where that is known."""

_EXAMPLES: Final = 20
_log = get_logger(__name__)


@contextmanager
def open_verifier(
    settings: Settings, asked: Asked, clock: Clock, stop: Stop, watch: Watch
) -> Iterator[Verifier]:
    """A verifier with room on disk for both sides, which goes with it.

    Raises `ConfigError` where a key is missing, and `StateError` where there is no ledger.
    """
    export = open_export(
        AMPLITUDE if asked.counts else asked.export,
        settings.amplitude,
        clock,
        access=settings.source.access(),
        max_download=asked.max_download,
    )
    with (
        closing(export),
        closing(open_state(settings, clock, read_only=True)) as ledger,
        Comparison(day_in(settings.amplitude.zone) if asked.counts else None) as comparison,
    ):
        verifier = Verifier(
            settings,
            asked,
            ledger=ledger,
            export=export,
            comparison=comparison,
            clock=clock,
            stop=stop,
            watch=watch,
        )
        with closing(verifier):
            yield verifier


class Verifier:
    """Carries a verification out, once: `verify`, then `missing` for a repair, then `finish`."""

    def __init__(
        self,
        settings: Settings,
        asked: Asked,
        *,
        ledger: Ledger,
        export: ExportSource,
        comparison: Comparison,
        clock: Clock,
        stop: Stop,
        watch: Watch,
    ) -> None:
        self._settings = settings
        self._asked = asked
        self._ledger = ledger
        self._export = export
        self._comparison = comparison
        self._clock = clock
        self._stop = stop
        self._watch = watch
        self._now = clock.now()
        self._settled_before = self._now - asked.settle
        self._deliveries = Deliveries(
            ledger,
            comparison,
            mapping=open_mapping(settings).version,
            now=self._now,
            settled_before=self._settled_before,
        )
        self._blocked: frozenset[str] = frozenset()
        self.found = Verification(asked, settings.pipeline, self._now)

    def close(self) -> None:
        """Let go of the files."""
        self._deliveries.close()

    def verify(self, executor: SharedExecutor) -> None:
        """Read what is expected in the workers of *executor*, then the export, and compare."""
        with closing(executor):
            self._read_expected(executor)
        if self._asked.counts:
            self._count()
            return
        self._comparison.hold(self._exported())
        self._watch("comparing", 0, None)
        self.found.downloaded = self._export.downloaded
        self.found.result = self._comparison.compare(self._settled_before.timestamp())
        if self.found.result.total.missing:
            self._blocked = self._blocked_types()
            self.found.reasons = list(likely_reasons(self.found.result, self._blocked))
        self._list_missing()

    def _count(self) -> None:
        """Compare daily totals, which costs a question for each event type."""
        result = self.found.result = self._comparison.compare(self._settled_before.timestamp())
        with closing(RestApi(self._settings.amplitude, self._clock)) as api:
            for number, count in enumerate(compare_counts(result, DailyTotals(api, self._clock)), 1):
                self.found.counts.append(count)
                self._watch("asking for totals", number, len(result.days))
                self._check_stop()

    def _read_expected(self, executor: SharedExecutor) -> None:
        erased = frozenset(self._ledger.get_note(ERASED_NOTE).get("ids", ()))
        stop, deliveries, read = self._stop, self._deliveries, 0
        inspector = Inspector(
            executor, should_stop=lambda: stop.asked, gives_up=lambda: stop.gives_up_workers
        )
        for files, answer in inspector.answers(self._sent_files(), ExpectedEvents(erased)):
            if isinstance(answer, Killed):
                deliveries.take_back({file.number: NotComparable.UNREADABLE for file in files})
            else:
                self._comparison.expect(answer.pieces)
                deliveries.take_back(answer.not_comparable)
            read += sum(file.ref.size for file in files)
            self._watch("reading files", read, None)
        self._check_stop()
        self.found.files, self.found.not_comparable = deliveries.files, deliveries.not_comparable
        unreadable = deliveries.not_comparable[NotComparable.UNREADABLE]
        if unreadable and not deliveries.files:
            raise StoreError(
                f"not one of {unreadable:,} delivered files could be read: nothing can be verified",
                remedy="`braze-etl doctor` looks at the source.",
            )

    def _sent_files(self) -> Iterator[SentFile]:
        scope, ledger = self._asked.scope, self._ledger
        unsent = unsent_places(ledger, open_quarantine(self._settings), self._asked.concerns)
        delivered: Iterable[Delivered]
        if scope is not None:
            delivered = of_range(self._settings, scope, ledger, self._now)
        else:
            delivered = of_run(self._asked.run_id or "", ledger)
        return self._deliveries.expected(delivered, unsent)

    def _exported(self) -> Iterator[tuple[str, str]]:
        """The insert_id and library of each event of the hours in question.

        Where Amplitude has not loaded an hour yet, what was sent from then on is too early.
        """
        hours = self.found.hours = _with_neighbours(self._deliveries.hours, hour_of(self._now))
        read = 0
        # The API refuses a range with an hour that it has not loaded; files are read anew for each range.
        loaded = self._now - DELAY - HOUR if self._asked.export == AMPLITUDE else self._now
        for first, last in _spans(hours, loaded):
            try:
                for batch in self._export.batches(first, last):
                    self._check_stop()
                    for event in batch:
                        insert_id, library = event.get("$insert_id"), event.get("library")
                        yield str(insert_id or ""), str(library or "unknown")
            except NotLoadedError as error:
                missed = [hour for hour in self._deliveries.hours if error.since <= hour <= last]
                if missed:
                    _log.warning(error.message, remedy=error.remedy)
                    self._settled_before = min(self._settled_before, min(missed) - timedelta.resolution)
            read += (last - first) // HOUR + 1
            self._watch("reading the export", read, len(hours))

    def _check_stop(self) -> None:
        if self._stop.asked:
            raise AbandonedError("the verification was stopped", remedy="Run it again.")

    # What is missing

    def _blocked_types(self) -> frozenset[str]:
        """The event types that Amplitude drops; none where it can't be asked."""
        settings = self._settings.amplitude
        if not (settings.api_key.get_secret_value() and settings.secret_key.get_secret_value()):
            return frozenset()
        try:
            with closing(RestApi(settings, self._clock)) as api:
                return frozenset(name for name, of_type in event_types(api).items() if of_type.deleted)
        except AbandonedError:
            raise
        except FatalError as error:
            _log.warning("Amplitude does not say which event types it blocks", cause=error.message)
            return frozenset()

    def _by_file(self) -> Iterator[tuple[VerifiedFile, list[Missing]]]:
        """What is missing, by the file."""
        files, number = self._deliveries.all(), -1
        for of_file, rows in groupby(self._comparison.missing(), key=lambda row: row.file):
            while number < of_file:
                file, number = next(files), number + 1
            yield file, list(rows)

    def _list_missing(self) -> None:
        """Keep some for the report, and write all where that was asked for."""
        with ExitStack() as stack:
            lines: IO[bytes] | None = None
            if self._asked.list_to is not None:
                lines = stack.enter_context(_private(self._asked.list_to))
            for file, rows in self._by_file():
                for row in rows:
                    if len(self.found.examples) < _EXAMPLES:
                        self.found.examples.append(_facts(file, row))
                    elif lines is None:
                        return
                    if lines is not None:
                        lines.write(orjson.dumps(_facts(file, row), option=orjson.OPT_APPEND_NEWLINE))

    def missing(self) -> Iterator[MissingRecords]:
        """What a repair sends: nothing of blocked types, nor what Amplitude would not recognize any more.

        What is left alone is counted as this goes on.
        """
        for file, rows in self._by_file():
            if self._now - file.first >= DEDUPLICATED_FOR and not self._asked.beyond_dedup:
                self.found.left_alone["older_than_deduplication"] += len(rows)
                continue
            blocks: defaultdict[int, list[int]] = defaultdict(list)
            for row in rows:
                if row.name in self._blocked:
                    self.found.left_alone["blocked"] += 1
                else:
                    blocks[row.block].append(row.record)
            if blocks:
                wanted = {block: tuple(records) for block, records in blocks.items()}
                yield MissingRecords(file.ref, file.run_id, wanted)

    def finish(self) -> Verification:
        """Have the ledger remember it, unless it was but a hint, and give what was found."""
        self.found.finished_at = self._clock.now()
        if self._asked.counts:
            return self.found
        try:
            with closing(open_state(self._settings, self._clock)) as ledger:
                ledger.put_note(NOTE, self.found.note())
        except StateError as error:
            _log.warning("the verification is on record nowhere", cause=error.message, remedy=error.remedy)
        return self.found


def _with_neighbours(hours: Iterable[datetime], newest: datetime) -> list[datetime]:
    near = {hour + step * HOUR for hour in hours for step in (-1, 0, 1)}
    return sorted(hour for hour in near if hour <= newest)


def _spans(hours: Sequence[datetime], loaded: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Hours that follow each other as one, each as its first and last; those after *loaded* by themselves."""
    span: tuple[datetime, datetime] | None = None
    for hour in hours:
        if span is not None and hour - span[1] == HOUR and hour <= loaded:
            span = span[0], hour
            continue
        if span is not None:
            yield span
        span = hour, hour
    if span is not None:
        yield span


def _private(path: Path) -> IO[bytes]:
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
    except OSError as error:
        raise UsageError(
            f"{path} can't be written ({error.strerror})", remedy="Name a file in a folder of yours."
        ) from error


def _facts(file: VerifiedFile, row: Missing) -> dict[str, Any]:
    return {
        "insert_id": row.insert_id,
        "event_type": file.ref.event_type,
        "name": row.name,
        "key": file.ref.key,
        "block": row.block,
        "record": row.record,
        "hour": iso(file.ref.hour),
        "sent_from": iso(file.first),
        "sent_to": iso(file.last),
    }
